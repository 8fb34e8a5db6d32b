from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerfcore.ops.intersect import intersect_box, intersect_box_reference

INF = float("inf")


def unit_box(dtype=torch.float32, device="cpu"):
    return torch.zeros(3, dtype=dtype, device=device), torch.ones(3, dtype=dtype, device=device)


def random_rays(seed: int, num_rays: int = 300, dtype=torch.float32):
    """Rays from in and around the unit box, half of them aimed at it; one component in ten is zero."""
    generator = torch.Generator().manual_seed(seed)
    origin = torch.rand(num_rays, 3, generator=generator, dtype=dtype) * 3 - 1
    direction = torch.rand(num_rays, 3, generator=generator, dtype=dtype) * 2 - 0.5 - origin
    direction[torch.rand(num_rays, 3, generator=generator) < 0.1] = 0
    direction[~direction.any(-1)] = 1
    return origin, direction


def cast(origin, direction, backend="reference", near=0.0, far=INF):
    """One ray, given as two triples, against the unit box: (t_in, t_out) as floats."""
    device = "cuda" if backend == "cuda" else "cpu"
    rays = torch.tensor([[origin], [direction]], dtype=torch.float32, device=device)
    t_in, t_out = intersect_box(*rays, *unit_box(device=device), near=near, far=far, backend=backend)
    return t_in.item(), t_out.item()


# --- worked example


def test_a_ray_through_a_box_of_other_sides(backend, device):
    box_min, box_max = torch.tensor([0.0, 0.0, 0.0], device=device), torch.tensor([2.0, 4.0, 8.0], device=device)
    origin, direction = torch.tensor([[-1.0, 1.0, 2.0]], device=device), torch.tensor([[0.5, 0.5, 0.5]], device=device)
    t_in, t_out = intersect_box(origin, direction, box_min, box_max, backend=backend)
    assert (t_in.item(), t_out.item()) == (2.0, 6.0)  # x enters at 1 / 0.5 and y and x leave at 3 / 0.5


# --- every backend gives the reference's numbers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("clip", [(0.0, INF), (0.3, 0.9)])
def test_equals_the_reference(backend, device, dtype, clip):
    origin, direction = random_rays(seed=0, num_rays=5000, dtype=dtype)
    box_min, box_max = torch.tensor([[0.1, -0.2, 0.3], [0.9, 0.8, 1.1]], dtype=dtype)
    expected = intersect_box_reference(origin, direction, box_min, box_max, *clip)
    found = intersect_box(*(x.to(device) for x in (origin, direction, box_min, box_max)), *clip, backend=backend)
    hits = (expected[1] > expected[0]).float().mean().item()
    assert 0.2 < hits < 0.8, "the test needs hits and misses"
    # Same bits, not only close: one subtraction and one division a plane, both rounded correctly everywhere.
    assert all(torch.equal(a.cpu(), b) for a, b in zip(found, expected, strict=True))


def test_many_threads_give_the_same_bits():
    rays, before = random_rays(seed=1, num_rays=20000), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            results.append(torch.stack(intersect_box(*rays, *unit_box())))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)


# --- properties


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_ends_lie_on_the_surface_and_the_middle_inside(seed):
    origin, direction = random_rays(seed, dtype=torch.float64)
    t_in, t_out = intersect_box(origin, direction, *unit_box(torch.float64))
    hit = t_out > t_in
    at = lambda t: (origin + t[:, None] * direction)[hit]  # noqa: E731
    to_surface = lambda p: torch.minimum(p.abs(), (1 - p).abs()).amin(-1)  # noqa: E731
    enters = (t_in > 0)[hit]
    assert to_surface(at(t_out)).max() < 1e-9
    assert not enters.any() or to_surface(at(t_in)[enters]).max() < 1e-9
    middle = at((t_in + t_out) / 2)
    assert ((middle >= 0) & (middle <= 1)).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_no_point_of_a_missing_ray_is_inside(seed):
    origin, direction = random_rays(seed)
    t_in, t_out = intersect_box(origin, direction, *unit_box())
    missed = t_out == t_in
    points = origin[missed, None] + torch.linspace(0, 8, 400)[:, None] * direction[missed, None]
    assert not ((points > 1e-4) & (points < 1 - 1e-4)).all(-1).any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), near=st.floats(0, 2, width=32), length=st.floats(0, 2, width=32))
def test_clipping_is_the_cut_with_near_and_far(seed, near, length):
    rays, far = random_rays(seed), near + length
    far = torch.tensor(far).item()
    whole_in, whole_out = intersect_box(*rays, *unit_box(), near=-INF)
    t_in, t_out = intersect_box(*rays, *unit_box(), near=near, far=far)
    cut_in, cut_out = whole_in.clamp(min=near), whole_out.clamp(max=far)
    hit = cut_in < cut_out
    assert torch.equal(t_in, torch.where(hit, cut_in, near))
    assert torch.equal(t_out, torch.where(hit, cut_out, near))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), exponent=st.integers(-8, 8))
