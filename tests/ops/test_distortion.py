"""Distortion: worked example · backend = all pairs · gradcheck · properties · edges and errors."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerfcore.ops.distortion import distortion, distortion_reference
from nerfcore.testing import assert_matches
from nerfcore.types import Samples


def packed(counts, seed=0, dtype=torch.float32):
    """Random weights, and intervals with gaps in order, of rays with the given numbers of samples."""
    g = torch.Generator().manual_seed(seed)
    offsets = torch.tensor([0, *counts]).cumsum(0)
    edges = torch.cat(
        [torch.rand(2 * c, generator=g, dtype=torch.float64).sort().values.view(-1, 2) for c in counts if c]
        or [torch.zeros(0, 2)]
    ).to(dtype)
    weights = torch.rand(int(offsets[-1]), generator=g, dtype=torch.float64).to(dtype) ** 4
    return weights, Samples(edges[:, 0].clone(), edges[:, 1].clone(), offsets)


def to(samples, device, dtype=torch.float32):
    return Samples(samples.t_start.to(device, dtype), samples.t_end.to(device, dtype), samples.ray_offsets.to(device))


def test_a_uniform_weight_has_the_closed_form(backend, device):
    """Two points drawn uniformly from an interval are a third of its length apart, however it is cut."""
    edges = torch.linspace(0, 1, 51, dtype=torch.float64) ** 1.7 * 0.6
    samples = to(Samples(edges[:-1], edges[1:], torch.tensor([0, 50])), device)
    weights = (samples.t_end - samples.t_start) / 0.6
    assert distortion(weights, samples, backend=backend).item() == pytest.approx(0.2, rel=1e-5)


@pytest.mark.parametrize("counts", [[5], [0, 3, 0, 40, 1], [7] * 50, [31, 32, 33, 200]])
def test_matches_reference(backend, device, counts):
    weights, samples = packed(counts)
    cotangent = torch.rand(len(counts), generator=torch.Generator().manual_seed(9))

    def run(dtype, function, device="cpu"):
        w = weights.to(device, dtype).requires_grad_()
        out = function(w, to(samples, device, dtype))
        return out, *torch.autograd.grad((out * cotangent.to(out)).sum(), w)

    found = run(torch.float32, lambda *a: distortion(*a, backend=backend), device)
    yardstick, truth = run(torch.float32, distortion_reference), run(torch.float64, distortion_reference)
    for name, f, y, t in zip(("distortion", "grad_weights"), found, yardstick, truth, strict=True):
        assert_matches(f, y, t, what=name)


def test_gradcheck(kernel_backend):
    weights, samples = packed([4, 0, 6], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda w: distortion(w, samples, backend=kernel_backend), weights.requires_grad_())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=6), st.integers(0, 99), st.floats(0.1, 10), st.floats(-5, 5))
def test_it_scales_with_lengths_and_with_the_square_of_weights(counts, seed, factor, shift):
    weights, samples = packed(counts, seed, torch.float64)
    moved = Samples(factor * samples.t_start + shift, factor * samples.t_end + shift, samples.ray_offsets)
    once = distortion(weights, samples)
    assert torch.allclose(distortion(3 * weights, moved), 9 * factor * once) and (once >= 0).all()


def test_weights_closer_together_have_less(backend, device):
    start = torch.tensor([0.0, 0.1, 0.5], device=device)
    samples = Samples(start, start + 0.1, torch.tensor([0, 3], device=device))
    near, far = (distortion(torch.tensor(w, device=device), samples, backend=backend)
                 for w in ([0.5, 0.5, 0.0], [0.5, 0.0, 0.5]))
    assert near.item() < far.item()


def test_any_number_of_threads_gives_the_same_bits(kernel_backend):
    weights, samples = packed([7, 0, 33, 16] * 60)
    threads, found = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            w = weights.clone().requires_grad_()
            out = distortion(w, samples, backend=kernel_backend)
            found.append((out, *torch.autograd.grad(out.sin().sum(), w)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("rays", [0, 3])
def test_no_samples(backend, device, rays):
    empty = torch.zeros(0, device=device, requires_grad=True)
    samples = Samples(empty, empty, torch.zeros(rays + 1, dtype=torch.int64, device=device))
    out = distortion(empty, samples, backend=backend)
    assert out.tolist() == [0.0] * rays
    assert torch.autograd.grad(out.sum(), empty)[0].shape == (0,)


def test_samples_of_no_ray_count_for_nothing(backend, device):
    weights, samples = packed([5, 0, 40])
    more = [torch.cat([x, torch.full((7,), math.nan)]) for x in (weights, samples.t_start, samples.t_end)]
    w = more[0].to(device).requires_grad_()
    out = distortion(w, to(Samples(*more[1:], samples.ray_offsets), device), backend=backend)
    assert torch.equal(out, distortion(weights.to(device), to(samples, device), backend=backend))
    assert not torch.autograd.grad(out.sum(), w)[0][-7:].any()


def test_nan_stays_on_its_ray(backend, device):
    weights, samples = packed([2, 2])
    weights[0] = math.nan
    found = distortion(weights.to(device), to(samples, device), backend=backend)
    assert found.isnan().tolist() == [True, False]


def test_errors_in_words():
    weights, samples = packed([2])
    with pytest.raises(ValueError, match=r"samples.t_start must have shape \[S=3\], got \[2\]"):
        distortion(torch.zeros(3), samples)
    with pytest.raises(ValueError, match="samples.t_start must be torch.float64"):
        distortion(weights.double(), samples)
    with pytest.raises(ValueError, match="samples.ray_offsets must be int64"):
        distortion(weights, Samples(samples.t_start, samples.t_end, samples.ray_offsets.int()))


def test_a_second_derivative_is_refused(kernel_backend):
    weights, samples = packed([3])
    out = distortion(weights.requires_grad_(), samples, backend=kernel_backend)
    (first,) = torch.autograd.grad(out.square().sum(), weights, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
