"""Occupancy grid: density cells, their update, and the bits that ray marching reads.

Cells of C cascades of G³ cells lie end to end, x fastest: cell ``((c G + z) G + y) G + x``. Cascade c is the cube about
0.5 with side 2^(c-(C-1)) in box coordinates. The cascades are independent of each other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nerfcore.ops._dispatch import check, use_kernel
from nerfcore.types import Samples

SCATTERED = 1 << 32  # how many numbers cells are scattered over


def occupancy_choose(
    density_grid: Tensor, threshold: float | Tensor, resolution: int, cascades: int, swept: tuple[int, int],
    drawn: tuple[int, int], seed: int, capacity: int | None = None, backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Whose turn it is to be looked at, and where: cells [N] int64, ascending, and a random point [N, 3] of each.

    Every cell has a scattered number in [0, 2³²), the same always. It is looked at if that lies in the turn ``swept``
    = (start, length), which goes around the end; an occupied cell, above ``threshold``, also if it lies in ``drawn``.
    So turns that follow each other visit every cell once before any a second time, and cells that are looked at
    together lie in order, as caches like it. Cells below 0 are never looked at. density_grid [C G³]; threshold: a
    number, or a tensor [] like density_grid; seed in [0, 2³²) of the points. capacity: N, whatever the number of cells
    whose turn it is, so that the host does not wait for a GPU to count: the last ones are left out, or -1 fills up.
    Not differentiable.
    """
    density_grid = check("density_grid", density_grid, str(cascades * resolution**3), {}).detach()
    if resolution & resolution - 1:
        raise ValueError(f"resolution must be a power of two, got {resolution}")
    for name, (start, length) in (("swept", swept), ("drawn", drawn)):
        if not (0 <= start < SCATTERED and 0 <= length <= SCATTERED):
            raise ValueError(f"{name} must start in [0, 2**32) and be at most 2**32 long, got {start}, {length}")
    threshold = _threshold(threshold, density_grid)
    if use_kernel(backend, density_grid):
        return torch.ops.nerfcore.occupancy_choose(
            density_grid, threshold, resolution, cascades, *swept, *drawn, seed, capacity
        )
    return occupancy_choose_reference(density_grid, threshold, resolution, cascades, swept, drawn, seed, capacity)


@torch.no_grad()
def occupancy_choose_reference(
    density_grid: Tensor, threshold: float | Tensor, resolution: int, cascades: int, swept: tuple[int, int],
    drawn: tuple[int, int], seed: int, capacity: int | None = None,
) -> tuple[Tensor, Tensor]:
    number = scatter_bits(torch.arange(len(density_grid), device=density_grid.device))
    turn, again = ((number - start) % SCATTERED < length for start, length in (swept, drawn))
    cells = torch.nonzero((density_grid >= 0) & (turn | again & (density_grid > threshold))).squeeze(1)
    bits = scatter_bits(number[cells] ^ seed)
    jitter = torch.stack([(bits >> 10 * d & 1023) / 1024 for d in range(3)], 1).to(density_grid)
    points = cell_points(cells, resolution, cascades, jitter)
    if capacity is None:
        return cells, points
    room = capacity - len(cells[:capacity])
    return torch.cat([cells[:capacity], cells.new_full((room,), -1)]), torch.cat(
        [points[:capacity], points.new_full((room, 3), 0.5)]
    )


def scatter_bits(x: Tensor) -> Tensor:
    """Scatters consecutive numbers evenly over [0, 2³²), one to one: two rounds of multiply and shift. int64."""
    x = (x ^ x >> 16) * 0x7FEB352D % SCATTERED
    x = (x ^ x >> 15) * 0x846CA68B % SCATTERED
    return x ^ x >> 16


