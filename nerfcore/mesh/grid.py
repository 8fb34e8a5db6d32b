"""The grid of samples that spans a box of the world."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Samples at ``box_min + index * cell``; the first and the last of each axis lie on the box.

    box_min, box_max [3] float64 in world units; shape: the number of samples along each axis.
    """

    box_min: Tensor
    box_max: Tensor
    shape: tuple[int, int, int]

    @classmethod
    def over(cls, box_min: Tensor, box_max: Tensor, resolution: int) -> Grid:
        """``resolution`` samples along the longest side, the others in proportion: cells are close to cubes."""
        side = box_max - box_min
        cells = (side / side.max() * (resolution - 1)).round().clamp(min=1).long()
        return cls(box_min, box_max, tuple((cells + 1).tolist()))

    @property
    def cell(self) -> Tensor:
        """[3] float64, the sides of a cell."""
        return (self.box_max - self.box_min) / (self.box_min.new_tensor(self.shape) - 1)

    def coarser(self, factor: int) -> Grid:
        """The same box with cells about ``factor`` times as long."""
        return Grid(self.box_min, self.box_max, tuple(max(2, -(-(n - 1) // factor) + 1) for n in self.shape))

    def to_world(self, index: Tensor) -> Tensor:
        """World positions [..., 3], float32, of positions counted in samples."""
        return (self.box_min + index * self.cell).float()

    def slabs(self, points: int) -> list[range]:
        """Ranges of x that hold about that many samples each, at least one layer."""
        layers = max(1, points // (self.shape[1] * self.shape[2]))
        return [range(x, min(x + layers, self.shape[0])) for x in range(0, self.shape[0], layers)]

    def slab_points(self, slab: range) -> Tensor:
        """World positions [len(slab) * Y * Z, 3] of the samples of a slab, z fastest."""
        axes = [torch.arange(n.start, n.stop, device=self.box_min.device) for n in (slab, *map(range, self.shape[1:]))]
        return self.to_world(torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).view(-1, 3))
