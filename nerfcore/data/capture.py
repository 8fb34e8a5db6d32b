"""A capture as its files describe it: which photographs there are, with which cameras, before a pixel is read.

Every reader returns a `Capture`: it becomes a scene (`nerfcore.data.build`) or files (`nerfcore.data.convert`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from nerfcore.cameras.intrinsics import Camera
from nerfcore.data.scene import Box
from nerfcore.data.values import LARGEST
from nerfcore.errors import SceneError

HOLD_OUT_EVERY = 8
HOLD_OUT_RULE = f"every {HOLD_OUT_EVERY}th present image by name"


class Mask(NamedTuple):
    """A picture, as large as its photo, of pixels to leave out: those that are black, or those that are not."""

    path: Path
    black_is_ignored: bool


class DepthMap(NamedTuple):
    """A file of distances along rays, or of depths along the camera axis; unit: world units that a step of its values
    is."""

    path: Path
    unit: float


class SparsePoints(NamedTuple):
    """Points that a reconstruction found: positions [N, 3] float64 in the world, colours [N, 3] uint8."""

    xyz: np.ndarray
    rgb: np.ndarray


@dataclass(frozen=True)
class Entry:
    """A photograph whose file exists.

    pose [3, 4] float64, in our axes. camera(width, height): the camera of its image, which has this size; raises
    SceneError where it cannot be. calibration: what it shares its intrinsics with, None if they are its own. alpha: a
    picture of the object's coverage. image_circle: the radius about the camera's centre beyond which the lens shows
    nothing, as a share of the width. near_far: between which depths lies what the photo shows, in world units.
    """

    name: str
    path: Path
    pose: Tensor
    camera: Callable[[int, int], Camera]
    calibration: str | None = None
    alpha: Path | None = None
    mask: Mask | None = None
    image_circle: float | None = None
    z_depth: DepthMap | None = None
    distance: DepthMap | None = None
    near_far: tuple[float, float] | None = None


@dataclass(frozen=True)
class Capture:
    """What a reader found. source: the file or folder that says it. splits: "train", "test" and perhaps "val".

    absent: listed photographs that do not exist. box: where it says so itself. broken: why frames whose photograph
    exists cannot be used; they are no entries, and only `nerfcore.check` goes on without them.
    """

    root: Path
    source: Path
    splits: dict[str, list[Entry]]
    split_rule: str
    absent: tuple[str, ...] = ()
    box: Box | None = None
    points: SparsePoints | None = None
    broken: tuple[SceneError, ...] = ()

    @property
    def entries(self) -> list[Entry]:
        """Of all splits, one after another."""
        return [entry for split in self.splits.values() for entry in split]


def hold_out(
    source: Path, entries: list[Entry], absent: tuple[str, ...] = (), broken: tuple[SceneError, ...] = ()
) -> dict[str, list[Entry]]:
    """The splits "train" and "test": sorted by name, every 8th entry from the first on is for testing."""
    if len(entries) < 2:
        raise broken[0] if broken else SceneError(
            f"{source}: {len(entries)} of its {len(absent) + len(entries)} images exist and at least 2 are needed (one "
            "is held out); put the photos where it looks for them, or correct the file_path of each"
        )
    entries = sorted(entries, key=lambda entry: entry.name)
    return {"train": [e for i, e in enumerate(entries) if i % HOLD_OUT_EVERY], "test": entries[::HOLD_OUT_EVERY]}


def held_out_capture(
    root: Path, source: Path, entries: list[Entry], absent: tuple[str, ...] = (),
    broken: tuple[SceneError, ...] = (), **rest,
) -> Capture:
    """The capture of photographs of which no file says what they are for."""
    splits = hold_out(source, entries, absent, broken)
    return Capture(root, source, splits, HOLD_OUT_RULE, absent, broken=broken, **rest)


class WrongSize(SceneError):
    """A photograph is not as large as its intrinsics say. camera: what was calibrated."""

    def __init__(self, message: str, camera: Camera):
        super().__init__(message)
        self.camera = camera


def camera_for(camera: Camera, path: Path, where: str, width: int, height: int) -> Camera:
    """The calibrated camera, for its image ``path`` of the given size: itself, or an exact rescale. With its first
    three arguments it is the ``camera`` of an Entry.

    Raises SceneError, which begins with ``where``, if a number cannot be, and WrongSize if sizes disagree.
    """
    numbers = camera.fl_x, camera.fl_y, camera.cx, camera.cy, *camera.lens.coefficients.values()
    if not all(-LARGEST <= value <= LARGEST for value in numbers) or min(camera.fl_x, camera.fl_y) < 1 / LARGEST:
        raise SceneError(f"{where}: the camera's numbers cannot be ({camera.description()}); calibrate it again")
    if min(camera.width, camera.height) >= 1:
        scale = max(width, height) / max(camera.width, camera.height)
        if abs(width - camera.width * scale) <= 1 and abs(height - camera.height * scale) <= 1:
            return camera.resized(width, height)
    raise WrongSize(
        f"{where}: image {path} is {width}x{height} but its intrinsics say {camera.width}x{camera.height}; use the "
        "photos that were calibrated, or correct w and h",
        camera,
    )
