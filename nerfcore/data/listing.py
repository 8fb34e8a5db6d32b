"""Transforms files: the JSON that lists a scene's photographs with their intrinsics and poses.

Intrinsics stand at the top or in each frame: ``fl_x``, ``fl_y`` in pixels or ``camera_angle_x``, ``camera_angle_y`` in
radians; ``cx``, ``cy`` (default: the centre), ``w``, ``h`` (default: the image's), OpenCV's ``k1`` .. ``k4``, ``p1``,
``p2``. Each frame has a ``file_path`` and a camera-to-world ``transform_matrix`` in our axes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torch import Tensor

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.lenses import Perspective
from nerfcore.cameras.poses import check_pose
from nerfcore.errors import SceneError


@dataclass(frozen=True)
class Entry:
    """A listed frame whose image exists. own, shared: the tables of the frame and of its whole file."""

    name: str
    path: Path
    pose: Tensor
    file: Path
    own: dict
    shared: dict

    @property
    def where(self) -> str:
        return f"{self.file}, frame {self.name}"

    @property
    def has_own_intrinsics(self) -> bool:
        return any(key in self.own for key in ("fl_x", "fl_y", "camera_angle_x", "camera_angle_y"))

    def camera(self, width: int, height: int) -> Camera:
        """The camera of this frame's image, which has the given size: the calibrated one, or an exact rescale of it."""
        table = {**self.shared, **self.own}

        def value(key: str, default: float) -> float:
            return number(table, key, default, self.where)

        stated_width, stated_height = round(value("w", width)), round(value("h", height))
        scale = max(width, height) / max(stated_width, stated_height, 1)
        if abs(width - stated_width * scale) > 1 or abs(height - stated_height * scale) > 1:
            raise SceneError(
                f"{self.where}: image {self.path} is {width}x{height} but its intrinsics say "
                f"{stated_width}x{stated_height}; use the photos that were calibrated, or correct w and h"
            )
        fl_x, fl_y = self._focal_length("x", stated_width), self._focal_length("y", stated_height)
        if not (fl_x or fl_y):
            raise SceneError(f"{self.where}: has no focal length; add fl_x in pixels or camera_angle_x in radians")
        camera = Camera(
            stated_width, stated_height, fl_x or fl_y, fl_y or fl_x,
            value("cx", stated_width / 2), value("cy", stated_height / 2),
            Perspective(**{key: value(key, 0.0) for key in ("k1", "k2", "k3", "k4", "p1", "p2")}),
        )
        return camera.resized(width, height)

    def _focal_length(self, axis: str, size: int) -> float | None:
        """Pixels, for an axis of the given size; the frame's own value goes before its file's; None without either."""
        length, angle = f"fl_{axis}", f"camera_angle_{axis}"
        for table in (self.own, self.shared):
            if length in table:
                return positive(table, length, 1.0, self.where)
            if angle in table:
                return 0.5 * size / math.tan(0.5 * positive(table, angle, 1.0, self.where))
        return None


@dataclass(frozen=True)
class Listing:
    """What a transforms file holds: its top-level table, the frames whose image exists, and how many have none."""

    file: Path
    table: dict
    entries: list[Entry]
    absent: int


def read_listing(file: Path) -> Listing:
    """Reads and checks a transforms file; of images only the presence is looked at."""
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SceneError(f"{file}: is not readable as JSON ({error}); it may be cut short, write it again") from error
    frames = table.get("frames") if isinstance(table, dict) else None
    if not isinstance(frames, list) or not all(isinstance(f, dict) and "file_path" in f for f in frames):
        raise SceneError(f"{file}: has no list of frames with a file_path each; write it again as a transforms file")
    if table.get("is_fisheye") or "FISHEYE" in str(table.get("camera_model")):
        raise SceneError(f"{file}: fisheye lenses are not supported; undistort the photos to a perspective camera")
    entries = []
    for frame in frames:
        name = str(PurePosixPath(str(frame["file_path"])))
        path = next((p for p in (file.parent / name, file.parent / f"{name}.png") if p.is_file()), None)
        if path is not None:
            pose = check_pose(frame.get("transform_matrix"), f"{file}, frame {name}")
            entries.append(Entry(name, path, pose, file, frame, table))
    return Listing(file, table, entries, len(frames) - len(entries))


def number(table: dict, key: str, default: float, where: str) -> float:
    """A finite number of a table, or SceneError."""
    value = table.get(key, default)
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SceneError(f"{where}: {key} is {value!r}; write a finite number there")
    return float(value)


def positive(table: dict, key: str, default: float, where: str) -> float:
    """A finite number above zero of a table, or SceneError."""
    value = number(table, key, default, where)
    if value <= 0:
        raise SceneError(f"{where}: {key} is {value:g}; write a number above zero there")
    return value
