"""Camera paths as files, in the form of nerfstudio's camera_path.json.

``camera_path`` lists the pictures: each a ``camera_to_world`` matrix, row by row, in our axes, and a vertical ``fov``
in degrees. ``keyframes`` are what they were made from, for editing. Coordinates are those of the capture.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.lenses import LENSES, Equirectangular, Orthographic
from nerfcore.cameras.poses import check_pose
from nerfcore.cameras.trajectories import Spline
from nerfcore.data.values import number, positive, read_json
from nerfcore.errors import SceneError
from nerfcore.files import write_file

DEFAULT_FOV = 50.0  # degrees
LARGEST_SIDE = 1 << 14  # pixels
SHOWN = [name for name in LENSES if name != Orthographic.name]  # an angle of view says nothing of parallel rays


class Shot(NamedTuple):
    """From where a picture is taken, pose [3, 4] float64, and how much it shows from bottom to top, degrees."""

    pose: Tensor
    fov_degrees: float


@dataclass(frozen=True)
class CameraPath:
    """The pictures of a video, and the keyframes (there may be none) that they were made from.

    width, height: of a picture, pixels. lens: "perspective", "fisheye" or "equirectangular". loop: whether the path
    leads back to the first keyframe.
    """

    shots: list[Shot]
    keyframes: list[Shot]
    seconds: float
    width: int
    height: int
    lens: str = "perspective"
    loop: bool = False

    @classmethod
    def through(
        cls, keyframes: list[Shot], seconds: float, fps: float, size: tuple[int, int], loop: bool = False,
        constant_speed: bool = False,
    ) -> CameraPath:
        """The smooth path through keyframes, at least two: :class:`~nerfcore.cameras.trajectories.Spline`, and angles
        of view that stay between those of the keyframes."""
        spline = Spline(torch.stack([shot.pose for shot in keyframes]), loop)
        at = spline.parameters(max(2, round(seconds * fps)), constant_speed)
        angles = [shot.fov_degrees for shot in keyframes] + [keyframes[0].fov_degrees] * loop
        between = PchipInterpolator(spline.knots, angles)(at).tolist()
        shots = [Shot(*shot) for shot in zip(spline(at), between, strict=True)]
        return cls(shots, list(keyframes), seconds, *size, loop=loop)

    @property
    def fps(self) -> float:
        """Pictures a second."""
        return len(self.shots) / self.seconds

    def views(self) -> list[tuple[Camera, Tensor]]:
        """A camera and a pose [3, 4], float32, for each picture."""
        return [(self.camera(shot.fov_degrees), shot.pose.float()) for shot in self.shots]

    def camera(self, fov_degrees: float) -> Camera:
        """That of a picture with this angle of view."""
        return fov_camera(fov_degrees, self.width, self.height, self.lens)


def fov_camera(fov_degrees: float, width: int, height: int, lens: str = "perspective") -> Camera:
    """The camera of a picture whose perspective shows so many degrees from bottom to top. A fisheye has the same focal
    length; an equirectangular lens shows all directions whatever the angle."""
    if LENSES[lens] is Equirectangular:
        return Camera.panorama(width, height)
    focal = 0.5 * height / math.tan(0.5 * math.radians(fov_degrees))
    return Camera(width, height, focal, focal, 0.5 * width, 0.5 * height, LENSES[lens]())


def read_camera_path(file: str | Path) -> CameraPath:
    """Reads a camera_path.json, ours or nerfstudio's. Raises SceneError, one sentence, for what cannot be used."""
    file = Path(file)
    table, where = read_json(file), str(file)
    lens = table.get("camera_type", "perspective")
    if lens not in SHOWN:
        raise SceneError(f"{where}: camera_type is {lens!r:.40}; write one of {', '.join(SHOWN)}")
    width, height = (_side(table, key, where) for key in ("render_width", "render_height"))
    shots = _shots(table, "camera_path", "camera_to_world", where)
    keyframes = _shots(table, "keyframes", "matrix", where)
    if not shots:
        raise SceneError(f"{where}: has no camera_path with at least one picture; save the path again")
    seconds = positive(table, "seconds", len(shots) / positive(table, "fps", 24.0, where), where)
    return CameraPath(shots, keyframes, seconds, width, height, lens, loop=table.get("is_cycle") is True)


def write_camera_path(path: CameraPath, file: str | Path) -> Path:
    """Writes a camera_path.json, which nerfstudio reads too, and returns where it is. Raises OutputError."""
    file, aspect = Path(file), path.width / path.height

    def written(shot: Shot, key: str) -> dict:
        return {key: [*shot.pose.flatten().tolist(), 0.0, 0.0, 0.0, 1.0], "fov": shot.fov_degrees, "aspect": aspect}

    table = dict(
        camera_type=path.lens, render_width=path.width, render_height=path.height, fps=path.fps, seconds=path.seconds,
        is_cycle=path.loop, smoothness_value=0.0,
        keyframes=[written(shot, "matrix") for shot in path.keyframes],
        camera_path=[written(shot, "camera_to_world") for shot in path.shots],
    )
    write_file(file, json.dumps(table, indent=1) + "\n")
    return file


def _shots(table: dict, key: str, matrix: str, where: str) -> list[Shot]:
    rows = table.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SceneError(f"{where}: {key} is not a list of cameras; save the path again")
    default = {"fov": table.get("default_fov", DEFAULT_FOV)}
    return [_shot(default | row, matrix, f"{where}, {key} {i}") for i, row in enumerate(rows, 1)]


def _shot(row: dict, matrix: str, where: str) -> Shot:
    fov = positive(row, "fov", None, where)
    if fov >= 180:
        raise SceneError(f"{where}: fov is {fov:g}; write the vertical angle of view in degrees, below 180")
    return Shot(check_pose(_rows(row.get(matrix)), where), fov)


def _rows(matrix: object) -> object:
    """4 x 4 nested numbers from 16 in a row, or in a string, as nerfstudio has written them; also column by column."""
    if isinstance(matrix, str):
        try:
            matrix = json.loads(matrix)
        except (ValueError, RecursionError):
            return None
    try:
        square = np.asarray(matrix, dtype=float).reshape(4, 4)
    except (TypeError, ValueError, OverflowError):
        return None
    by_columns = square[3, :3].any() and not square[:3, 3].any()
    return torch.from_numpy(square.T.copy() if by_columns else square)


def _side(table: dict, key: str, where: str) -> int:
    side = number(table, key, None, where)
    if not 1 <= side <= LARGEST_SIDE:
        raise SceneError(f"{where}: {key} is {side:g}; write pixels from 1 to {LARGEST_SIDE}")
    return round(side)
