"""Sampling of densities along rays: worked examples · backend = NumPy's inverse · properties · edges and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerfcore.ops.pdf import sample_pdf, sample_pdf_reference
from nerfcore.testing import assert_matches

SHAPES = [(50, 64, 32), (7, 1, 5), (20, 5, 1), (30, 17, 130), (3, 256, 16)]  # rays, bins, samples


def inputs(rays, bins, samples, seed=0, dtype=torch.float32):
    """Uneven borders, weights between 0.05 and 1, a jitter for every sample."""
    g = torch.Generator().manual_seed(seed)
    widths = torch.rand(rays, bins + 1, generator=g, dtype=torch.float64) + 0.1
    weights = 0.05 + 0.95 * torch.rand(rays, bins, generator=g, dtype=torch.float64) ** 3
    jitter = torch.rand(rays, samples, generator=g, dtype=torch.float32)
    return widths.cumsum(1).to(dtype), weights.to(dtype), jitter.to(dtype)


def inverse_cdf(borders, weights, at):
    """The piecewise linear inverse in float64; `at` in [0, 1]."""
    found = []
    for b, w, u in zip(borders.double().numpy(), weights.double().numpy(), at.double().numpy(), strict=True):
        found.append(np.interp(u, np.concatenate([[0], np.cumsum(w / w.sum())]), b))
    return torch.from_numpy(np.stack(found))


# --- worked examples


def test_three_bins_by_hand(backend, device):
    """Shares of four samples: 1, 0 and 3; the middles of the samples lie at 0.5 and 1.5, 2.5, 3.5."""
    borders = torch.tensor([[0.0, 1.0, 5.0, 8.0]], device=device)
    found = sample_pdf(borders, torch.tensor([[2.0, 0.0, 6.0]], device=device), 4, backend=backend)
    assert found[0].tolist() == pytest.approx([0.5, 5.5, 6.5, 7.5], abs=1e-6)


def test_a_uniform_density_gives_evenly_spaced_samples(backend, device):
    borders, _, _ = inputs(4, 33, 1)
    found = sample_pdf(borders.to(device), borders.diff(dim=1).to(device), 50, backend=backend).cpu()
    expected = torch.lerp(borders[:, :1], borders[:, -1:], (torch.arange(50) + 0.5) / 50)
    assert torch.allclose(found, expected, rtol=1e-5)


def test_a_triangular_density_has_the_root_as_its_inverse(backend, device):
    """Density 2 x on [0, 1], in 1000 bins: the inverse of x² is the root."""
    borders = torch.linspace(0, 1, 1001, dtype=torch.float64)[None]
    found = sample_pdf(borders.to(device), borders.square().diff(dim=1).to(device), 64, backend=backend).cpu()
    # a bin of width 1e-3 is a line where the root curves: h² / 8 times 1 / (4 x³) in the variable of the root
    expected = ((torch.arange(64, dtype=torch.float64) + 0.5) / 64).sqrt()
    assert (found[0] - expected).abs().max() < 1e-5


# --- every backend gives the same positions


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["none", "ray", "sample"])
def test_matches_the_inverse_of_the_distribution(backend, device, shape, dtype, kind):
    borders, weights, jitter = inputs(*shape, dtype=dtype)
    jitter = {"none": None, "ray": jitter[:, 0].contiguous(), "sample": jitter}[kind]
    offset = torch.full((shape[0], 1), 0.5) if jitter is None else jitter.view(shape[0], -1)
    truth = inverse_cdf(borders, weights, (torch.arange(shape[2]) + offset.double()) / shape[2])
    yardstick = sample_pdf_reference(borders, weights, shape[2], jitter)
    moved = [None if t is None else t.to(device) for t in (borders, weights, jitter)]
    found = sample_pdf(moved[0], moved[1], shape[2], moved[2], backend=backend)
    assert found.dtype == dtype
    assert_matches(found, yardstick, truth, floor=1e-6 if dtype == torch.float32 else 1e-14)


@pytest.mark.parametrize("floor", [1e-5, 0.3])
def test_the_floor_is_added_to_every_weight(backend, device, floor):
    borders, weights, _ = inputs(9, 20, 1)
    weights[:, 5:9] = 0
    found = sample_pdf(borders.to(device), weights.to(device), 64, floor=floor, backend=backend).cpu()
    expected = sample_pdf_reference(borders.double(), weights.double() + floor, 64)
    # where the density is 3e-5 of its mean, an edge's rounding by 1e-6 of a sample is 3e-2 of the way
    tolerance = 1e-5 if floor == 0.3 else 0.2
    assert (found - expected).abs().max() < tolerance


# --- properties


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.0, 1e-30, 1e-4, 0.5, 1.0, 1e30]), min_size=1, max_size=40),
    st.integers(1, 70), st.integers(0, 99), st.sampled_from([torch.float32, torch.float64]),
)
def test_positions_ascend_within_bins_that_weigh_something(weights, samples, seed, dtype):
    borders, _, jitter = inputs(1, len(weights), samples, seed, dtype)
    weights = torch.tensor([weights], dtype=dtype)
    for found in (sample_pdf(borders, weights, samples, jitter), sample_pdf_reference(borders, weights, samples, jitter)):
        assert (found.diff(dim=1) >= 0).all()
        lower, upper = borders[:, :-1, None], borders[:, 1:, None]
        inside = (lower <= found[:, None]) & (found[:, None] <= upper) & ((weights > 0) | ~weights.any())[..., None]
        assert inside.any(1).all()


def test_bins_hold_samples_in_proportion_to_their_weights(backend, device):
    """Stratified samples fall into a bin as often as its weight says, to within one sample a ray."""
    borders, weights, jitter = inputs(40, 16, 500)
    found = sample_pdf(*(t.to(device) for t in (borders, weights)), 500, jitter.to(device), backend=backend).cpu()
    counts = torch.stack([(found < edge[:, None]).sum(1) for edge in borders[:, 1:].unbind(1)], 1)
    share = 500 * (weights / weights.sum(1, keepdim=True)).cumsum(1)
    assert (counts - share).abs().max() <= 1.001
    assert (counts.double() - share).mean().abs() < 0.08  # without bias: five deviations


def test_jitter_moves_samples_within_their_strata(backend, device):
    borders, weights, jitter = (t.to(device) for t in inputs(10, 30, 60))
    low, high = (sample_pdf(borders, weights, 60, torch.full_like(jitter, j), backend=backend) for j in (0.0, 0.9999))
    found = sample_pdf(borders, weights, 60, jitter * 0.9999, backend=backend)
    assert (low - 1e-5 <= found).all() and (found <= high + 1e-5).all()


def test_any_number_of_threads_gives_the_same_bits(kernel_backend):
    borders, weights, jitter = inputs(500, 33, 40)
    threads, found = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            found.append(sample_pdf(borders, weights, 40, jitter, backend=kernel_backend))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


# --- edges and errors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_ray_without_weight_is_sampled_uniformly(backend, device, dtype):
    borders = torch.tensor([[1.0, 1.5, 4.0, 5.0], [2.0, 2.0, 2.0, 2.0]], dtype=dtype, device=device)
    found = sample_pdf(borders, torch.zeros(2, 3, dtype=dtype, device=device), 4, backend=backend)
    assert found[0].tolist() == pytest.approx([1.5, 2.5, 3.5, 4.5]) and found[1].tolist() == [2.0] * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("wrong", [math.nan, -1.0, math.inf])
def test_a_wrong_weight_spoils_its_own_ray(backend, device, dtype, wrong):
    borders, weights, _ = inputs(3, 40, 8, dtype=dtype)
    weights[1, 37] = wrong
    found = sample_pdf(borders.to(device), weights.to(device), 8, backend=backend).cpu()
    assert found.isnan().all(1).tolist() == [False, True, False] and found[[0, 2]].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_wrong_border_reads_and_writes_nothing_else(kernel_backend, dtype):
    borders, _, _ = inputs(3, 9, 8, dtype=dtype)
    borders[1, 4] = math.nan
    borders[2] = borders[2].flip(0)
    found = sample_pdf(borders, torch.zeros(3, 9, dtype=dtype), 8, backend=kernel_backend)
    assert found.shape == (3, 8) and found[0].isfinite().all()


def test_weights_of_any_size(backend, device):
    borders, weights, _ = inputs(2, 20, 30)
    expected = sample_pdf_reference(borders, weights, 30)
    for scale in (1e-36, 1e36):
        found = sample_pdf(borders.to(device), (weights * scale).to(device), 30, backend=backend).cpu()
        assert torch.allclose(found, expected, rtol=1e-4)


def test_no_rays(backend, device):
    empty = sample_pdf(torch.zeros(0, 4, device=device), torch.zeros(0, 3, device=device), 5, backend=backend)
    assert empty.shape == (0, 5)


def test_positions_carry_no_gradient(backend, device):
    borders, weights, _ = inputs(2, 5, 1)
    assert not sample_pdf(borders.to(device), weights.to(device).requires_grad_(), 3, backend=backend).requires_grad


def test_errors_in_words():
    borders, weights, jitter = inputs(2, 5, 3)
    with pytest.raises(ValueError, match=r"borders must have shape \[R=2, 6\], got \[2, 5\]"):
        sample_pdf(borders[:, 1:], weights, 3)
    with pytest.raises(ValueError, match=r"jitter must have shape \[R=2, 4\], got \[2, 3\]"):
        sample_pdf(borders, weights, 4, jitter)
    with pytest.raises(ValueError, match="borders must be torch.float32"):
        sample_pdf(borders.double(), weights, 3)
    for bins, samples, floor in ((0, 3, 0.0), (5, 0, 0.0), (5, 3, -1.0), (5, 3, math.nan)):
        with pytest.raises(ValueError, match="at least one bin, num_samples >= 1 and a finite floor >= 0"):
            sample_pdf(borders[:, : bins + 1], weights[:, :bins], samples, floor=floor)
