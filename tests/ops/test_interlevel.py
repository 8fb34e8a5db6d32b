"""Interlevel loss: worked examples · backend = all pairs · gradcheck · properties · edges and errors."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerfcore.ops.interlevel import interlevel, interlevel_reference
from nerfcore.testing import assert_matches
from nerfcore.types import Samples


def tiling(counts, seed=0, dtype=torch.float32, share=1.0):
    """Weights that sum to ``share`` on each ray, of intervals that tile [0, 1]."""
    g = torch.Generator().manual_seed(seed)
    weights, start, end = [torch.zeros(0)], [torch.zeros(0)], [torch.zeros(0)]
    for n in counts:
        edges = torch.cat([torch.zeros(1), torch.rand(max(n - 1, 0), generator=g).sort().values, torch.ones(1)])
        w = torch.rand(n, generator=g, dtype=torch.float64) ** 6 + 1e-3
        weights.append(share * w / w.sum()), start.append(edges[:n]), end.append(edges[1 : n + 1])
    offsets = torch.tensor([0, *counts]).cumsum(0)
    return torch.cat(weights).to(dtype), Samples(torch.cat(start).to(dtype), torch.cat(end).to(dtype), offsets)


def to(samples, device, dtype=torch.float32):
    return Samples(samples.t_start.to(device, dtype), samples.t_end.to(device, dtype), samples.ray_offsets.to(device))


def loss(fine, coarse, device="cpu", backend="auto"):
    return interlevel(fine[0].to(device), to(fine[1], device), coarse[0].to(device), to(coarse[1], device), backend)


FINE_COARSE = [([5], [3]), ([0, 3, 0, 40, 1], [2, 0, 0, 64, 7]), ([7] * 50, [16] * 50), ([33, 200], [1, 64])]


def test_two_intervals_by_hand(backend, device):
    """[0, 1) is bounded by the first proposal, [1, 2) by both: 1/2 exceeds 1/4, 1/4 does not exceed 1/4 + 1/8."""
    offsets = torch.tensor([0, 2])
    fine = torch.tensor([0.5, 0.25]), Samples(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]), offsets)
    coarse = torch.tensor([0.25, 0.125]), Samples(torch.tensor([0.0, 1.5]), torch.tensor([1.5, 2.0]), offsets)
    assert loss(fine, coarse, device, backend).tolist() == [0.125]


@pytest.mark.parametrize("fine, coarse", FINE_COARSE, ids=str)
def test_matches_reference(backend, device, fine, coarse):
    (weights, samples), (proposed, bins) = tiling(fine), tiling(coarse, seed=1, share=0.5)
    cotangent = torch.rand(len(fine), generator=torch.Generator().manual_seed(9))

    def run(dtype, function, device="cpu"):
        p = proposed.to(device, dtype).requires_grad_()
        out = function(weights.to(device, dtype), to(samples, device, dtype), p, to(bins, device, dtype))
        return out, *torch.autograd.grad((out * cotangent.to(out)).sum(), p)

    found = run(torch.float32, lambda *a: interlevel(*a, backend=backend), device)
    yardstick, truth = run(torch.float32, interlevel_reference), run(torch.float64, interlevel_reference)
    assert truth[0].any()
    for name, f, y, t in zip(("loss", "grad_proposed"), found, yardstick, truth, strict=True):
        assert_matches(f, y, t, what=name)


def test_gradcheck(kernel_backend):
    (weights, samples), (proposed, bins) = tiling([4, 0, 6], 0, torch.float64), tiling([3, 2, 5], 1, torch.float64, 0.4)
    function = lambda p: interlevel(weights, samples, p, bins, backend=kernel_backend)  # noqa: E731
    assert torch.autograd.gradcheck(function, proposed.requires_grad_())


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_a_proposal_that_covers_the_weights_loses_nothing(n, m, seed):
    """As the weights themselves do, and any proposal that has, in each bin, what lies in the intervals it overlaps."""
    fine, (_, bins) = tiling([n], seed, torch.float64), tiling([m], seed + 1, torch.float64)
    weights, samples = fine
    overlap = (bins.t_start[:, None] < samples.t_end) & (samples.t_start < bins.t_end[:, None])
    covering = (overlap * weights).sum(1)
    assert not interlevel(weights, samples, covering, bins).any()
    assert not interlevel(*fine, *fine).any()


def test_no_gradient_goes_to_the_weights(backend, device):
    weights, samples = tiling([6])
    proposed, bins = tiling([4], 1, share=0.1)
    w, p = weights.to(device).requires_grad_(), proposed.to(device).requires_grad_()
    interlevel(w, to(samples, device), p, to(bins, device), backend=backend).sum().backward()
    assert w.grad is None and (p.grad <= 0).all() and p.grad.any()


def test_any_number_of_threads_gives_the_same_bits(kernel_backend):
    (weights, samples), (proposed, bins) = tiling([7, 0, 33, 16] * 60), tiling([9, 5, 16, 0] * 60, 1, share=0.3)
    threads, found = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            p = proposed.clone().requires_grad_()
            out = interlevel(weights, samples, p, bins, backend=kernel_backend)
            found.append((out, *torch.autograd.grad(out.sin().sum(), p)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("rays", [0, 3])
def test_no_samples(backend, device, rays):
    nothing = tiling([0] * rays)
    assert loss(nothing, nothing, device, backend).tolist() == [0.0] * rays
    unexplained = loss(tiling([5] * rays), nothing, device, backend)
    assert unexplained.tolist() == pytest.approx([1.0] * rays)


def test_weights_of_zero_lose_nothing(backend, device):
    fine, coarse = tiling([5]), tiling([3], 1)
    zeros = torch.zeros(5), fine[1]
    nothing = torch.zeros(3, device=device, requires_grad=True)
    lost = interlevel(zeros[0].to(device), to(fine[1], device), nothing, to(coarse[1], device), backend=backend)
    assert lost.tolist() == [0.0] and not torch.autograd.grad(lost.sum(), nothing)[0].any()


def test_samples_of_no_ray_count_for_nothing(backend, device):
    fine, coarse = tiling([5, 0, 40]), tiling([4, 3, 8], 1, share=0.5)

    def longer(weights, samples):
        more = [torch.cat([x, torch.full((7,), math.nan)]) for x in (weights, samples.t_start, samples.t_end)]
        return more[0], Samples(*more[1:], samples.ray_offsets)

    (w, samples), (p, bins) = longer(*fine), longer(*coarse)
    p = p.to(device).requires_grad_()
    found = interlevel(w.to(device), to(samples, device), p, to(bins, device), backend=backend)
    assert torch.equal(found, loss(fine, coarse, device, backend))
    assert not torch.autograd.grad(found.sum(), p)[0][-7:].any()


def test_nan_stays_on_its_ray(kernel_backend):
    fine, coarse = tiling([2, 2]), tiling([2, 2], 1)
    fine[0][0] = math.nan
    assert loss(fine, coarse, backend=kernel_backend).isnan().tolist() == [True, False]


def test_errors_in_words():
    (weights, samples), (proposed, bins) = tiling([2]), tiling([3])
    with pytest.raises(ValueError, match=r"proposed.t_start must have shape \[S=2\], got \[3\]"):
        interlevel(weights, samples, proposed[:2], bins)
    with pytest.raises(ValueError, match="proposed_weights must be torch.float32"):
        interlevel(weights, samples, proposed.double(), bins)
    with pytest.raises(ValueError, match="got 2 rays and 1"):
        interlevel(weights, samples, *tiling([3, 1]))


def test_a_second_derivative_is_refused(kernel_backend):
    fine, (proposed, bins) = tiling([3]), tiling([2], 1, share=0.2)
    out = interlevel(*fine, proposed.requires_grad_(), bins, backend=kernel_backend)
    (first,) = torch.autograd.grad(out.square().sum(), proposed, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
