from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerfcore import _extension
from nerfcore.ops.march import march_rays
from nerfcore.ops.occupancy import (
    SCATTERED,
    cell_points,
    occupancy_choose,
    occupancy_choose_reference,
    occupancy_pack,
    occupancy_pack_reference,
    occupancy_see,
    occupancy_see_reference,
    occupancy_update,
    occupancy_update_reference,
)
from nerfcore.types import Samples


def random_update(seed, num_cells=4096, num_entries=6000, dtype=torch.float32):
    """A grid with some never visible cells; entries with duplicates and, one in ten, a density that is not finite."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.rand(num_cells, generator=generator, dtype=dtype) * 2 - 0.2
    cell = torch.randint(0, num_cells, (num_entries,), generator=generator)
    density = torch.rand(num_entries, generator=generator, dtype=dtype) * 3 - 0.5
    bad = torch.tensor([math.nan, math.inf, -math.inf], dtype=dtype)
    spoilt = torch.rand(num_entries, generator=generator) < 0.1
    density[spoilt] = bad[torch.randint(0, 3, (int(spoilt.sum()),), generator=generator)]
    return grid, cell, density


def updated(grid, cell, density, decay, backend):
    device = "cuda" if backend == "cuda" else "cpu"
    grid = grid.clone().to(device)
    assert occupancy_update(grid, cell.to(device), density.to(device), decay, backend=backend) is None
    return grid.cpu()


# --- worked examples


def test_update_of_four_cells(backend):
    grid = torch.tensor([1.0, 1.0, -1.0, 1.0])
    found = updated(grid, torch.tensor([0, 1, 1, 2]), torch.tensor([0.0, 2.0, 3.0, 9.0]), 0.5, backend)
    assert found.tolist() == [0.5, 3.0, -1.0, 1.0]


def test_pack_of_sixteen_cells(backend, device):
    grid = torch.tensor([0, 2, 0, 3, 1, 0, 0, 0] + [0] * 7 + [5], dtype=torch.float32, device=device)
    assert occupancy_pack(grid, 1.0, backend=backend).tolist() == [0b1010, 0b10000000]


def test_cell_points_of_two_cascades():
    centre = torch.full((2, 3), 0.5)
    points = cell_points(torch.tensor([1, 64 + 16]), resolution=4, cascades=2, jitter=centre)
    assert points.tolist() == [[0.4375, 0.3125, 0.3125], [0.125, 0.125, 0.375]]


def test_light_stops_where_it_is_absorbed(backend, device):
    """Along x through 4 blocks a side: half of the light is left behind the first sample, a tenth behind the third."""
    samples = Samples(*(torch.tensor(t, device=device) for t in ([0.1, 0.3, 0.6, 0.8], [0.2, 0.4, 0.7, 0.9], [0, 4])))
    origin, direction = torch.tensor([[0.0, 0.3, 0.6]], device=device), torch.tensor([[1.0, 0, 0]], device=device)
    weights = torch.tensor([0.5, 0.1, 0.3, 0.1], device=device)
    for darkest, reached in ((0.05, [0, 1, 2, 3]), (0.2, [0, 1, 2]), (0.45, [0, 1]), (0.6, [0])):
        seen = torch.zeros(64, dtype=torch.bool, device=device)
        occupancy_see(seen, origin, direction, samples, weights, 4, 1, darkest, backend)
        assert seen.nonzero().squeeze(1).tolist() == [(2 * 4 + 1) * 4 + x for x in reached]


# --- every backend gives the reference's numbers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("decay", [0.0, 0.95, 1.0])
def test_update_equals_the_reference(backend, dtype, decay):
    grid, cell, density = random_update(seed=1, dtype=dtype)
    expected = grid.clone()
    occupancy_update_reference(expected, cell, density, decay)
    assert torch.equal(updated(grid, cell, density, decay, backend), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pack_equals_the_reference(backend, device, dtype):
    grid, _, _ = random_update(seed=2, dtype=dtype)
    found = occupancy_pack(grid.to(device), 0.7, backend=backend).cpu()
    assert torch.equal(found, occupancy_pack_reference(grid, 0.7))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("resolution, cascades", [(2, 1), (16, 1), (8, 3)])
def test_choice_equals_the_reference(backend, device, dtype, resolution, cascades):
    """Turns that are empty, short, around the end, and everybody's."""
    grid, _, _ = random_update(seed=3, num_cells=cascades * resolution**3, dtype=dtype)
    spans = [(0, 0), (5, 1 << 28), (SCATTERED - 7, 1 << 30), (123, SCATTERED)]
    for swept in spans:
        for drawn in spans:
            options = 0.9, resolution, cascades, swept, drawn, 12345
            cells, points = occupancy_choose(grid.to(device), *options, backend=backend)
            expected_cells, expected_points = occupancy_choose_reference(grid, *options)
            assert torch.equal(cells.cpu(), expected_cells)
            torch.testing.assert_close(points.cpu(), expected_points, rtol=0, atol=2 * torch.finfo(dtype).eps)


