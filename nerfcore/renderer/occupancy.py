"""Which cells of the box are worth sampling: the occupancy grid of Müller et al. 2022, appendix E.2."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nerfcore.ops.occupancy import cell_points, occupancy_pack, occupancy_update

DECAY = 0.95
OPTICAL_THICKNESS = 0.01
"""A cell is occupied if one marching step through it absorbs about this much; Müller et al. 2022."""
STRIDE = 2_654_435_761
"""Multiplier (a prime) that scatters consecutive numbers over the grid, so that a sweep visits every cell once."""


class OccupancyGrid:
    """Nested grids of G³ cells: cascade c is the cube of side ``2^(c - (C - 1))`` about the middle of the box.

    density [C G³]: a decaying maximum of the density met in each cell, -1 where no camera can ever look. Cells start at
    ``initial``, the density of an untrained field, and occupied. step: marching step in box units.
    """

    def __init__(
        self, resolution: int, cascades: int, step: float, initial: float = 1.0, device: torch.device | str = "cpu", backend: str = "auto"
    ):
        self.resolution, self.cascades, self.step, self.backend = resolution, cascades, step, backend
        self.density = torch.full((cascades * resolution**3,), initial, device=device)
        self.bits = self._pack(0.0)
        self.cursor = 0

    def exclude(self, visible: Callable[[Tensor, float], Tensor]) -> None:
        """Marks for ever the blocks of 4³ cells that no camera sees: visible(points [N, 3], radius) -> bool [N] tells whether
        the ball about each point is seen."""
        coarse = self.resolution // 4
        blocks = torch.arange(coarse**3, device=self.density.device)
        middle = torch.full((len(blocks), 3), 0.5, device=blocks.device)
        for cascade, cells in enumerate(self.density.view(self.cascades, -1)):
            radius = 3**0.5 / 2 / coarse * 0.5 ** (self.cascades - 1 - cascade)
            seen = visible(cell_points(blocks + cascade * coarse**3, coarse, self.cascades, middle), radius)
            blind = ~seen.view(coarse, coarse, coarse)
            for axis in range(3):
                blind = blind.repeat_interleave(4, axis)
            cells[blind.reshape(-1)] = -1
        self.bits = self._pack(0.0)

    @torch.no_grad()
    def update(self, density: Callable[[Tensor], Tensor], num_cells: int, generator: torch.Generator) -> None:
        """Looks at the next ``num_cells`` cells of an endless sweep, at a random point of each: density([N, 3]) -> [N]."""
        total = len(self.density)
        cells = (torch.arange(self.cursor, self.cursor + num_cells, device=self.density.device) * STRIDE) % total
        self.cursor = (self.cursor + num_cells) % total
        cells = cells[self.density[cells] >= 0]
        jitter = torch.rand(len(cells), 3, generator=generator, device=cells.device)
        points = cell_points(cells, self.resolution, self.cascades, jitter)
        occupancy_update(self.density, cells, density(points), DECAY, backend=self.backend)
        # early in training everything is thin: half the mean keeps all that has not been found emptier than the rest
        self.bits = self._pack(min(OPTICAL_THICKNESS / self.step, 0.5 * self.density.clamp(min=0).mean().item()))

    def occupied(self, x: Tensor) -> Tensor:
        """bool [N]: whether points [N, 3] of the box lie in an occupied cell of the smallest cascade that holds them."""
        reach = 2 * (x - 0.5).abs().amax(-1).clamp(min=1e-9)  # 1 at the border of the box
        cascade = (self.cascades + reach.log2().floor()).clamp(0, self.cascades - 1).long()
        side = 0.5 ** (self.cascades - 1 - cascade)
        cell = (((x - 0.5) / side[:, None] + 0.5) * self.resolution).long().clamp(0, self.resolution - 1)
        index = ((cascade * self.resolution + cell[:, 2]) * self.resolution + cell[:, 1]) * self.resolution + cell[:, 0]
        return (self.bits[index >> 3] >> (index & 7).to(torch.uint8)) & 1 == 1

    def _pack(self, threshold: float) -> Tensor:
        return occupancy_pack(self.density, threshold, backend=self.backend)

    @property
    def occupied_share(self) -> float:
        """Share of occupied cells, over all cascades."""
        shifts = torch.arange(8, device=self.bits.device, dtype=torch.uint8)
        return ((self.bits[:, None] >> shifts) & 1).float().mean().item()
