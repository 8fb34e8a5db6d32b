"""Which cells of the box are worth sampling: the occupancy grid of Müller et al. 2022, appendix E.2."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nerfcore.ops._late import LateNumber
from nerfcore.ops.occupancy import (
    SCATTERED,
    cell_points,
    occupancy_choose,
    occupancy_pack,
    occupancy_see,
    occupancy_update,
)
from nerfcore.types import Samples

EARLY_DECAY, DECAY = 0.3, 0.8
"""Of a cell's density at each visit. Müller et al. 2022 use 0.95 and visit every cell several times as often."""
OPTICAL_THICKNESS = 0.03
"""A cell is occupied if one marching step through it absorbs about this much. Müller et al. 2022 use 0.01 of a step
half as long; more leaves less fog in front of surfaces."""
BLOCK = 4
"""Cells along the side of a block, the unit in which visibility is known."""


class OccupancyGrid:
    """Nested grids of G³ cells: cascade c is the cube of side ``2^(c - (C - 1))`` about the middle of the box.

    density [C G³]: a decaying maximum of the density met in each cell, -1 where no camera can ever look. Cells start
    occupied, with the density of an untrained field. step: marching step in box units. waits: whether the host may wait
    for a GPU in :meth:`update`; if not, cells have a fixed room there, and the number of occupied ones is that of the
    update before.
    """

    def __init__(
        self, resolution: int, cascades: int, step: float, device: torch.device | str = "cpu", backend: str = "auto",
        waits: bool = True,
    ):
        self.resolution, self.cascades, self.step, self.backend = resolution, cascades, step, backend
        self.waits, self._late = waits, LateNumber()
        self.density = torch.ones(cascades * resolution**3, device=device)
        self.threshold = torch.zeros((), device=device)
        self.seen = torch.zeros(cascades * (resolution // BLOCK) ** 3, dtype=torch.bool, device=device)
        self.bits = occupancy_pack(self.density, self.threshold, backend=backend)
        self.sweep = self.draw = 0  # where the next turn among all cells, among the occupied ones, begins

    def see(self, origin: Tensor, direction: Tensor, samples: Samples, weights: Tensor) -> None:
        """Notes the blocks of 4³ cells in which light reached a sample, from the weights [S] of rendered box rays."""
        blocks = self.resolution // BLOCK
        occupancy_see(
            self.seen, origin, direction, samples, weights, blocks, self.cascades, backend=self.backend
        )

    def forget_hidden(self) -> None:
        """Empties the blocks that no light reached since the last call: space behind surfaces, which nothing
        supervises. A later visit brings back what is dense there, so that light which breaks through finds it again."""
        self.density.copy_(torch.where(self._to_cells(self.seen), self.density, self.density.clamp(max=0)))
        self.seen.zero_()
        self._pack()

    def _to_cells(self, blocks: Tensor) -> Tensor:
        """A value per block, [C (G / 4)³], as a value per cell, [C G³]."""
        coarse = self.resolution // BLOCK
        cells = blocks.view(self.cascades, coarse, coarse, coarse)
        for axis in (1, 2, 3):
            cells = cells.repeat_interleave(BLOCK, axis)
        return cells.reshape(-1)

    def exclude(self, visible: Callable[[Tensor, float], Tensor]) -> None:
        """Marks for ever the blocks of 4³ cells that no camera sees: visible(points [N, 3], radius) -> bool [N] tells
        whether the ball about each point is seen."""
        coarse = self.resolution // BLOCK
        blocks = torch.arange(coarse**3, device=self.density.device)
        middle = torch.full((len(blocks), 3), 0.5, device=blocks.device)
        seen = []
        for cascade in range(self.cascades):
            radius = 3**0.5 / 2 / coarse * 0.5 ** (self.cascades - 1 - cascade)
            seen.append(visible(cell_points(blocks + cascade * coarse**3, coarse, self.cascades, middle), radius))
        self.density[~self._to_cells(torch.cat(seen))] = -1
        self._pack()

    @torch.no_grad()
    def update(
        self, density: Callable[[Tensor], Tensor], num_cells: int, seed: int, settle: bool = False
    ) -> None:
        """Looks at a random point of about ``num_cells`` cells: density(x [N, 3]) -> [N]. seed in [0, 2³²).

        settle: early in training all of them are the next ones of an endless sweep over the grid, and old densities
        count little. Later half of them are from a sweep over the occupied cells, which are the ones that cost samples.
        """
        num_occupied = self.num_occupied if self.waits else self._late.read(self._count())
        swept = _turn(num_cells if settle else num_cells // 2, len(self.density))
        drawn = 0 if settle else _turn(num_cells // 2, num_occupied)
        cells, points = occupancy_choose(
            self.density, self.threshold, self.resolution, self.cascades, (self.sweep, swept), (self.draw, drawn), seed,
            None if self.waits else num_cells + num_cells // 8, self.backend,
        )
        self.sweep, self.draw = (self.sweep + swept) % SCATTERED, (self.draw + drawn) % SCATTERED
        occupancy_update(self.density, cells, density(points), EARLY_DECAY if settle else DECAY, backend=self.backend)
        self.threshold.fill_(OPTICAL_THICKNESS / self.step)
        self._pack()
        # early in training everything is thin: half the mean of the inner cascade keeps what is not emptier than the
        # rest
        if settle or not (self.num_occupied if self.waits else num_occupied):
            inner = self.density[: self.resolution**3].clamp(min=0).view(self.resolution, self.resolution, -1)
            mean = inner.mean(2).mean(1).mean()  # row by row: the same bits for any number of threads
            self.threshold.copy_(torch.minimum(self.threshold, 0.5 * mean))
            self._pack()

    def occupied(self, x: Tensor) -> Tensor:
        """bool [N]: whether points [N, 3] of the box lie in an occupied cell of the smallest cascade that holds
        them."""
        reach = 2 * (x - 0.5).abs().amax(-1).clamp(min=1e-9)  # 1 at the border of the box
        cascade = (self.cascades + reach.log2().floor()).clamp(0, self.cascades - 1).long()
        side = 0.5 ** (self.cascades - 1 - cascade)
        cell = (((x - 0.5) / side[:, None] + 0.5) * self.resolution).long().clamp(0, self.resolution - 1)
        index = ((cascade * self.resolution + cell[:, 2]) * self.resolution + cell[:, 1]) * self.resolution + cell[:, 0]
        return (self.bits[index >> 3] >> (index & 7).to(torch.uint8)) & 1 == 1

    def _pack(self) -> None:
        """In place: a recorded training step goes on reading the same memory."""
        self.bits.copy_(occupancy_pack(self.density, self.threshold, backend=self.backend))

    def _count(self) -> Tensor:
        """[] int64: how many cells are occupied."""
        ones = self.bits
        for mask, shift in ((0x55, 1), (0x33, 2), (0x0F, 4)):  # sums of neighbouring bits, pairs and fours
            ones = (ones & mask) + (ones >> shift & mask)
        return ones.sum(dtype=torch.int64)

    @property
    def num_occupied(self) -> int:
        """Number of occupied cells, over all cascades."""
        return int(self._count())

    @property
    def occupied_share(self) -> float:
        return self.num_occupied / len(self.density)


def _turn(num: int, among: int) -> int:
    """Length of a turn that ``num`` of ``among`` cells have, at most all."""
    return min(num * SCATTERED // max(among, 1), SCATTERED)