def test_a_longer_direction_shortens_t(seed, exponent):
    origin, direction = random_rays(seed)
    plain = torch.stack(intersect_box(origin, direction, *unit_box()))
    scaled = torch.stack(intersect_box(origin, direction * 2.0**exponent, *unit_box()))
    assert torch.equal(scaled * 2.0**exponent, plain)  # exact: powers of two


# --- edges


@pytest.mark.parametrize(
    ("origin", "direction", "expected"),
    [
        ((-1, 0.5, 0.5), (1, 0, 0), (1, 2)),  # along an axis
        ((-1, 0.5, 0.5), (1, -0.0, 0), (1, 2)),  # minus zero is zero
        ((-1, 1.5, 0.5), (1, 0, 0), (0, 0)),  # parallel to a slab, outside it
        ((-1, 1.0, 0.5), (1, 0, 0), (1, 2)),  # sliding on a face counts as inside
        ((2, 0.5, 0.5), (1, 0, 0), (0, 0)),  # the box is behind
        ((0.5, 0.5, 0.5), (0, 0, -1), (0, 0.5)),  # from inside
        ((0.5, 0.5, 0.5), (0, 0, 0), (0, INF)),  # stays inside for ever
        ((1.5, 0.5, 0.5), (0, 0, 0), (0, 0)),  # stays outside for ever
        ((0, 2, 0.5), (1, -1, 0), (0, 0)),  # touches only the edge x = y = 1
        ((math.nan, 0.5, 0.5), (1, 0, 0), (0, 0)),
        ((-1, math.nan, 0.5), (1, 0, 0), (0, 0)),
        ((-1, 0.5, 0.5), (1, math.nan, 0), (0, 0)),
        ((-INF, 0.5, 0.5), (1, 0, 0), (0, 0)),
    ],
)
def test_single_rays(backend, origin, direction, expected):
    assert cast(origin, direction, backend) == expected


@pytest.mark.parametrize(
    ("near", "far", "expected"),
    [
        (0.5, 5, (1, 2)),  # does not matter
        (1.25, 1.75, (1.25, 1.75)),
        (1.25, INF, (1.25, 2)),
        (0, 1.5, (1, 1.5)),
        (0, 1, (0, 0)),  # ends where the box begins
        (2, 3, (2, 2)),  # begins where the box ends: a miss, at near
        (1.75, 1.25, (1.75, 1.75)),  # an empty range hits nothing
        (-5, INF, (1, 2)),
    ],
)
def test_near_and_far(backend, near, far, expected):
    assert cast((-1, 0.5, 0.5), (1, 0, 0), backend, near, far) == expected


def test_no_rays(backend, device):
    empty = torch.empty(0, 3, device=device)
    t_in, t_out = intersect_box(empty, empty, *unit_box(device=device), backend=backend)
    assert t_in.shape == t_out.shape == (0,)


def test_a_flat_box_is_never_hit(backend, device):
    origin, direction = torch.tensor([[[-1.0, 0.5, 0.0]], [[1.0, 0.0, 1e-3]]], device=device)
    flat = torch.tensor([1.0, 1.0, 0.0], device=device)
    t_in, t_out = intersect_box(origin, direction, torch.zeros(3, device=device), flat, backend=backend)
    assert t_in.item() == t_out.item() == 0


def test_strided_arguments_are_welcome(backend, device):
    origin, direction = (x.to(device) for x in random_rays(seed=2))
    expected = intersect_box(origin, direction, *unit_box(device=device), backend=backend)
    across = (origin.T.contiguous().T, direction.T.contiguous().T)
    found = intersect_box(*across, *unit_box(device=device), backend=backend)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_results_carry_no_gradient(backend, device):
    origin, direction = (x.to(device).requires_grad_() for x in random_rays(seed=3))
    assert not any(t.requires_grad for t in intersect_box(origin, direction, *unit_box(device=device), backend=backend))


# --- errors in words


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"origin": torch.zeros(4, 2)}, r"origin must have shape \[R, 3\], got \[4, 2\]"),
        ({"origin": torch.zeros(3)}, r"origin must have shape \[R, 3\], got \[3\]"),
        ({"origin": [[0, 0, 0]]}, r"origin must be a tensor of shape \[R, 3\], got list"),
        ({"direction": torch.zeros(5, 3)}, r"direction must have shape \[R=4, 3\], got \[5, 3\]"),
        ({"direction": torch.zeros(4, 3).double()}, r"direction must be torch.float32 like the other arguments"),
        ({"box_min": torch.zeros(2)}, r"box_min must have shape \[3\], got \[2\]"),
        ({"box_max": torch.zeros(3, device="meta")}, r"box_max must be on cpu like the other arguments, got meta"),
        ({"backend": "gpu"}, r"backend must be one of auto, reference, cpu, cuda, got 'gpu'"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    box_min, box_max = unit_box()
    good = {"origin": torch.zeros(4, 3), "direction": torch.ones(4, 3), "box_min": box_min, "box_max": box_max}
    with pytest.raises(ValueError, match=message):
        intersect_box(**(good | change))
