"""Captures of the app Record3D: ``metadata.json`` (or ``metadata``, from an unzipped .r3d) and ``rgb`` or ``rgbd``.

Pose i is a quaternion (x, y, z, w) and a position, camera to world in our axes and in metres; it belongs to ``i.jpg``.
The matrix K of the metadata is column-major. Its depths, of which no library here reads the form, are not used.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.poses import check_pose
from nerfcore.data.capture import Capture, Entry, camera_for, held_out_capture
from nerfcore.data.values import existing, image_files, number, read_json
from nerfcore.errors import SceneError

FOLDERS = "rgb", "rgbd"
LIDAR_RANGE = 0.3, 5.0  # metres; what a phone's scan is about lies between


def find_record3d(root: Path) -> Path | None:
    """The metadata, if the folder, or its EXR_RGBD, is an export."""
    for folder in (root, root / "EXR_RGBD"):
        file = existing(folder, "metadata.json") or existing(folder, "metadata")
        if file and any((folder / name).is_dir() for name in FOLDERS):
            return file
    return None


def read_record3d(file: Path) -> Capture:
    """The capture of an export; every 8th image by name is for testing."""
    table = read_json(file)
    poses = _rows(file, table, "poses", 7)
    cameras = _rows(file, table, "perFrameIntrinsicCoeffs", 4) if table.get("perFrameIntrinsicCoeffs") else None
    if cameras is None:
        matrix = _rows(file, dict(K=[table.get("K")]), "K", 9)[0]
        cameras = np.tile(matrix[[0, 4, 6, 7]], (len(poses), 1))
    if len(cameras) != len(poses):
        raise SceneError(f"{file}: has {len(poses)} poses but {len(cameras)} intrinsics; export it again")
    size = round(number(table, "w", None, str(file))), round(number(table, "h", None, str(file)))
    folder = next(file.parent / name for name in FOLDERS if (file.parent / name).is_dir())
    entries = [_entry(file, path, size, poses, cameras) for path in image_files(folder)]
    absent = sorted(set(range(len(poses))) - {int(entry.path.stem) for entry in entries})
    return held_out_capture(file.parent, file, entries, tuple(f"photo {index}" for index in absent))


def _rows(file: Path, table: dict, key: str, length: int) -> np.ndarray:
    """[N, length] numbers that may have had this name."""
    try:
        rows = np.array(table.get(key), np.float64)
    except (TypeError, ValueError, OverflowError):
        rows = np.empty(0)
    if rows.ndim != 2 or rows.shape[1] != length or not np.isfinite(rows).all():
        raise SceneError(f"{file}: {key} is not a list of {length} finite numbers each; export it again")
    return rows


def _entry(file: Path, path: Path, size: tuple[int, int], poses: np.ndarray, cameras: np.ndarray) -> Entry:
    where = f"{file}, photo {path.name}"
    if not path.stem.isdecimal() or int(path.stem) >= len(poses):
        raise SceneError(f"{where}: is the number of none of the {len(poses)} poses; leave only exported photos there")
    index = int(path.stem)
    try:
        rotation = Rotation.from_quat(poses[index, :4]).as_matrix()
    except ValueError as error:
        raise SceneError(f"{where}: its rotation is no quaternion ({error}); export it again") from error
    pose = check_pose(np.concatenate([rotation, poses[index, 4:, None]], axis=1), where)
    camera = partial(camera_for, Camera(*size, *cameras[index].tolist()), path, where)
    return Entry(path.relative_to(file.parent).as_posix(), path, pose, camera, near_far=LIDAR_RANGE)