def occupancy_update(
    density_grid: Tensor, cell_index: Tensor, density: Tensor, decay: float = 0.95, backend: str = "auto"
) -> None:
    """Updates cells in place: ``cell = max(cell * decay, density)`` (Müller et al. 2022, appendix E.2).

    density_grid [C G³], contiguous; cell_index [N] int64, -1 for none; density [N], any unit the threshold of
    :func:`occupancy_pack` shares. A cell named more than once decays once and takes the largest density. Cells below 0
    are never visible and stay as they are; a density that is not finite is left out. The result does not depend on the
    order of the N entries. On a GPU cells outside of the grid are left out too, because to look for them is to wait.
    Not differentiable.

    >>> grid = torch.tensor([1.0, 1.0, -1.0, 1.0])
    >>> occupancy_update(grid, torch.tensor([0, 1, 1, 2]), torch.tensor([0.0, 2.0, 3.0, 9.0]), decay=0.5)
    >>> grid.tolist()
    [0.5, 3.0, -1.0, 1.0]
    """
    dims: dict[str, int] = {}
    if not (isinstance(density_grid, Tensor) and density_grid.is_contiguous()):
        raise ValueError("density_grid must be a contiguous tensor, because it is updated in place")
    density_grid = check("density_grid", density_grid, "cells", dims).detach()
    cell_index = check("cell_index", cell_index, "N", dims)
    density = check("density", density, "N", dims, like=density_grid).detach()
    if not 0 <= decay <= 1:
        raise ValueError(f"decay must be in [0, 1], got {decay}")
    if cell_index.dtype != torch.int64 or cell_index.device != density_grid.device:
        got = f"{cell_index.dtype} on {cell_index.device}"
        raise ValueError(f"cell_index must be int64 on {density_grid.device}, got {got}")
    if len(cell_index) and not cell_index.is_cuda:
        low, high = (int(i) for i in cell_index.aminmax())
        if low < -1 or high >= len(density_grid):
            raise ValueError(f"cell_index must be -1 or in [0, {len(density_grid)}), got values from {low} to {high}")
    if use_kernel(backend, density_grid):
        torch.ops.nerfcore.occupancy_update(density_grid, cell_index, density, decay)
    else:
        occupancy_update_reference(density_grid, cell_index, density, decay)


@torch.no_grad()
def occupancy_update_reference(density_grid: Tensor, cell_index: Tensor, density: Tensor, decay: float = 0.95) -> None:
    counts = (cell_index >= 0) & (density_grid[cell_index] >= 0) & density.isfinite()
    largest = torch.full_like(density_grid, -torch.inf)
    largest.scatter_reduce_(0, cell_index[counts], density[counts], "amax")
    density_grid.copy_(torch.where(largest > -torch.inf, torch.maximum(density_grid * decay, largest), density_grid))


def occupancy_pack(density_grid: Tensor, threshold: float | Tensor, backend: str = "auto") -> Tensor:
    """One bit a cell: ``density_grid > threshold``. Bit i is bit ``i & 7`` of byte ``i >> 3``.

    density_grid [C G³], a multiple of 8 cells; threshold: a number, or a tensor [] like density_grid. Returns uint8
    [C G³ / 8]. A NaN cell is empty. Not differentiable.

    >>> occupancy_pack(torch.tensor([0.0, 2.0, 0.0, 3.0, 1.0, 0.0, 0.0, 0.0]), threshold=1.0)
    tensor([10], dtype=torch.uint8)
    """
    density_grid = check("density_grid", density_grid, "cells", {}).detach()
    if len(density_grid) % 8:
        raise ValueError(f"density_grid must hold a multiple of 8 cells, got {len(density_grid)}")
    threshold = _threshold(threshold, density_grid)
    if use_kernel(backend, density_grid):
        return torch.ops.nerfcore.occupancy_pack(density_grid, threshold)
    return occupancy_pack_reference(density_grid, threshold)


@torch.no_grad()
def occupancy_pack_reference(density_grid: Tensor, threshold: float | Tensor) -> Tensor:
    place = 2 ** torch.arange(8, dtype=torch.uint8, device=density_grid.device)
    return ((density_grid > threshold).view(-1, 8) * place).sum(1, dtype=torch.uint8)


