"""Captures in the form of NeuS and IDR, in which DTU is told: ``cameras_sphere.npz``, ``image`` and ``mask``.

``world_mat_i`` projects world points to pixels of image i by name, whose first pixel has its centre at (0, 0);
``scale_mat_i`` maps the unit ball to the ball that holds the object. A mask is white where a photo shows the object.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.linalg import rq

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.poses import check_pose, to_opencv_axes
from nerfcore.data.bounds import MARGIN, cube
from nerfcore.data.capture import Capture, Entry, camera_for, held_out_capture
from nerfcore.data.scene import MAX_CASCADES, Box
from nerfcore.data.values import LARGEST, existing, image_files
from nerfcore.errors import SceneError

NAME = "cameras_sphere.npz"
MAX_SKEW = 1e-3  # of the focal length; more is not a camera of ours


def find_neus(root: Path) -> Path | None:
    """The matrices, if the folder has them."""
    return existing(root, NAME)


def read_neus(file: Path) -> Capture:
    """The capture of a ``cameras_sphere.npz``; masks become alpha, every 8th image is for testing."""
    try:
        with np.load(file) as archive:
            matrices = {name: np.array(archive[name], np.float64) for name in archive.files}
    except Exception as error:  # the parser raises whatever it likes at broken files
        raise SceneError(f"{file}: is not readable as an archive of arrays; write it again") from error
    photos, masks = _pictures(file.parent, "image", "images", "rgb"), _pictures(file.parent, "mask", "masks")
    count = sum(name.startswith("world_mat_") and not name.startswith("world_mat_inv") for name in matrices)
    if len(photos) != count or masks and len(masks) != count:
        raise SceneError(
            f"{file}: has world_mat of {count} photos, but beside it are {len(photos)} photos and {len(masks)} masks; "
            "put exactly those photos in image, and in mask as many masks or none"
        )
    entries = [
        _entry(file, i, path, masks[i] if masks else None, _matrix(file, matrices, f"world_mat_{i}"))
        for i, path in enumerate(photos)
    ]
    box = _box(entries, _matrix(file, matrices, "scale_mat_0"), has_background=not masks)
    return held_out_capture(file.parent, file, entries, box=box)


def _pictures(root: Path, *names: str) -> list[Path]:
    """Those in the first of the folders that exists."""
    return next((image_files(root / name) for name in names if (root / name).is_dir()), [])


def _matrix(file: Path, matrices: dict[str, np.ndarray], name: str) -> np.ndarray:
    matrix = matrices.get(name)
    if matrix is None or matrix.shape not in ((3, 4), (4, 4)) or not (np.abs(matrix) <= LARGEST).all():
        raise SceneError(f"{file}: {name} is no 4x4 matrix of finite numbers; write it again")
    return matrix[:3]


def _entry(file: Path, index: int, path: Path, mask: Path | None, projection: np.ndarray) -> Entry:
    where = f"{file}, world_mat_{index}"
    try:
        centre = -np.linalg.solve(projection[:, :3], projection[:, 3])
    except np.linalg.LinAlgError as error:
        raise SceneError(f"{where}: has no inverse, as that of a camera would; write it again") from error
    intrinsics, rotation = rq(projection[:, :3])
    signs = np.where(np.diag(intrinsics) < 0, -1.0, 1.0)
    intrinsics, rotation = intrinsics * signs, signs[:, None] * rotation
    rotation = rotation * np.sign(np.linalg.det(rotation))  # a projection may be multiplied by -1
    intrinsics = intrinsics / intrinsics[2, 2]
    (fl_x, skew, cx), (_, fl_y, cy), _ = intrinsics.tolist()
    if not abs(skew) <= MAX_SKEW * fl_x:
        raise SceneError(f"{where}: its pixels are skewed, which no camera here is; rectify the photos")
    pose = check_pose(np.concatenate([rotation.T, centre[:, None]], axis=1), where)

    def camera(width: int, height: int) -> Camera:
        return camera_for(Camera(width, height, fl_x, fl_y, cx + 0.5, cy + 0.5), path, where, width, height)

    return Entry(path.relative_to(file.parent).as_posix(), path, to_opencv_axes(pose), camera, alpha=mask)


def _box(entries: list[Entry], scale_mat: np.ndarray, has_background: bool) -> Box:
    """About the ball that holds the object; twice as large, and again, until it holds the cameras, where photos show
    what is behind the object."""
    middle, half, cascades = scale_mat[:, 3], abs(scale_mat[0, 0]), 1
    if half < 1 / LARGEST:
        raise SceneError(f"{entries[0].path.parent.parent / NAME}: scale_mat_0 is a ball without size; write it again")
    reach = torch.stack([entry.pose[:, 3] for entry in entries]).sub(torch.from_numpy(middle)).abs().max()
    while has_background and half < MARGIN * reach and cascades < MAX_CASCADES:
        half, cascades = 2 * half, cascades + 1
    return cube(middle, half, cascades)
