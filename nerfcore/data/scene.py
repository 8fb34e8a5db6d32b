"""A scene: photographs with cameras, in training and held-out views, and where they lie in the normalised box."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from nerfcore.cameras.intrinsics import Camera
from nerfcore.errors import SceneError

MAX_CASCADES = 5  # unless a file says otherwise

if TYPE_CHECKING:
    from nerfcore.data.photo import Photo


@dataclass(frozen=True)
class SceneTransform:
    """The similarity from the user's world to the box [0, 1]³ that holds the whole scene.

    ``x_box = scale * x_world + translation``; distances: ``d_box = scale * d_world``.
    """

    scale: float
    translation: tuple[float, float, float]

    def to_box(self, points: Tensor) -> Tensor:
        """World points [..., 3] in box coordinates."""
        return points * self.scale + points.new_tensor(self.translation)

    def to_world(self, points: Tensor) -> Tensor:
        """Box points [..., 3] in world coordinates."""
        return (points - points.new_tensor(self.translation)) / self.scale

    @property
    def world_box(self) -> Tensor:
        """[2, 3] float32: the box's lower and upper corner in world coordinates."""
        return self.to_world(torch.tensor([[0.0] * 3, [1.0] * 3], dtype=torch.float64)).float()


class Box(NamedTuple):
    """Where a scene lies, and how many nested occupancy grids suit it."""

    transform: SceneTransform
    cascades: int

    def within(self, corners: Sequence[float] | None = None, scale: float = 1.0) -> Box:
        """Another one: the smallest cube that holds ``corners``, world coordinates of a lower corner and of an upper
        one (None: its own), made ``scale`` times as large about its middle.

        The smallest cascade keeps its size as nearly as whole cascades allow. Raises SceneError for what is no box.
        """
        box = self.transform.world_box.flatten().tolist() if corners is None else list(corners)
        low, high = box[:3], box[3:]
        sides = [b - a for a, b in zip(low, high, strict=False)]
        if len(box) != 6 or not all(0 < side < math.inf for side in sides) or not 0 < scale < math.inf:
            raise SceneError(
                f"box {' '.join(f'{value:g}' for value in box)}, scale {scale:g}: is no box; give three world "
                "coordinates of the lower corner, then three larger ones of the upper corner, and a scale above 0"
            )
        if corners is None and scale == 1:
            return self
        to_box = 1 / (scale * max(sides))
        middle = [0.5 * (a + b) for a, b in zip(low, high, strict=True)]
        cascades = self.cascades + round(math.log2(self.transform.scale / to_box))
        cascades = min(max(cascades, 1), max(MAX_CASCADES, self.cascades))
        return Box(SceneTransform(to_box, tuple(0.5 - to_box * value for value in middle)), cascades)


@dataclass(frozen=True)
class Frame:
    """One photograph: its name in the scene, its camera (at the loaded size), its pose [3, 4] float32 and its file.

    z_depth_path: a file of depths along the camera axis, each value times z_depth_unit in world units; distance_path:
    one of distances along rays. near_far: between which depths lies what the photo shows, world units.
    """

    name: str
    camera: Camera
    pose: Tensor
    path: Path
    z_depth_path: Path | None = None
    z_depth_unit: float = 1.0
    near_far: tuple[float, float] | None = None
    distance_path: Path | None = None
    distance_unit: float = 1.0


@dataclass(frozen=True)
class Views:
    """Photographs with their cameras, wherever their pixels are."""

    frames: list[Frame]

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def poses(self) -> Tensor:
        """[N, 3, 4] float32."""
        return torch.stack([frame.pose for frame in self.frames])

    def image(self, index: int) -> Tensor:
        """[H, W, C] float32 in [0, 1]; alpha is straight (colour not multiplied by it)."""
        pixels, camera = self._pixels(index), self.frames[index].camera
        return to_unit(pixels).reshape(camera.height, camera.width, -1)

    def ignored(self, index: int) -> Tensor | None:
        """bool [H, W]: the pixels of an image that do not count; None if all do."""
        ignored, camera = self._ignored(index), self.frames[index].camera
        return None if ignored is None else ignored.reshape(camera.height, camera.width)


