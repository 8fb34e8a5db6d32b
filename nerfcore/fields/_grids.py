"""What the fields made of plain grids share: their density, smoothness as a part of the loss, and becoming finer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nerfcore.types import TouchedGradient

OPAQUE = 100.0  # per unit of the box, for each unit of what a grid holds: a few of them stop light within a voxel
EMPTY_BELOW = 6.0  # what a grid holds there; grids begin at 0, a fog of 100 exp(-6) = 0.25 per unit
SMOOTH_SHARE = 64  # one in so many rows is smoothed in a step (Fridovich-Keil et al. 2022, section 3.4: one in 100)
LEVEL = 1e-2  # differences below count by their squares


def density_of(held: Tensor) -> Tensor:
    """Density per unit of the box from what a grid holds: a ReLU, as of Fridovich-Keil et al. 2022, that goes on
    learning where there is nothing, and whose corner lies above 0, so that a grid of zeros is empty."""
    return OPAQUE * torch.nn.functional.softplus(held - EMPTY_BELOW)


def growing_sizes(coarsest: int, finest: int, growth: float = 2.0) -> list[int]:
    """Corners along an axis, from the coarsest grid to the finest, each about ``growth`` times as many as before."""
    steps = max(round(math.log(finest / coarsest, growth)), 1) if finest > coarsest else 0
    return [round(coarsest * (finest / coarsest) ** (i / steps)) for i in range(steps)] + [finest]


def some_rows(num_rows: int, generator: torch.Generator) -> Tensor:
    """A random run of the rows of a table, int64 [rows / SMOOTH_SHARE]: neighbours in memory, which are quickly had."""
    start = torch.randint(num_rows, (1,), generator=generator, device=generator.device)
    return (start + torch.arange(-(-num_rows // SMOOTH_SHARE), device=generator.device)) % num_rows


def neighbours_of(corner: Tensor, size: Sequence[int]) -> list[Tensor]:
    """The corners [K] on either side of these along each axis of a grid of so many, the last axis fastest; the corner
    itself where the grid ends. Grids that lie end to end are each their own."""
    stride, found = 1, []
    for n in reversed(size):
        at = corner // stride % n
        found += [corner - stride * (at > 0), corner + stride * (at < n - 1)]
        stride *= n
    return found


@torch.no_grad()
def add_smoothness(
    gradient: Tensor | TouchedGradient, table: Tensor, rows: Tensor, neighbours: Sequence[Tensor], weight: float
) -> None:
    """Adds the gradient, in these rows [K] of a table [V, C], of ``weight`` times the mean over all rows of the total
    variation: how far the channels of a row are from those of its neighbours, rows [K] each, summed over the axes.

    Fridovich-Keil et al. 2022, equation 5, in its anisotropic form: the sum over the axes in the place of the root of
    the sum of squares, so that a row's gradient asks for its own neighbours alone.
    """
    own = table.index_select(0, rows)
    pull = torch.zeros_like(own)
    for neighbour in neighbours:
        apart = own - table.index_select(0, neighbour)
        pull += apart * (apart.square() + LEVEL**2).rsqrt()
    add_to_rows(gradient, rows, weight / len(rows) * pull)


@torch.no_grad()
def add_to_rows(gradient: Tensor | TouchedGradient, rows: Tensor, values: Tensor) -> None:
    """Adds values [K, C] to the gradient of a table [V, C], in rows [K], none of them twice."""
    if isinstance(gradient, TouchedGradient):
        gradient.touched[rows] = 1
        gradient = gradient.values
    gradient = gradient.view(-1, values.shape[1])
    gradient[rows] = gradient.index_select(0, rows) + values