def test_choice_with_a_capacity_leaves_out_the_last_or_fills_up(backend, device):
    grid, _, _ = random_update(seed=4, num_cells=16**3, dtype=torch.float32)
    threshold = torch.tensor(0.9, device=device)
    options = threshold, 16, 1, (5, 1 << 28), (77, 1 << 30), 12345
    cells, points = occupancy_choose(grid.to(device), *options, backend=backend)
    for capacity in (0, len(cells) - 1, len(cells), len(cells) + 40):
        some, where = occupancy_choose(grid.to(device), *options, capacity, backend)
        assert some.shape == (capacity,) and where.shape == (capacity, 3)
        assert torch.equal(some[: len(cells)], cells[:capacity]) and torch.equal(where[: len(cells)], points[:capacity])
        assert (some[len(cells) :] == -1).all() and (where[len(cells) :] == 0.5).all()


# --- properties


@pytest.mark.parametrize("cascades", [1, 2])
def test_turns_that_follow_each_other_visit_every_cell_once(backend, device, cascades):
    grid = torch.ones(cascades * 16**3, device=device)
    grid[::7] = -1
    start, visited, length = 99, [], SCATTERED // 5 + 1
    for turn in range(5):
        left = min(length, SCATTERED - turn * length)
        visited.append(occupancy_choose(grid, 0.0, 16, cascades, (start, left), (0, 0), turn, backend=backend)[0])
        start = (start + length) % SCATTERED
        assert len(visited[-1]) == pytest.approx(len(grid) * 6 / 7 / 5, rel=0.1)
    assert torch.equal(torch.cat(visited).sort().values, torch.nonzero(grid > 0).squeeze(1))


