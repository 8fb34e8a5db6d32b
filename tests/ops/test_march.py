from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerfcore import _extension
from nerfcore.ops.intersect import intersect_box
from nerfcore.ops.march import march_rays, march_rays_reference


def random_case(seed, num_rays=200, resolution=16, cascades=1, filled=0.3, dtype=torch.float32):
    """Rays from in and around the box, one direction component in ten zero, and a random grid with empty stretches."""
    generator = torch.Generator().manual_seed(seed)
    origin = torch.rand(num_rays, 3, generator=generator, dtype=dtype) * 2 - 0.5
    direction = torch.rand(num_rays, 3, generator=generator, dtype=dtype) * 1.4 - 0.2 - origin
    direction[torch.rand(num_rays, 3, generator=generator) < 0.1] = 0
    direction[~direction.any(-1)] = 1
    direction = torch.nn.functional.normalize(direction, dim=-1)
    corners = torch.zeros(3, dtype=dtype), torch.ones(3, dtype=dtype)
    near, far = intersect_box(origin, direction, *corners, backend="reference")
    jitter = torch.rand(num_rays, generator=generator, dtype=dtype)
    num_bytes = cascades * resolution**3 // 8
    bits = torch.randint(0, 256, (num_bytes,), generator=generator, dtype=torch.uint8)
    bits[torch.rand(num_bytes, generator=generator) > filled] = 0
    return origin, direction, near, far, bits, jitter


def march(case, resolution, cascades, step_min, backend, cone_angle=0.0, jittered=True, **options):
    device = "cuda" if backend == "cuda" else "cpu"
    *rays, bits, jitter = (x.to(device) for x in case)
    jitter = jitter if jittered else None
    samples = march_rays(*rays, bits, resolution, cascades, step_min, cone_angle, jitter, backend=backend, **options)
    return samples.to("cpu")


def assert_same(found, expected):
    """The same steps, bit for bit: every backend does the same additions in the same order."""
    assert torch.equal(found.ray_offsets, expected.ray_offsets)
    assert torch.equal(found.t_start, expected.t_start) and torch.equal(found.t_end, expected.t_end)


