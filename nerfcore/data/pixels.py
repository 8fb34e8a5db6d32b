"""Random training rays with the colours that they should have."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from nerfcore.cameras.intrinsics import Camera
from nerfcore.data.pool import PixelPool
from nerfcore.data.scene import SceneTransform, Split, StoredSplit, to_unit
from nerfcore.types import Rays


class Drawn(NamedTuple):
    """Pixels as they are stored: the image [R] of each, its colour [R, C] in [0, 1], its ray in camera axes, world
    units: direction [R, 3], and origin [R, 3], None for the camera's centre; and what its depth map says of it [R],
    None where none is read."""

    image: Tensor
    colour: Tensor
    direction: Tensor
    origin: Tensor | None
    measured: Tensor | None


class PixelSampler:
    """Draws pixels uniformly, with replacement, from all images of a split, but none that its ignore_mask names.

    Pixels in memory are drawn from there; photographs that stay in their files are drawn from a pool on disk, which is
    open until :meth:`close`: see :class:`~nerfcore.data.pool.PixelPool` for what ``pool``, its options, may be. The
    generator of `sample` must live on the sampler's device. transform: rays begin in box coordinates, not in those of
    the world.
    """

    def __init__(
        self, split: Split | StoredSplit, device: torch.device | str = "cpu", transform: SceneTransform | None = None,
        **pool,
    ):
        self.is_pooled, self.is_measured = isinstance(split, StoredSplit), split.is_measured
        self.source = PixelPool(split, device, **pool) if self.is_pooled else PixelTable(split, device)
        self.transform, poses = transform or SceneTransform(1.0, (0.0, 0.0, 0.0)), split.poses.to(device)
        self.along_axis = torch.tensor([frame.distance_path is None for frame in split.frames], device=device)
        self.rotations, self.centres = poses[:, :, :3], self.transform.to_box(poses[:, :, 3])
        self.spreads = torch.tensor([frame.camera.spread for frame in split.frames], device=device)

    def sample(self, num_rays: int, generator: torch.Generator) -> tuple[Rays, Tensor, Tensor, Tensor | None]:
        """Rays, their pixels [R, C], float32 in [0, 1] (C = 4: straight alpha last), the images [R] that they are of,
        and how far along them the depth maps have a surface, [R], 0 where they say nothing; None without depth maps.
        The host does not wait for a GPU."""
        drawn = Drawn(*self.source.draw(num_rays, generator))
        rotation, origin = self.rotations[drawn.image], self.centres[drawn.image]
        direction = (rotation @ drawn.direction[:, :, None]).squeeze(-1)
        if drawn.origin is not None:
            origin = origin + (rotation @ (self.transform.scale * drawn.origin)[:, :, None]).squeeze(-1)
        rays = Rays(origin, direction, -drawn.direction[:, 2], self.spreads[drawn.image])
        return rays, drawn.colour, drawn.image, self._distance(drawn, rays.z_scale)

    def _distance(self, drawn: Drawn, z_scale: Tensor) -> Tensor | None:
        """[R], in the units of the rays: ``z_depth / z_scale``, where depths are along the camera's axis."""
        if drawn.measured is None:
            return None
        in_front = torch.where(z_scale > 0, drawn.measured / z_scale, 0)
        return self.transform.scale * torch.where(self.along_axis[drawn.image], in_front, drawn.measured)

    @property
    def nbytes(self) -> int:
        """Memory that drawing takes, beside that of the split."""
        return self.source.nbytes

    @property
    def pool_bytes(self) -> int:
        """Size of the pool on disk; 0 without one."""
        return self.source.file_bytes if self.is_pooled else 0

    def close(self) -> None:
        """Gives back the pool, if there is one."""
        if self.is_pooled:
            self.source.close()


class PixelTable:
    """All pixels of a split, in memory.

    Directions are looked up: one table [H * W, 3] (camera axes) for each distinct camera, end to end; and origins too
    where they are not all at the camera's centre.
    """

    def __init__(self, split: Split, device: torch.device | str):
        self.pixel_type = split.pixels.dtype
        self.pixel_bytes = split.pixels.view(torch.uint8).to(device)  # not every gather of PyTorch takes uint16
        self.drawn = None if split.ignore_mask is None else torch.nonzero(~split.ignore_mask).squeeze(1).to(device)
        self.measured = None if split.measured is None else split.measured.to(device)
        self.of_split = {t.data_ptr() for t in (split.pixels, split.measured) if t is not None}
        self.offsets = split.offsets.to(device)
        cameras = list(dict.fromkeys(frame.camera for frame in split.frames))
        ends = list(accumulate(camera.width * camera.height for camera in cameras))
        starts = dict(zip(cameras, [0, *ends], strict=False))
        self.directions = torch.empty(ends[-1], 3, device=device)
        is_central = all(camera.lens.is_central for camera in cameras)
        self.origins = None if is_central else torch.empty_like(self.directions)
        for camera, start in starts.items():
            pixel = camera.pixel_centres()
            covered = start + torch.nonzero(camera.covers(pixel)).squeeze(1)
            origin, direction = camera.unproject(pixel[covered - start])
            self.directions[covered] = direction.to(device)
            if self.origins is not None:
                self.origins[covered] = origin.to(device)
        table_starts = torch.tensor([starts[frame.camera] for frame in split.frames], device=device)
        self.pixel_to_direction = table_starts - self.offsets[:-1]

    def draw(self, num_rays: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """See :class:`Drawn`."""
        among = self.pixel_bytes if self.drawn is None else self.drawn
        pixel = torch.randint(len(among), (num_rays,), generator=generator, device=among.device)
        if self.drawn is not None:
            pixel = self.drawn[pixel]
        image = torch.searchsorted(self.offsets, pixel, right=True) - 1
        entry = pixel + self.pixel_to_direction[image]
        colour = to_unit(self.pixel_bytes[pixel].view(self.pixel_type))
        origin = None if self.origins is None else self.origins[entry]
        measured = None if self.measured is None else self.measured[pixel]
        return image, colour, self.directions[entry], origin, measured

    @property
    def nbytes(self) -> int:
        """Memory of all that is not the split's own."""
        tensors = self.pixel_bytes, self.drawn, self.directions, self.origins, self.measured
        return sum(t.nbytes for t in tensors if t is not None and t.data_ptr() not in self.of_split)


def table_bytes(cameras: Iterable[Camera]) -> int:
    """Memory of the directions, and of the origins, that a :class:`PixelTable` keeps."""
    distinct = set(cameras)
    numbers = 3 if all(camera.lens.is_central for camera in distinct) else 6
    return sum(4 * numbers * camera.width * camera.height for camera in distinct)
