"""The values that cross module borders: rays, packed samples and renders.

Axis letters, here and everywhere: R rays, S packed samples, K samples per ray (dense), L levels, F features per level,
D space dimensions, C channels, B batch, H W image.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.autograd.graph import increment_version


class _Movable:
    """Lets a frozen dataclass of tensors move between devices and be cut along its first axis."""

    def to(self, device):
        moved = {f.name: v.to(device) for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}
        return replace(self, **moved)


@dataclass(frozen=True)
class Rays(_Movable):
    """Half-lines in the user's world.

    origin [R, 3], world units. direction [R, 3], unit length. z_scale [R]: cosine between the ray and the camera axis,
    so that ``z_depth = distance * z_scale``, below 0 for those that look back; 1 for rays that belong to no camera.
    spread [R]: how wide the pixel of a ray is at the distance 1; 0 for rays without a width.
    """

    origin: Tensor
    direction: Tensor
    z_scale: Tensor | None = None
    spread: Tensor | None = None

    def __post_init__(self):
        if self.origin.ndim != 2 or self.origin.shape[-1] != 3 or self.direction.shape != self.origin.shape:
            raise ValueError(
                f"Rays need origin [R, 3] and direction [R, 3], got {list(self.origin.shape)} and "
                f"{list(self.direction.shape)}; flatten image axes first"
            )
        for name, value in (("z_scale", 1.0), ("spread", 0.0)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, torch.full_like(self.origin[:, 0], value))

    def __len__(self) -> int:
        return len(self.origin)

    def __getitem__(self, index) -> Rays:
        return Rays(self.origin[index], self.direction[index], self.z_scale[index], self.spread[index])


@dataclass(frozen=True)
class Samples(_Movable):
    """Samples of all rays end to end: ray r owns ``ray_offsets[r]:ray_offsets[r + 1]``.

    t_start, t_end [S]: interval ``[t_start, t_end)`` along the ray. ray_offsets [R + 1], int64. Samples behind
    ``ray_offsets[R]``, where marching was given a capacity, belong to no ray: they are zero, and operations return
    zeros for them. found [], int64: how many samples there would have been with more capacity.
    """

    t_start: Tensor
    t_end: Tensor
    ray_offsets: Tensor
    found: Tensor | None = None

    def __len__(self) -> int:
        return len(self.t_start)

    @property
    def num_rays(self) -> int:
        return len(self.ray_offsets) - 1

    @property
    def complete(self) -> Tensor:
        """[R] bool: which rays have all their samples here, of those that marching found."""
        begin, end = self.ray_offsets[:-1], self.ray_offsets[-1]
        return begin < end if self.found is None else (begin < end) | (self.found <= len(self))

    @property
    def ray_indices(self) -> Tensor:
        """[S] int64, the ray of each sample; the last one for samples that belong to none."""
        ends = torch.cat([self.ray_offsets[:-1], self.ray_offsets.new_full((1,), len(self))])
        counts = ends[1:] - ends[:-1]
        rays = torch.arange(self.num_rays, device=counts.device)
        return torch.repeat_interleave(rays, counts, output_size=len(self))

    @property
    def t_mid(self) -> Tensor:
        return 0.5 * (self.t_start + self.t_end)


@dataclass(frozen=True)
class SampleLattice(_Movable):
    """Where rays have samples, in box coordinates: occupancy bits, and the lattice of steps that tiles a ray.

    bits (uint8), resolution, cascades, step (the shortest) and cone_angle: as :func:`~nerfcore.ops.march.march_rays`
    has them. near: distance of the nearest sample. max_samples: of one ray; what lies behind its last one is not seen.
    """

    bits: Tensor
    resolution: int
    cascades: int
    step: float
    cone_angle: float = 0.0
    near: float = 0.0
    max_samples: int = 1024

    def __post_init__(self):
        if self.max_samples < 1:
            raise ValueError(f"max_samples must be at least 1, got {self.max_samples}")
        if self.bits.dtype != torch.uint8 or self.bits.shape != (self.cascades * self.resolution**3 // 8,):
            raise ValueError(
                f"bits must be uint8 [{self.cascades * self.resolution**3 // 8}] for {self.cascades} cascades of "
                f"{self.resolution}³ cells, got {self.bits.dtype} {list(self.bits.shape)}"
            )


@dataclass(frozen=True)
class Bvh(_Movable):
    """Triangles in a tree of boxes, as :func:`~nerfcore.ops.bvh.build_bvh` makes it, ready to be asked.

    corners [T, 3, 3]: of the triangles, in the order of the leaves, in which neighbours lie near one another; face [T]
    int64: which face each triangle is. Nodes are in depth-first order: box [M, 6], lower corner and upper corner; link
    [M, 3] int32, the second child (the first is the next node), or 0 for a leaf, and the range of the triangles below;
    dipole [M, 7], how these look from afar.
    """

    corners: Tensor
    face: Tensor
    box: Tensor
    link: Tensor
    dipole: Tensor

    def __len__(self) -> int:
        return len(self.corners)


class HalfTable:
    """A table's copy in half precision, for reading: half the memory to fetch. The table itself stays the parameter.

    dtype: torch.float16 or torch.bfloat16. The copy follows every change of the table that its version counter shows;
    changes through ``.data`` it cannot see, as autograd cannot.
    """

    def __init__(self, dtype: torch.dtype):
        if dtype not in (torch.float16, torch.bfloat16):
            raise ValueError(f"half precision is torch.float16 or torch.bfloat16, got {dtype}")
        self.dtype = dtype
        self.values: Tensor | None = None
        self._state: tuple | None = None  # of the table that the values were taken from

    def of(self, table: Tensor) -> Tensor:
        """The table [E, F] rounded, not differentiable; a new look at the table only where it has changed."""
        state = _state_of(table)
        if state != self._state:
            values = self.values
            if values is None or values.shape != table.shape or values.device != table.device:
                self.values = torch.empty_like(table, dtype=self.dtype, requires_grad=False)
            self.values.copy_(table.detach())
            self._state = state
        return self.values

    def written(self, table: Tensor) -> None:
        """Says that the copy was changed together with the table."""
        increment_version(self.values)
        self._state = _state_of(table)


def _state_of(table: Tensor) -> tuple:
    return table.data_ptr(), table._version, table.dtype, table.device, table.shape


@dataclass(frozen=True)
class TouchedGradient(_Movable):
    """Gradient of a table of which a step meets few entries. It is kept from step to step: operations add to it, the
    optimiser clears what was touched.

    values [E, F]: the gradient, zero where not touched. touched [E], uint8: 1 where something was added. copy: the
    table in half precision, if it has one, which the optimiser keeps up with it.
    """

    values: Tensor
    touched: Tensor
    copy: HalfTable | None = None

    @classmethod
    def zeros_like(cls, table: Tensor, copy: HalfTable | None = None) -> TouchedGradient:
        """For a table [E, F]."""
        return cls(torch.zeros_like(table), torch.zeros(len(table), dtype=torch.uint8, device=table.device), copy)


@dataclass(frozen=True)
class Render(_Movable):
    """What a ray saw: rgb [R, 3] over the stated background; opacity [R]; distance [R] along the ray and z_depth [R]
    along the camera axis, both in world units and 0 where opacity is 0: the mean of where light is stopped; normal
    [R, 3], unit and outward, where it was asked for; median_distance [R]: where half of the light is stopped, 0 where
    less than half is."""

    rgb: Tensor
    opacity: Tensor
    distance: Tensor
    z_depth: Tensor
    normal: Tensor | None = None
    median_distance: Tensor | None = None