@dataclass(frozen=True)
class Split(Views):
    """Photographs whose pixels lie end to end, in memory.

    pixels [P, C]: uint8 or uint16 over its full range, rows of all images one after another, C = 3 (RGB) or 4 (RGB and
    straight alpha). offsets [N + 1] int64: image i owns rows ``offsets[i]:offsets[i + 1]``. ignore_mask bool [P]:
    pixels that supervise nothing and are not scored, those that a mask names and those that the lens does not cover;
    None where every pixel counts. measured [P] float32: what depth maps say of pixels, world units, 0 where they say
    nothing: distances along rays in frames that have a distance_path, else depths along the camera axis; None where
    there are none or they were not asked for.
    """

    pixels: Tensor
    offsets: Tensor
    ignore_mask: Tensor | None = None
    measured: Tensor | None = None

    @property
    def is_measured(self) -> bool:
        """Whether depth maps were asked for, and are there."""
        return self.measured is not None

    @property
    def nbytes(self) -> int:
        """Memory of all pixels and of what is known of them."""
        return sum(t.nbytes for t in (self.pixels, self.ignore_mask, self.measured) if t is not None)

    def _pixels(self, index: int) -> Tensor:
        return self.pixels[self._rows(index)]

    def _ignored(self, index: int) -> Tensor | None:
        return None if self.ignore_mask is None else self.ignore_mask[self._rows(index)]

    def _rows(self, index: int) -> slice:
        camera, start = self.frames[index].camera, int(self.offsets[index])
        return slice(start, start + camera.height * camera.width)


@dataclass(frozen=True)
class StoredSplit(Views):
    """Photographs that stay in their files, because there are more than memory holds: each is decoded when it is asked
    for. photos: one for each frame. is_measured: depth maps were asked for,
    and are there."""

    photos: list[Photo]
    is_measured: bool = False

    @property
    def nbytes(self) -> int:
        """Memory of all pixels: none is kept."""
        return 0

    def _pixels(self, index: int) -> Tensor:
        return torch.from_numpy(self.photos[index].pixels())

    def _ignored(self, index: int) -> Tensor | None:
        ignored = self.photos[index].ignored()
        return None if ignored is None else torch.from_numpy(ignored)


@dataclass(frozen=True)
class Scene:
    """A loaded capture.

    val is None where nothing but the test views was set aside. cascades: number of nested occupancy grids that suit it;
    the last spans the whole box, each lower one has half the side about the same centre. split_rule says in words which
    views are held out. points [N, 3] float32: what a reconstruction found of the surfaces, world; None without one.
    nearest: distance of what is nearest to any camera, world units; None where nothing says so.
    """

    name: str
    root: Path
    train: Split | StoredSplit
    val: Split | StoredSplit | None
    test: Split | StoredSplit
    transform: SceneTransform
    cascades: int
    has_alpha: bool
    split_rule: str
    points: Tensor | None = None
    nearest: float | None = None

    def within(self, box: Sequence[float] | None = None, scale: float = 1.0) -> Scene:
        """The same scene in another box, see :meth:`Box.within`."""
        return dataclasses.replace(self, **Box(self.transform, self.cascades).within(box, scale)._asdict())

    @property
    def nbytes(self) -> int:
        """Memory that the photographs of all splits take."""
        return sum(split.nbytes for split in (self.train, self.val, self.test) if split is not None)

    def camera_centres(self, split: str = "train") -> Tensor:
        """[N, 3] world positions of the cameras of the split "train", "val" or "test"."""
        return getattr(self, split).poses[:, :, 3]


def to_unit(pixels: Tensor) -> Tensor:
    """Stored pixels (uint8 or uint16) as float32 in [0, 1]."""
    return pixels.float() / torch.iinfo(pixels.dtype).max