def grid_of(resolution, *cells):
    """Bits of one cascade with the cells (x, y, z) occupied."""
    bits = torch.zeros(resolution**3 // 8, dtype=torch.uint8)
    for x, y, z in cells:
        i = (z * resolution + y) * resolution + x
        bits[i >> 3] |= 1 << (i & 7)
    return bits


def one_ray(origin, direction, near=0.0, far=1.0, jitter=0.0):
    return (
        torch.tensor([origin]), torch.nn.functional.normalize(torch.tensor([direction]), dim=-1), torch.tensor([near]),
        torch.tensor([far]), torch.tensor([jitter]),
    )


def march_one(ray, bits, resolution, cascades, step_min, backend, **options):
    *rays, jitter = ray
    return march((*rays, bits, jitter), resolution, cascades, step_min, backend, **options)


# --- worked examples


def test_a_ray_through_two_cells_of_eight(backend):
    bits = grid_of(8, (2, 1, 6), (5, 1, 6))
    samples = march_one(one_ray([0.0, 0.2, 0.8], [1.0, 0.0, 0.0]), bits, 8, 1, 0.0625, backend)
    assert samples.t_start.tolist() == [0.25, 0.3125, 0.625, 0.6875]
    assert samples.t_end.tolist() == [0.3125, 0.375, 0.6875, 0.75]
    assert samples.ray_offsets.tolist() == [0, 4]


def test_jitter_shortens_the_first_step_and_far_cuts_the_last(backend):
    full = torch.full((8,), 255, dtype=torch.uint8)
    samples = march_one(one_ray([0.0, 0.5, 0.5], [1.0, 0.0, 0.0], 0.25, 0.75, jitter=0.5), full, 4, 1, 0.25, backend)
    assert samples.t_start.tolist() == [0.25, 0.375, 0.625]
    assert samples.t_end.tolist() == [0.375, 0.625, 0.75]


def test_the_inner_cascade_answers_inside_it_and_the_outer_one_outside(backend):
    """Only the outer cascade is occupied: nothing is found in the middle half, where the inner one answers."""
    bits = torch.cat([torch.zeros(8, dtype=torch.uint8), torch.full((8,), 255, dtype=torch.uint8)])
    samples = march_one(one_ray([0.0, 0.5, 0.5], [1.0, 0.0, 0.0]), bits, 4, 2, 0.125, backend)
    assert samples.t_start.tolist() == [0.0, 0.125, 0.75, 0.875]


def test_steps_longer_than_the_cells_of_a_cascade_use_the_next_one(backend):
    """Cells of the inner cascade have side 1/8; a step of 1/4 asks the outer one, even inside the inner one."""
    bits = torch.cat([torch.zeros(8, dtype=torch.uint8), torch.full((8,), 255, dtype=torch.uint8)])
    samples = march_one(one_ray([0.25, 0.5, 0.5], [1.0, 0.0, 0.0], 0.0, 0.5), bits, 4, 2, 0.25, backend)
    assert samples.t_start.tolist() == [0.0, 0.25]


def test_cone_steps_grow_with_the_distance(backend):
    full = torch.full((2 * 8,), 255, dtype=torch.uint8)
    ray = one_ray([-0.5, 0.5, 0.5], [1.0, 0.0, 0.0], 0.5, 1.5)
    samples = march_one(ray, full, 4, 2, 0.0625, backend, cone_angle=0.25)
    # a quarter of the distance, rounded down to an eighth of a power of two: 0.195 to 0.1875, 0.242 to 0.234, 0.301 to 0.281
    assert samples.t_start.tolist() == [0.5, 0.625, 0.78125, 0.96875, 1.203125, 1.484375]
    assert samples.t_end[-1] == 1.5


# --- every backend keeps the steps that testing each one keeps: skipping loses and adds nothing


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cone_angle", [0.0, 1 / 128, 0.05])
@pytest.mark.parametrize("cascades", [1, 2, 5])
def test_equals_the_reference(backend, dtype, cone_angle, cascades):
    case = random_case(seed=cascades, num_rays=800, cascades=cascades, filled=0.3, dtype=dtype)
    *rays, bits, jitter = case
    step = math.sqrt(3) / 256
    expected = march_rays_reference(*rays, bits, 16, cascades, step, cone_angle, jitter)
    assert len(expected) > 500, "the test needs samples"
    found = march(case, 16, cascades, step, backend, cone_angle)
    assert found.t_start.dtype == dtype
    assert_same(found, expected)


def cpu_or_skip():
    if problem := _extension.unavailable("cpu"):
        pytest.skip(problem)
    return "cpu"


@given(
    seed=st.integers(0, 10**6), log_resolution=st.integers(2, 6), cascades=st.integers(1, 4), step=st.floats(4e-3, 0.2),
    cone_angle=st.sampled_from([0.0, 1 / 256, 0.03, 0.3]), filled=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)
@settings(max_examples=60, deadline=None)
def test_skipping_is_exact(seed, log_resolution, cascades, step, cone_angle, filled):
    resolution = 2**log_resolution
    case = random_case(seed, 40, resolution, cascades, filled)
    *rays, bits, jitter = case
    expected = march_rays_reference(*rays, bits, resolution, cascades, step, cone_angle, jitter)
    assert_same(march(case, resolution, cascades, step, cpu_or_skip(), cone_angle), expected)


@given(seed=st.integers(0, 10**6), cascades=st.integers(1, 3), cone_angle=st.sampled_from([0.0, 0.02]))
@settings(max_examples=30, deadline=None)
def test_skipping_is_exact_on_cell_borders(seed, cascades, cone_angle):
    """Origins on borders of cells, directions along axes and diagonals, steps of whole cells: every tie there is."""
    generator = torch.Generator().manual_seed(seed)
    origin = torch.randint(0, 17, (40, 3), generator=generator) / 16
    direction = torch.randint(-1, 2, (40, 3), generator=generator).float()
    direction[~direction.any(-1)] = 1
    direction = torch.nn.functional.normalize(direction, dim=-1)
    near, far = intersect_box(origin, direction, torch.zeros(3), torch.ones(3), backend="reference")
    bits = random_case(seed, 1, 8, cascades, 0.2)[4]
    case = origin, direction, near, far, bits, torch.zeros(40)
    expected = march_rays_reference(origin, direction, near, far, bits, 8, cascades, 1 / 32, cone_angle)
    assert_same(march(case, 8, cascades, 1 / 32, cpu_or_skip(), cone_angle, jittered=False), expected)


def test_skipping_is_exact_for_cameras_far_away():
    """From 100 box sides away a position is known to 1e-5 only; the exits of cells must allow for it."""
    origin, direction, _, _, bits, jitter = random_case(3, 300, 64, 1, 0.05)
    aim, origin = origin.clamp(0, 1), origin * 100
    direction = torch.nn.functional.normalize(aim - origin, dim=-1)
    near, far = intersect_box(origin, direction, torch.zeros(3), torch.ones(3), backend="reference")
    expected = march_rays_reference(origin, direction, near, far, bits, 64, 1, 3e-3, 0.0, jitter)
    assert len(expected) > 300
    assert_same(march((origin, direction, near, far, bits, jitter), 64, 1, 3e-3, cpu_or_skip()), expected)


# --- properties


@pytest.mark.parametrize("cone_angle", [0.0, 0.01])
def test_a_full_grid_tiles_near_to_far(backend, cone_angle):
    case = random_case(seed=5, cascades=2)
    origin, direction, near, far, bits, jitter = case
    samples = march((*case[:4], torch.full_like(bits, 255), jitter), 16, 2, 0.01, backend, cone_angle)
    first, last = samples.ray_offsets[:-1], samples.ray_offsets[1:]
    hit = last > first
    assert torch.equal(hit, far > near) and 0.2 < hit.float().mean() < 1
    assert torch.equal(samples.t_start[first[hit]], near[hit]) and torch.equal(samples.t_end[last[hit] - 1], far[hit])
    inner = torch.ones(len(samples), dtype=torch.bool)
    inner[first[hit]] = False
    assert torch.equal(samples.t_start[inner], samples.t_end[inner.roll(-1)])
    assert (samples.t_end > samples.t_start).all()


def test_the_thread_count_changes_nothing():
    case = random_case(seed=6, num_rays=1000)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(march(case, 16, 1, 0.01, cpu_or_skip()))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert_same(result, results[0])


def test_the_nearest_samples_are_kept(backend):
    case = random_case(seed=7)
    every, few = march(case, 16, 1, 0.01, backend), march(case, 16, 1, 0.01, backend, max_samples_per_ray=5)
    for r in range(few.num_rays):
        begin, end = every.ray_offsets[r], every.ray_offsets[r + 1]
        kept = few.t_start[few.ray_offsets[r] : few.ray_offsets[r + 1]]
        assert torch.equal(kept, every.t_start[begin : min(end, begin + 5)])
    assert len(few) < len(every)


@pytest.mark.parametrize("capacity", [0, 1, 100, 333, 100_000])
def test_a_capacity_keeps_the_first_rays_that_fit_whole(backend, capacity):
    case = random_case(seed=7)
    every = march(case, 16, 1, 0.01, backend, max_samples_per_ray=9)
    found = march(case, 16, 1, 0.01, backend, max_samples_per_ray=9, capacity=capacity)
    used = max(int(end) for end in every.ray_offsets if end <= capacity)
    assert len(found) == min(capacity, 9 * every.num_rays) and found.found == len(every)
    assert found.ray_offsets.tolist() == every.ray_offsets.clamp(max=used).tolist()
    for t, expected in ((found.t_start, every.t_start), (found.t_end, every.t_end)):
        assert torch.equal(t[:used], expected[:used]) and not t[used:].any()
    owner = torch.repeat_interleave(torch.arange(every.num_rays), found.ray_offsets.diff())
    assert torch.equal(found.ray_indices[:used], owner) and (found.ray_indices[used:] == every.num_rays - 1).all()


def test_no_sample_needs_a_gradient(backend, device):
    *rays, bits, jitter = (x.to(device) for x in random_case(seed=8))
    samples = march_rays(*(x.requires_grad_() for x in rays), bits, 16, 1, 0.05, jitter=jitter, backend=backend)
    assert not samples.t_start.requires_grad and not samples.t_end.requires_grad


# --- edges and errors


def test_no_rays(backend):
    case = random_case(seed=0, num_rays=1)
    none = (*(x[:0] for x in case[:4]), case[4], case[5][:0])
    for capacity in (None, 10):
        samples = march(none, 16, 1, 0.01, backend, capacity=capacity)
        assert len(samples) == 0 and samples.ray_offsets.tolist() == [0]


def test_an_empty_grid_has_no_samples(backend):
    case = random_case(seed=0, filled=0.0)
    samples = march(case, 16, 1, 0.01, backend)
    assert len(samples) == 0 and samples.ray_offsets.tolist() == [0] * 201


def test_rays_that_miss_have_no_samples(backend):
    full = torch.full((8,), 255, dtype=torch.uint8)
    for near, far in ((0.0, 0.0), (1.0, 0.5)):
        assert len(march_one(one_ray([2.0, 2.0, 2.0], [1.0, 0.0, 0.0], near, far), full, 4, 1, 0.1, backend)) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", range(5))
def test_rays_that_are_not_finite_have_no_samples_and_spoil_no_other(backend, bad, where):
    case = list(random_case(seed=9, num_rays=4))
    case[4] = torch.full_like(case[4], 255)
    case[2], case[3] = torch.zeros(4), torch.ones(4)
    clean = march(case, 16, 1, 0.01, backend)
    index = (0, 1, 2, 3, 5)[where]
    case[index] = case[index].clone()
    case[index][1] = bad
    spoilt = march(case, 16, 1, 0.01, backend)
    counts = spoilt.ray_offsets.diff()
    assert counts[1] == 0 and torch.equal(counts[[0, 2, 3]], clean.ray_offsets.diff()[[0, 2, 3]])


def test_a_jitter_that_leaves_nothing_of_the_first_step(backend):
    full = torch.full((8,), 255, dtype=torch.uint8)
    ray = one_ray([-0.5, 0.5, 0.5], [1.0, 0.0, 0.0], 0.5, 1.5, jitter=1 - 2**-24)
    samples = march_one(ray, full, 4, 1, 0.25, backend)
    assert samples.t_start.tolist() == [0.5, 0.75, 1.0, 1.25]


def test_a_step_that_rounding_swallows_ends_the_ray(backend):
    full = torch.full((8,), 255, dtype=torch.uint8)
    ray = one_ray([0.5, 0.5, 0.5], [1.0, 0.0, 0.0], 1e6, 2e6)
    assert len(march_one(ray, full, 4, 1, 1e-3, backend)) == 0


@pytest.mark.parametrize(
    "change, message",
    [
        ({"resolution": 12}, "power of two"),
        ({"cascades": 0}, "at least 1 cascade"),
        ({"step_min": 0.0}, "step_min > 0"),
        ({"step_min": math.nan}, "step_min > 0"),
        ({"cone_angle": -1.0}, "cone_angle >= 0"),
        ({"max_samples_per_ray": 0}, "max_samples_per_ray >= 1"),
        ({"capacity": -1}, "capacity must not be negative"),
        ({"cascades": 2}, r"bits must have shape \[1024\], got \[512\]"),
        ({"near": torch.zeros(3)}, r"near must have shape \[R=200\]"),
        ({"far": torch.zeros(200, dtype=torch.float64)}, "far must be torch.float32"),
        ({"bits": torch.zeros(512)}, "bits must be uint8"),
        ({"jitter": torch.zeros(200, 1)}, r"jitter must have shape \[R=200\]"),
        ({"backend": "gpu"}, "backend must be one of"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    names = ("origin", "direction", "near", "far", "bits", "jitter")
    arguments = dict(zip(names, random_case(seed=0), strict=True)) | {"resolution": 16, "cascades": 1, "step_min": 0.1}
    with pytest.raises(ValueError, match=message):
        march_rays(**arguments | {"backend": "reference"} | change)
