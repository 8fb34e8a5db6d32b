"""Volume compositing: worked example · backend = reference · gradcheck · properties · edges and errors."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerfcore.ops.composite import composite, composite_reference, fade_gradients
from nerfcore.testing import assert_matches
from nerfcore.types import Samples


def packed(counts, seed=0, dtype=torch.float32, density=20.0):
    """Random samples with the given number on each ray, with gaps between intervals."""
    g = torch.Generator().manual_seed(seed)
    offsets = torch.tensor([0, *counts]).cumsum(0)
    n = int(offsets[-1])
    edges = torch.cat(
        [torch.rand(2 * c, generator=g, dtype=dtype).sort().values.view(-1, 2) for c in counts] or [torch.zeros(0, 2)]
    )
    sigma = torch.rand(n, generator=g, dtype=dtype) ** 4 * density
    return sigma, torch.rand(n, 3, generator=g, dtype=dtype), Samples(edges[:, 0].clone(), edges[:, 1].clone(), offsets)


def to(samples, device, dtype):
    return Samples(samples.t_start.to(device, dtype), samples.t_end.to(device, dtype), samples.ray_offsets.to(device))


def test_constant_slab_has_the_closed_form(backend, device):
    """A slab of density 3 and length 0.8, cut into 64 unequal pieces, absorbs 1 - exp(-2.4)."""
    edges = torch.linspace(0, 1, 65, dtype=torch.float64) ** 1.7 * 0.8
    samples = to(Samples(edges[:-1], edges[1:], torch.tensor([0, 64])), device, torch.float32)
    rgb = torch.full((64, 3), 0.25, device=device)
    color, opacity, distance, weights = composite(
        torch.full((64,), 3.0, device=device), rgb, samples, 0.0, backend=backend
    )
    assert opacity.item() == pytest.approx(1 - math.exp(-2.4), abs=1e-6)
    assert color[0].tolist() == pytest.approx([0.25 * (1 - math.exp(-2.4))] * 3, abs=1e-6)
    exact = 1 / 3 - math.exp(-2.4) * (0.8 + 1 / 3)  # integral of 3 t exp(-3 t)
    assert distance.item() == pytest.approx(exact, abs=2e-4)  # midpoint rule of 64 pieces


@pytest.mark.parametrize("counts", [[5], [0, 3, 0, 40, 1], [7] * 50, [15, 16, 17, 31, 32, 33, 200]])
@pytest.mark.parametrize("density", [20.0, 200.0])  # the rays of the second end before their last sample
def test_matches_reference(backend, device, counts, density):
    sigma, rgb, samples = packed(counts, density=density)
    cotangents = [
        torch.rand(s, generator=torch.Generator().manual_seed(9))
        for s in ((len(counts), 3), (len(counts),), (len(counts),), sigma.shape)
    ]

    def run(dtype, function, device="cpu"):
        s, c = sigma.to(device, dtype).requires_grad_(), rgb.to(device, dtype).requires_grad_()
        out = function(s, c, to(samples, device, dtype))
        grads = torch.autograd.grad(sum((o * w.to(o)).sum() for o, w in zip(out, cotangents, strict=True)), (s, c))
        return [*out, *grads]

    kernel = run(torch.float32, lambda *a: composite(*a, backend=backend), device)
    names = "rgb opacity distance weights grad_sigma grad_rgb".split()
    yardstick, truth = run(torch.float32, composite_reference), run(torch.float64, composite_reference)
    for name, k, y, t in zip(names, kernel, yardstick, truth, strict=True):
        assert_matches(k, y, t, what=name)


def test_gradcheck(kernel_backend):
    sigma, rgb, samples = packed([4, 0, 6], dtype=torch.float64, density=5.0)
    function = lambda s, c: composite(s, c, samples, 0.0, backend=kernel_backend)  # noqa: E731
    assert torch.autograd.gradcheck(function, (sigma.requires_grad_(), rgb.requires_grad_()))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=6), st.integers(0, 99))
def test_weights_and_transmittance_sum_to_one(counts, seed):
    sigma, rgb, samples = packed(counts, seed, torch.float64)
    _, opacity, _, weights = composite(sigma, rgb, samples, 0.0)
    depth = torch.zeros(len(counts), dtype=torch.float64).index_add(
        0, samples.ray_indices, sigma * (samples.t_end - samples.t_start)
    )
    assert torch.allclose(opacity + torch.exp(-depth), torch.ones_like(opacity))
    assert (weights >= 0).all()


def test_splitting_an_interval_changes_nothing(backend, device):
    sigma, rgb, samples = packed([6], seed=3)
    middle = samples.t_mid
    halves = Samples(
        torch.stack((samples.t_start, middle), 1).reshape(-1),
        torch.stack((middle, samples.t_end), 1).reshape(-1),
        torch.tensor([0, 12]),
    )
    whole = composite(sigma.to(device), rgb.to(device), to(samples, device, torch.float32), 0.0, backend=backend)
    split = composite(
        sigma.repeat_interleave(2).to(device),
        rgb.repeat_interleave(2, 0).to(device),
        to(halves, device, torch.float32),
        0.0,
        backend=backend,
    )
    for a, b in zip(whole[:2], split[:2], strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_rays_do_not_touch_each_other(backend, device):
    """Packed rays give what each ray gives alone."""
    counts = [3, 0, 9, 5]
    sigma, rgb, samples = packed(counts, seed=5)
    together = composite(sigma.to(device), rgb.to(device), to(samples, device, torch.float32), backend=backend)
    for r, n in enumerate(counts):
        own = slice(int(samples.ray_offsets[r]), int(samples.ray_offsets[r + 1]))
        alone = Samples(samples.t_start[own], samples.t_end[own], torch.tensor([0, n]))
        color, opacity, *_ = composite(
            sigma[own].to(device), rgb[own].to(device), to(alone, device, torch.float32), backend=backend
        )
        assert torch.allclose(color[0], together[0][r], atol=1e-6) and torch.allclose(
            opacity[0], together[1][r], atol=1e-6
        )


def test_samples_behind_the_end_of_a_ray_weigh_nothing(backend, device):
    sigma = torch.tensor([1e3, 5.0, 5.0], device=device, requires_grad=True)
    samples = to(
        Samples(torch.tensor([0.0, 1, 2]), torch.tensor([1.0, 2, 3]), torch.tensor([0, 3])), device, torch.float32
    )
    _, opacity, _, weights = composite(sigma, torch.ones(3, 3, device=device), samples, 1e-4, backend=backend)
    assert weights.tolist() == [1.0, 0.0, 0.0]
    opacity.sum().backward()
    assert sigma.grad[1:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("end", [1, 2, 15, 16, 17, 40])
def test_a_ray_ends_at_the_same_sample_everywhere(backend, device, dtype, end):
    """Half of the light passes each sample; what lies behind the end is not looked at, in either direction."""
    n = 45
    sigma = torch.full((n,), math.log(2), dtype=dtype)
    rgb = torch.ones(n, 3, dtype=dtype)
    rgb[end:] = math.nan
    t = torch.arange(n + 1, dtype=dtype)
    samples = to(Samples(t[:-1], t[1:], torch.tensor([0, n])), device, dtype)
    sigma, rgb = sigma.to(device).requires_grad_(), rgb.to(device).requires_grad_()
    color, opacity, _, weights = composite(sigma, rgb, samples, 0.75 * 0.5 ** (end - 1), backend=backend)
    assert (weights != 0).tolist() == [i < end for i in range(n)]
    assert opacity.item() == pytest.approx(1 - 0.5**end, abs=1e-6)
    if backend == "reference":  # multiplies the NaNs by zero
        return
    assert color[0].tolist() == pytest.approx([1 - 0.5**end] * 3, abs=1e-6)
    grad_sigma, grad_rgb = torch.autograd.grad(color.sum() + opacity.sum(), (sigma, rgb))
    assert grad_sigma.isfinite().all() and not grad_sigma[end:].any() and not grad_rgb[end:].any()


def test_any_number_of_threads_gives_the_same_bits(kernel_backend):
    sigma, rgb, samples = packed([7, 0, 33, 16] * 60)
    threads, found = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            s, c = sigma.clone().requires_grad_(), rgb.clone().requires_grad_()
            out = composite(s, c, samples, backend=kernel_backend)
            found.append([*out, *torch.autograd.grad(sum(o.sin().sum() for o in out), (s, c))])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("density", [0.0, 1e-8, 1e8])
def test_gradients_are_finite_at_extreme_densities(backend, device, density):
    sigma = torch.full((6,), density, device=device, requires_grad=True)
    _, rgb, samples = packed([4, 2])
    rgb = rgb.to(device).requires_grad_()
    sum(o.sum() for o in composite(sigma, rgb, to(samples, device, torch.float32), backend=backend)).backward()
    assert torch.isfinite(sigma.grad).all() and torch.isfinite(rgb.grad).all()


def test_no_rays_and_no_samples(backend, device):
    empty = torch.zeros(0, device=device)
    for rays in (0, 3):
        offsets = torch.zeros(rays + 1, dtype=torch.int64, device=device)
        color, opacity, distance, weights = composite(
            empty, empty.view(0, 3), Samples(empty, empty, offsets), backend=backend
        )
        assert color.shape == (rays, 3) and not color.any() and not opacity.any() and weights.shape == (0,)


def test_nan_stays_on_its_ray(backend, device):
    sigma, rgb, samples = packed([2, 2])
    sigma[0] = float("nan")
    color, *_ = composite(sigma.to(device), rgb.to(device), to(samples, device, torch.float32), backend=backend)
    assert torch.isnan(color[0]).all() and torch.isfinite(color[1]).all()


@pytest.mark.parametrize("unowned", [1, 33, 1500])
def test_samples_of_no_ray_weigh_nothing_whatever_they_hold(backend, device, unowned):
    sigma, rgb, samples = packed([5, 0, 40])
    more = [torch.cat([x, torch.full((unowned, *x.shape[1:]), math.nan)]) for x in (samples.t_start, samples.t_end)]

    def run(extra, samples):
        s, c = (torch.cat([x, torch.full((extra, *x.shape[1:]), math.nan)]).to(device).requires_grad_() for x in (sigma, rgb))
        out = composite(s, c, to(samples, device, torch.float32), backend=backend)
        return [*out, *torch.autograd.grad(sum(o.sum() for o in out), (s, c))]

    without, found = run(0, samples), run(unowned, Samples(*more, samples.ray_offsets))
    for w, f in zip(without, found, strict=True):
        assert torch.equal(f[: len(w)], w) and not f[len(w) :].any()


def test_errors_in_words():
    sigma, rgb, samples = packed([2])
    with pytest.raises(ValueError, match=r"rgb must have shape \[S=2, 3\], got \[2, 4\]"):
        composite(sigma, torch.zeros(2, 4), samples)
    with pytest.raises(ValueError, match="rgb must be torch.float32"):
        composite(sigma, rgb.double(), samples)
    with pytest.raises(ValueError, match="ray_offsets must be int64"):
        composite(sigma, rgb, Samples(samples.t_start, samples.t_end, samples.ray_offsets.int()))


def test_gradgradcheck(backend, device):
    sigma, rgb, samples = (x.to(device) for x in packed([3, 0, 5], dtype=torch.float64))
    leaves = sigma.requires_grad_(), rgb.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda s, c: composite(s, c, samples, backend=backend), leaves, atol=1e-6)


def test_second_derivatives_of_some_results(kernel_backend):
    """Of opacity alone: colours have none."""
    sigma, rgb, samples = packed([3])
    _, opacity, *_ = composite(sigma.requires_grad_(), rgb.requires_grad_(), samples, backend=kernel_backend)
    (first,) = torch.autograd.grad(opacity.square().sum(), sigma, create_graph=True)
    second, none = torch.autograd.grad(first.sum(), (sigma, rgb), allow_unused=True)
    step = samples.t_end - samples.t_start
    left = torch.exp(-(sigma * step).sum())  # opacity² = (1 - left)²
    expected = 2 * (left * left - (1 - left) * left) * step * step.sum()
    assert (none is None or not none.any()) and torch.allclose(second, expected.detach(), atol=1e-5)


def test_gradients_fade_towards_the_camera():
    """Values stay; gradients are whole beyond the distance, and fall with its square below it."""
    samples = Samples(torch.tensor([0.0, 0.5, 1.5, 4.0]), torch.tensor([1.0, 1.5, 2.5, 5.0]), torch.tensor([0, 4]))
    for shape in ((4,), (4, 3)):
        values = torch.rand(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
        faded = fade_gradients(values, samples, 2.0)
        (gradient,) = torch.autograd.grad(faded.sum(), values)
        assert torch.equal(faded, values) and gradient.view(4, -1)[:, 0].tolist() == [1 / 16, 1 / 4, 1.0, 1.0]
    assert fade_gradients(values, samples, 0.0) is values