def _threshold(threshold: float | Tensor, density_grid: Tensor) -> Tensor:
    if not isinstance(threshold, Tensor):
        return density_grid.new_full((), threshold)
    return check("threshold", threshold, "", {}, like=density_grid)


def occupancy_see(
    seen: Tensor, origin: Tensor, direction: Tensor, samples: Samples, weights: Tensor, resolution: int, cascades: int,
    darkest: float = 1e-3, backend: str = "auto",
) -> None:
    """Notes where light got: sets ``seen`` in place for every block that holds the middle of a lit sample.

    A sample is lit if more than a share ``darkest`` of the light passes the samples in front of it. seen: bool
    [C B³], blocks laid out as cells are, with B = resolution blocks along an axis; a sample is noted in every cascade
    that holds it. origin, direction [R, 3] in box coordinates; weights [S] of
    :func:`~nerfcore.ops.composite.composite`. Not differentiable.
    """
    dims: dict[str, int] = {}
    if seen.dtype != torch.bool or not seen.is_contiguous():
        raise ValueError(f"seen must be contiguous and bool, because it is updated in place, got {seen.dtype}")
    check("seen", seen, str(cascades * resolution**3), dims)
    origin = check("origin", origin, "R 3", dims).detach()
    direction = check("direction", direction, "R 3", dims, like=origin).detach()
    t_start = check("samples.t_start", samples.t_start, "S", dims, like=origin)
    t_end = check("samples.t_end", samples.t_end, "S", dims, like=origin)
    weights = check("weights", weights, "S", dims, like=origin).detach()
    if use_kernel(backend, origin):
        offsets = samples.ray_offsets.contiguous()
        torch.ops.nerfcore.occupancy_see(
            seen, origin, direction, t_start, t_end, offsets, weights, darkest, resolution, cascades
        )
    else:
        occupancy_see_reference(seen, origin, direction, samples, weights, resolution, cascades, darkest)


@torch.no_grad()
def occupancy_see_reference(seen, origin, direction, samples, weights, resolution, cascades, darkest) -> None:
    if not len(samples):
        return
    ray = samples.ray_indices
    before = weights.double().cumsum(0) - weights
    lit = before - before[samples.ray_offsets[:-1].clamp(max=len(weights) - 1)][ray] < 1 - darkest
    x = (origin[ray] + samples.t_mid[:, None] * direction[ray])[lit]
    for cascade in range(cascades):
        block = ((x - 0.5) * (resolution * 2.0 ** (cascades - 1 - cascade)) + 0.5 * resolution).floor()
        block = block[((block >= 0) & (block < resolution)).all(1)].long()
        index = ((cascade * resolution + block[:, 2]) * resolution + block[:, 1]) * resolution + block[:, 0]
        seen[index] = True


def cell_points(cell_index: Tensor, resolution: int, cascades: int, jitter: Tensor) -> Tensor:
    """Where to look for the density of a cell: its lower corner plus ``jitter`` of its side, in box coordinates.

    cell_index [N] int64 in [0, C G³); jitter [N, 3] in [0, 1), 0.5 for the centre. Returns [N, 3] of jitter's dtype.

    >>> cell_points(torch.tensor([1]), resolution=4, cascades=1, jitter=torch.full((1, 3), 0.5))
    tensor([[0.3750, 0.1250, 0.1250]])
    """
    dims: dict[str, int] = {}
    cell_index = check("cell_index", cell_index, "N", dims)
    jitter = check("jitter", jitter, "N 3", dims)
    cell = torch.stack([cell_index // resolution**d % resolution for d in range(3)], 1)
    side = jitter.new_tensor([2.0 ** (c - (cascades - 1)) for c in range(cascades)])
    return 0.5 + ((cell + jitter) / resolution - 0.5) * side[cell_index // resolution**3, None]
