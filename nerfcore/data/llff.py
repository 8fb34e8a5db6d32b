"""Captures in the form of LLFF (Mildenhall et al. 2019): ``poses_bounds.npy`` and ``images``, ``images_4``, …

Row i of the array belongs to the i-th image by name: a matrix [3, 5] of camera-to-world axes (down, right, backward),
position and (height, width, focal length) of the full-size photo, then the depths of the nearest and farthest thing.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.poses import check_pose
from nerfcore.data.capture import Capture, Entry, camera_for, held_out_capture
from nerfcore.data.values import LARGEST, existing, image_files
from nerfcore.errors import SceneError

NAME = "poses_bounds.npy"
FOLDERS = "images", "images_2", "images_4", "images_8"


def find_llff(root: Path) -> Path | None:
    """The array of poses, if the folder has one."""
    return existing(root, NAME)


def read_llff(file: Path) -> Capture:
    """The capture of a ``poses_bounds.npy``, with the largest photos that lie beside it; every 8th is for testing."""
    try:
        rows = np.array(np.load(file, mmap_mode="r"), np.float64)
    except Exception as error:  # the parser raises whatever it likes at broken files
        raise SceneError(f"{file}: is not readable as an array; it may be cut short, write it again") from error
    if rows.ndim != 2 or rows.shape[1] != 17 or not (np.abs(rows) <= LARGEST).all():
        raise SceneError(f"{file}: is not an array of 17 finite numbers a photo; write it again")
    folder = next((file.parent / name for name in FOLDERS if (file.parent / name).is_dir()), None)
    photos = image_files(folder) if folder else []
    if len(photos) != len(rows):
        raise SceneError(
            f"{file}: has poses of {len(rows)} photos, but {folder or file.parent / FOLDERS[0]} holds {len(photos)}; "
            "put exactly those photos there"
        )
    return held_out_capture(file.parent, file, [_entry(file, *pair) for pair in zip(photos, rows, strict=True)])


def _entry(file: Path, path: Path, row: np.ndarray) -> Entry:
    name = path.relative_to(file.parent).as_posix()
    where = f"{file}, photo {name}"
    down, right, backward, position, size = row[:15].reshape(3, 5).T
    height, width, focal = size.tolist()
    calibrated = Camera(round(width), round(height), focal, focal, width / 2, height / 2)
    near, far = row[15:].tolist()
    return Entry(
        name, path, check_pose(np.stack([right, -down, backward, position], axis=1), where),
        partial(camera_for, calibrated, path, where), calibration=str(file),
        near_far=(near, far) if 0 < near < far else None,
    )