def test_drawn_are_the_occupied_of_a_turn(backend, device):
    grid = torch.rand(16**3, generator=torch.Generator().manual_seed(6)).to(device)
    turn = (7, SCATTERED // 3)
    drawn, _ = occupancy_choose(grid, 0.8, 16, 1, (0, 0), turn, 0, backend=backend)
    swept, _ = occupancy_choose(grid, 0.8, 16, 1, turn, (0, 0), 0, backend=backend)
    assert torch.equal(drawn, swept[grid[swept] > 0.8]) and 200 < len(drawn) < 350


def test_chosen_points_fill_their_own_cells(backend, device):
    """Each lies in its cell; over many seeds they have a uniform's mean and variance, and no two axes go together."""
    grid, all_cells, inside = torch.ones(8 * 64, device=device), (0, SCATTERED), []
    for seed in range(64):
        cells, points = occupancy_choose(grid, 0.0, 8, 1, all_cells, (0, 0), seed * 7919, backend=backend)
        corner = torch.stack([cells // 8**d % 8 for d in range(3)], 1)
        inside.append(points * 8 - corner)
    u = torch.cat(inside).cpu()
    assert (u >= 0).all() and (u < 1).all()
    torch.testing.assert_close(u.mean(0), torch.full((3,), 0.5), atol=0.01, rtol=0)
    torch.testing.assert_close(u.T.cov(), torch.eye(3) / 12, atol=0.002, rtol=0)


@given(seed=st.integers(0, 10**6), num_cells=st.integers(1, 40), num_entries=st.integers(0, 100), decay=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_update_is_the_rule_applied_cell_by_cell(seed, num_cells, num_entries, decay):
    grid, cell, density = random_update(seed, num_cells, num_entries, torch.float64)
    backends = ["reference"] + (["cpu"] if _extension.unavailable("cpu") is None else [])
    for backend in backends:
        found = updated(grid, cell, density, decay, backend)
        for i in range(num_cells):
            news = [d for c, d in zip(cell.tolist(), density.tolist(), strict=True) if c == i and math.isfinite(d)]
            old = grid[i].item()
            assert found[i].item() == (max(old * decay, *news) if news and old >= 0 else old)


def test_the_order_and_the_thread_count_change_nothing(backend):
    grid, cell, density = random_update(seed=3, num_cells=512, num_entries=50_000)
    expected = updated(grid, cell, density, 0.9, backend)
    order = torch.randperm(len(cell), generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            assert torch.equal(updated(grid, cell[order], density[order], 0.9, backend), expected)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("cascades", [1, 3])
def test_cell_points_lie_in_the_cell_that_marching_reads(backend, device, cascades):
    """Occupy one cell, march a short step about a point of it: the step is kept, and not with any other cell."""
    generator = torch.Generator().manual_seed(4)
    resolution = 8
    total = cascades * resolution**3
    cell = torch.randint(0, total, (50,), generator=generator)
    point = cell_points(cell, resolution, cascades, torch.rand(50, 3, generator=generator) * 0.9 + 0.05)
    side = 0.5 ** (cascades - 1 - cell // resolution**3)
    inner = ((point - 0.5).abs().amax(1) < side / 4) & (cell >= resolution**3)  # a smaller cascade answers there
    ray = torch.tensor([[1.0, 0.0, 0.0]])
    for i in torch.nonzero(~inner).flatten().tolist():
        grid = torch.zeros(total, device=device)
        grid[cell[i]] = 1
        for flip, count in ((0, 1), (1, 0)):
            bits = occupancy_pack((grid - flip).abs(), 0.5, backend=backend)
            span = torch.tensor([-1e-4]), torch.tensor([1e-4])
            rays = (x.to(device) for x in (point[i : i + 1], ray, *span))
            samples = march_rays(*rays, bits, resolution, cascades, step_min=1e-3, backend=backend)
            assert len(samples) == count


# --- edges and errors


def test_nothing_to_update(backend):
    grid = torch.ones(8)
    assert torch.equal(updated(grid, torch.zeros(0, dtype=torch.int64), torch.zeros(0), 0.5, backend), grid)


def test_a_nan_cell_is_empty_and_an_empty_grid_packs(backend, device):
    assert occupancy_pack(torch.full((8,), math.nan, device=device), 0.0, backend=backend).tolist() == [0]
    assert occupancy_pack(torch.zeros(0, device=device), 0.0, backend=backend).tolist() == []


def test_densities_that_are_not_finite_leave_the_cell_alone(backend):
    grid = torch.tensor([1.0, 1.0, 1.0, 1.0])
    bad = torch.tensor([math.nan, math.inf, -math.inf])
    assert torch.equal(updated(grid, torch.tensor([0, 1, 2]), bad, 0.5, backend), grid)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"density_grid": torch.zeros(8, 2).T[0]}, "contiguous"),
        ({"density_grid": torch.zeros(2, 4)}, r"density_grid must have shape \[cells\]"),
        ({"density": torch.zeros(3)}, r"density must have shape \[N=2\]"),
        ({"density": torch.zeros(2, dtype=torch.float64)}, "density must be torch.float32"),
        ({"cell_index": torch.zeros(2, dtype=torch.int32)}, "cell_index must be int64"),
        ({"cell_index": torch.tensor([0, 8])}, r"cell_index must be -1 or in \[0, 8\)"),
        ({"cell_index": torch.tensor([-2, 0])}, r"cell_index must be -1 or in \[0, 8\)"),
        ({"decay": 1.5}, r"decay must be in \[0, 1\]"),
    ],
)
def test_wrong_updates_are_named(change, message):
    cell_index = torch.zeros(2, dtype=torch.int64)
    arguments = {"density_grid": torch.zeros(8), "cell_index": cell_index, "density": torch.zeros(2)}
    with pytest.raises(ValueError, match=message):
        occupancy_update(**arguments | {"backend": "reference"} | change)


def test_wrong_choices_are_named():
    turn = (0, 10)
    with pytest.raises(ValueError, match="power of two, got 6"):
        occupancy_choose(torch.ones(216), 0.0, 6, 1, turn, turn, 0)
    with pytest.raises(ValueError, match=r"drawn must start in .* got -1, 10"):
        occupancy_choose(torch.ones(64), 0.0, 4, 1, turn, (-1, 10), 0)
    with pytest.raises(ValueError, match=r"density_grid must have shape \[128\]"):
        occupancy_choose(torch.ones(64), 0.0, 4, 2, turn, turn, 0)


def test_wrong_packs_and_points_are_named():
    with pytest.raises(ValueError, match="threshold must be torch.float32"):
        occupancy_pack(torch.zeros(8), torch.zeros((), dtype=torch.float64))
    with pytest.raises(ValueError, match="multiple of 8 cells, got 9"):
        occupancy_pack(torch.zeros(9), 0.0)
    with pytest.raises(ValueError, match=r"jitter must have shape \[N=2, 3\]"):
        cell_points(torch.zeros(2, dtype=torch.int64), 4, 1, torch.zeros(1, 3))


def test_minus_one_names_no_cell(backend, device):
    cell, density = torch.tensor([-1, 2, -1]), torch.tensor([9.0, 3.0, 9.0])
    assert updated(torch.ones(4, device=device), cell, density, 0.5, backend).tolist() == [1.0, 1.0, 3.0, 1.0]


@pytest.mark.parametrize("cascades", [1, 3])
def test_see_matches_reference(backend, device, cascades):
    """Random rays, some samples outside the box; away from the brightness at which light counts as gone."""
    g = torch.Generator().manual_seed(5)
    count = torch.randint(0, 30, (200,), generator=g)
    offsets = torch.nn.functional.pad(count.cumsum(0), (1, 0))
    t_start = torch.rand(int(count.sum()), generator=g)
    samples = Samples(t_start, t_start + 0.01, offsets)
    origin = torch.rand(200, 3, generator=g) * 1.2 - 0.1
    direction = torch.nn.functional.normalize(torch.randn(200, 3, generator=g), dim=-1)
    weights = torch.rand(len(samples), generator=g) * 0.2
    expected, seen = torch.zeros(2, cascades * 8**3, dtype=torch.bool)
    double = [t.double() for t in (origin, direction)], Samples(t_start.double(), samples.t_end.double(), offsets)
    occupancy_see_reference(expected, *double[0], double[1], weights.double(), 8, cascades, 1e-3)
    seen = seen.clone().to(device)
    moved = [t.to(device) for t in (origin, direction)]
    occupancy_see(seen, *moved, samples.to(device), weights.to(device), 8, cascades, backend=backend)
    assert 20 < expected.sum() < expected.numel() and torch.equal(seen.cpu(), expected)


def test_see_errors_in_words():
    empty = Samples(torch.zeros(0), torch.zeros(0), torch.zeros(1, dtype=torch.int64))
    none = torch.zeros(0, 3)
    with pytest.raises(ValueError, match="seen must be contiguous and bool"):
        occupancy_see(torch.zeros(64), none, none, empty, torch.zeros(0), 4, 1)
    with pytest.raises(ValueError, match=r"seen must have shape \[128\], got \[64\]"):
        occupancy_see(torch.zeros(64, dtype=torch.bool), none, none, empty, torch.zeros(0), 4, 2)
    occupancy_see(torch.zeros(64, dtype=torch.bool), none, none, empty, torch.zeros(0), 4, 1)
