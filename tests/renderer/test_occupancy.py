"""OccupancyGrid: look-up · what cameras exclude · settling on the truth · bad densities · hidden space."""

import math

import pytest
import torch

from nerfcore.ops.occupancy import occupancy_pack
from nerfcore.renderer.occupancy import OccupancyGrid
from nerfcore.renderer.volume import Marching
from nerfcore.types import Samples

G = 16


def new_grid(cascades=1, backend="auto") -> OccupancyGrid:
    return OccupancyGrid(G, cascades, Marching.for_cascades(cascades).step, backend=backend)


def centres(cascades: int) -> torch.Tensor:
    """[C G³, 3]: the middle of every cell, x fastest."""
    axis = (torch.arange(G) + 0.5) / G - 0.5
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    cube = torch.stack((x, y, z), -1).reshape(-1, 3)
    return torch.cat([0.5 + cube / 2 ** (cascades - 1 - c) for c in range(cascades)])


def occupied_cells(grid: OccupancyGrid) -> torch.Tensor:
    """[C G³] bool, from the bits, one at a time."""
    return torch.tensor([bool(byte >> k & 1) for byte in grid.bits.tolist() for k in range(8)])


@pytest.mark.parametrize("cascades", [1, 3])
def test_occupied_reads_the_bit_of_the_smallest_cascade_that_holds_the_point(cascades):
    grid, generator = new_grid(cascades), torch.Generator().manual_seed(0)
    grid.bits = torch.randint(256, grid.bits.shape, generator=generator, dtype=torch.uint8)
    x = 0.5 + (torch.rand(500, 3, generator=generator) - 0.5) * 2.0 ** -torch.randint(4, (500, 1), generator=generator)
    expected = []
    for point in x.tolist():
        for c in range(cascades):
            side = 0.5 ** (cascades - 1 - c)
            cell = [math.floor((p - 0.5 + side / 2) / side * G) for p in point]
            if all(0 <= k < G for k in cell):
                break
        bit = ((c * G + cell[2]) * G + cell[1]) * G + cell[0]
        expected.append(bool(int(grid.bits[bit // 8]) >> bit % 8 & 1))
    assert grid.occupied(x).tolist() == expected and 100 < sum(expected) < 400


def test_starts_occupied_everywhere_and_the_border_belongs_to_the_box():
    grid = new_grid(3)
    assert grid.occupied_share == 1
    corners = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, 0.5, 0.5], [0.25, 0.75, 0.5]])
    assert grid.occupied(corners).all()


@pytest.mark.parametrize("cascades", [1, 3])
def test_excluded_blocks_stay_empty_whatever_is_dense(cascades):
    grid, asked = new_grid(cascades), []

    def visible(points, radius):
        asked.append(radius)
        return points[:, 0] > 0.5

    grid.exclude(visible)
    block = 4 / G
    assert asked == pytest.approx([3**0.5 / 2 * block / 2 ** (cascades - 1 - c) for c in range(cascades)])
    right = centres(cascades)[:, 0] > 0.5
    assert torch.equal(occupied_cells(grid), right)
    for seed, settle in enumerate((True, True, False)):
        grid.update(lambda x: torch.full_like(x[:, 0], 1e3), len(grid.density), seed, settle)
    grid.forget_hidden()
    grid.update(lambda x: torch.full_like(x[:, 0], 1e3), len(grid.density), 3)
    assert not occupied_cells(grid)[~right].any() and (grid.density[~right] == -1).all()


@pytest.mark.parametrize("cascades", [1, 3])
def test_updates_settle_on_the_truth(backend, device, cascades):
    """A ball of density 100 in nothing: all cells inside are occupied, all cells well outside are not."""
    if device.type != "cpu":
        pytest.skip("the grid's own device is tested on the CPU")
    grid, radius = new_grid(cascades, backend), 0.2
    ball = lambda x: 100.0 * ((x - 0.5).norm(dim=-1) < radius)  # noqa: E731
    for step in range(60):
        grid.update(ball, len(grid.density) // 2, 7919 * step, settle=step < 30)
    x = centres(cascades)
    half_diagonal = (
        3**0.5 / 2 / G * torch.tensor([0.5 ** (cascades - 1 - c) for c in range(cascades)]).repeat_interleave(G**3)
    )
    distance, cells = (x - 0.5).norm(dim=-1), occupied_cells(grid)
    inside, outside = distance + half_diagonal < radius, distance - half_diagonal > radius
    assert inside.any() and cells[inside].all() and not cells[outside].any()
    assert grid.occupied_share == pytest.approx(cells.float().mean().item())


def test_one_sweep_visits_every_cell_once():
    grid, visited = new_grid(), []
    density = lambda x: visited.append((x * G).long()) or x[:, 0]  # noqa: E731
    for _ in range(4):
        grid.update(density, G**3 // 4, 3, settle=True)
    cell = torch.cat(visited)
    index = (cell[:, 2] * G + cell[:, 1]) * G + cell[:, 0]
    assert torch.equal(index.sort().values, torch.arange(G**3))


def test_non_finite_densities_never_enter(backend, device):
    if device.type != "cpu":
        pytest.skip("the grid's own device is tested on the CPU")
    grid = new_grid(backend=backend)
    bad = torch.tensor([float("nan"), float("inf"), -float("inf"), 5.0])
    for seed, settle in enumerate((True, True, False, False)):
        grid.update(lambda x: bad[torch.arange(len(x)) % 4], G**3, seed, settle)
    assert torch.isfinite(grid.density).all() and math.isfinite(grid.threshold) and grid.density.max() == 5


@pytest.mark.parametrize("cascades", [1, 3])
def test_blocks_that_no_light_reached_are_forgotten(cascades):
    grid = new_grid(cascades)
    x = torch.tensor([[0.51, 0.52, 0.53], [0.05, 0.95, 0.3]])
    lit = Samples(torch.zeros(2), torch.full((2,), 1e-6), torch.arange(3))
    grid.see(x, torch.tensor([[1.0, 0, 0]] * 2), lit, torch.zeros(2))
    grid.forget_hidden()
    expected, centre = torch.zeros(len(grid.density), dtype=torch.bool), centres(cascades)
    for c in range(cascades):
        side = 0.5 ** (cascades - 1 - c)
        block = lambda p, s=side: ((p - 0.5) / s + 0.5).mul(G // 4).floor()  # noqa: E731
        own = slice(c * G**3, (c + 1) * G**3)
        for point in x:
            if (point - 0.5).abs().max() < side / 2:
                expected[own] |= (block(centre[own]) == block(point)).all(-1)
    assert expected.sum() == 64 * (cascades + 1) and torch.equal(occupied_cells(grid), expected)
    grid.forget_hidden()
    assert not occupied_cells(grid).any()


def test_a_visit_brings_forgotten_space_back():
    grid = new_grid()
    grid.forget_hidden()
    assert grid.occupied_share == 0
    for seed in range(4):
        grid.update(lambda x: torch.full_like(x[:, 0], 50.0), G**3, seed)
    assert grid.occupied_share == 1


def test_packing_is_the_comparison_with_the_threshold(backend, device):
    density = torch.rand(64, generator=torch.Generator().manual_seed(6))
    bits = occupancy_pack(density.to(device), 0.4, backend=backend).tolist()
    assert [bool(bits[i // 8] >> i % 8 & 1) for i in range(64)] == (density > 0.4).tolist()


def test_early_thresholds_are_the_same_for_any_number_of_threads():
    threads, thresholds = torch.get_num_threads(), []
    density = torch.rand(128**3, generator=torch.Generator().manual_seed(0)) ** 4
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            grid = OccupancyGrid(128, 1, Marching.for_cascades(1).step)
            grid.density.copy_(density)
            grid.update(lambda x: torch.zeros(len(x)), 0, 0, settle=True)
            thresholds.append(grid.threshold)
    finally:
        torch.set_num_threads(threads)
    assert 0 < thresholds[0] < 1 and thresholds == thresholds[:1] * 3


@pytest.mark.parametrize("cascades", [1, 3])
def test_updates_that_do_not_wait_are_the_same_where_there_is_room(cascades):
    grids = [OccupancyGrid(G, cascades, Marching.for_cascades(cascades).step, waits=waits) for waits in (True, False)]
    rooms = []

    def shell(x):
        rooms.append(len(x))
        return 40.0 * (((x - 0.5).norm(dim=-1) - 0.3).abs() < 0.1)

    for step in range(20):
        rooms.clear()
        for grid in grids:
            grid.update(shell, len(grid.density) // 2, step, settle=step < 10)
        assert rooms[0] < rooms[1] == len(grids[0].density) // 2 * 9 // 8
        assert torch.equal(grids[0].density, grids[1].density) and torch.equal(grids[0].bits, grids[1].bits)
    assert 0.05 < grids[0].occupied_share < 0.7
