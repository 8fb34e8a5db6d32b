"""Captures of the app Polycam, exported as raw data: ``keyframes`` with a JSON file of each camera.

The poses that Polycam has corrected go before those of the phone. ``t_rc`` is row r and column c of the camera-to-world
matrix in our axes and in metres, y up; ``depth`` holds depths in millimetres.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.poses import check_pose
from nerfcore.data.capture import Capture, DepthMap, Entry, camera_for, held_out_capture
from nerfcore.data.record3d import LIDAR_RANGE
from nerfcore.data.values import existing, number, positive, read_json

MILLIMETRE = 1e-3
KINDS = "corrected_", ""


def find_polycam(root: Path) -> Path | None:
    """The folder of keyframes, if the folder is an export."""
    folders = [root / "keyframes" / f"{kind}cameras" for kind in KINDS]
    return root / "keyframes" if any(folder.is_dir() for folder in folders) else None


def read_polycam(folder: Path) -> Capture:
    """The capture of an export's ``keyframes``; every 8th present image by name is for testing."""
    kind = next(kind for kind in KINDS if (folder / f"{kind}cameras").is_dir())
    files = sorted((folder / f"{kind}cameras").glob("*.json"))
    entries, absent = [], []
    for file in files:
        path = existing(folder / f"{kind}images", f"{file.stem}.jpg")
        if path is None:
            absent.append(f"{file.stem}.jpg")
        else:
            entries.append(_entry(folder, file, path))
    return held_out_capture(folder.parent, folder / f"{kind}cameras", entries, tuple(absent))


def _entry(folder: Path, file: Path, path: Path) -> Entry:
    table, where = read_json(file), str(file)
    pose = check_pose([[number(table, f"t_{r}{c}", None, where) for c in range(4)] for r in range(3)], where)
    size = [round(number(table, key, None, where)) for key in ("width", "height")]
    focal = [positive(table, key, None, where) for key in ("fx", "fy")]
    centre = [number(table, key, None, where) for key in ("cx", "cy")]
    depth = existing(folder / "depth", f"{file.stem}.png")
    camera = partial(camera_for, Camera(*size, *focal, *centre), path, where)
    return Entry(
        path.relative_to(folder.parent).as_posix(), path, pose, camera,
        z_depth=DepthMap(depth, MILLIMETRE) if depth else None, near_far=LIDAR_RANGE,
    )
