"""Fused Instant-NGP step and picture: equal to their parts · rays that end · threads · edges · errors. Gradients are exact products of
the parts, each checked in float64 in its own file; here kernel and reference are compared as wholes."""

import dataclasses

import pytest
import torch
from torch.utils._pytree import tree_leaves

from nerfcore.ops.hash_grid import HashGridLevels
from nerfcore.ops.ngp import NgpNetworks, ngp_density, ngp_loss, ngp_render
from nerfcore.testing import assert_matches
from nerfcore.types import SampleLattice, TouchedGradient

SHAPES = {
    "default": dict(num_levels=8, features=4, hidden=64, sh_degree=4, extra=1),
    "odd": dict(num_levels=5, features=2, hidden=40, sh_degree=3, extra=1),
    "deep": dict(num_levels=3, features=8, hidden=24, sh_degree=1, extra=3),
    "thin": dict(num_levels=7, features=1, hidden=16, sh_degree=2, extra=0),
}


def networks(shape="default", opaque=1.0, dtype=torch.float32) -> NgpNetworks:
    """``opaque`` scales the log density."""
    g = torch.Generator().manual_seed(0)
    s = SHAPES[shape]
    levels = HashGridLevels(3, s["num_levels"], s["features"], 11, 8, 64)

    def matrices(*widths):
        return [torch.randn(i, o, generator=g) * (2 / i) ** 0.5 for i, o in zip(widths, widths[1:], strict=False)]

    table = torch.randn(levels.num_entries, s["features"], generator=g)
    density = matrices(levels.out_features, *[s["hidden"]] * max(s["extra"], 1), 16)
    density[-1][:, 0] *= opaque
    color = matrices(16 + s["sh_degree"] ** 2, *[s["hidden"]] * (1 + s["extra"]), 3)
    cast = [w.to(dtype) for w in density], [w.to(dtype) for w in color]
    return NgpNetworks(levels, table.to(dtype), *cast, s["sh_degree"], 15.0)


def lattice(resolution=32, cascades=2) -> SampleLattice:
    """A grid with holes."""
    g = torch.Generator().manual_seed(5)
    bits = torch.randint(0, 256, (cascades * resolution**3 // 8,), generator=g, dtype=torch.uint8)
    bits[torch.rand(len(bits), generator=g) < 0.7] = 0
    return SampleLattice(bits, resolution, cascades, 0.004, 1 / 256, 0.05)


def batch(num_rays=400, dtype=torch.float32, seed=1):
    """Rays from outside and inside, some of which miss; jitter, background, truth."""
    g = torch.Generator().manual_seed(seed)
    origin = torch.rand(num_rays, 3, generator=g) * 2 - 0.5
    direction = torch.nn.functional.normalize(torch.rand(num_rays, 3, generator=g) - origin, dim=-1)
    background, truth = torch.rand(2, num_rays, 3, generator=g)
    jitter = torch.rand(num_rays, generator=g)
    return [t.to(dtype) for t in (origin, direction, jitter, background, truth)]


def loss_of(nets, rays, gradient, backend, grid=None, **options):
    origin, direction, jitter, background, truth = rays
    grid = lattice() if grid is None else grid
    return ngp_loss(nets, origin, direction, grid, background, truth, gradient, jitter, backend=backend, **options)


def run(shape, opaque, dtype, backend, rays=400, **options):
    nets = networks(shape, opaque, dtype)
    grad_table = TouchedGradient.zeros_like(nets.table)
    loss, samples, weights, gradients = loss_of(nets, batch(rays, dtype), grad_table, backend, **options)
    opacity = weights.new_zeros(rays).index_add(0, samples.ray_indices, weights)
    named = {"background": gradients.background, "truth": gradients.truth}
    for network in ("density", "color"):
        named |= {f"{network}[{i}]": g for i, g in enumerate(getattr(gradients, network))}
    return dict(loss=loss, opacity=opacity, table=grad_table.values, **named), grad_table.touched, samples, weights


@pytest.mark.parametrize("opaque", [1.0, 20.0], ids=["fog", "walls"])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_its_parts(kernel_backend, shape, opaque):
    kernel, touched, _, _ = run(shape, opaque, torch.float32, kernel_backend)
    yardstick, truth = (run(shape, opaque, t, "reference")[0] for t in (torch.float32, torch.float64))
    # a log density of some tens turns 1e-7 into 1e-5: the yardstick itself is that far off, here and there
    for name, value in kernel.items():
        assert_matches(value, yardstick[name], truth[name], floor=2e-5, what=name)
    assert not kernel["table"][touched == 0].any() and kernel["table"][touched == 1].any()


def test_faded_gradients_equal_those_of_the_parts(kernel_backend):
    """Cameras are inside the box: about half of the light is from nearer than where gradients are whole."""
    far = 0.8
    kernel, _, samples, weights = run("odd", 1.0, torch.float32, kernel_backend, full_from=far)
    yardstick, truth = (run("odd", 1.0, t, "reference", full_from=far)[0] for t in (torch.float32, torch.float64))
    assert 0.2 < weights[samples.t_mid < far].sum() / weights.sum() < 0.8
    for name, value in kernel.items():
        assert_matches(value, yardstick[name], truth[name], floor=2e-5, what=name)


@pytest.mark.parametrize("opaque", [1.0, 20.0], ids=["fog", "walls"])
def test_samples_are_those_that_light_reached(kernel_backend, opaque):
    """Of every ray the first ones that marching finds, with the weights of compositing; the rest would weigh nothing."""
    _, _, found, weights = run("default", opaque, torch.float32, kernel_backend)
    _, _, marched, expected = run("default", opaque, torch.float32, "reference")
    counts = found.ray_offsets.diff()
    assert (counts <= marched.ray_offsets.diff()).all() and counts.max() > 20
    row = torch.arange(len(found)) - found.ray_offsets[found.ray_indices] + marched.ray_offsets[found.ray_indices]
    assert torch.equal(found.t_start, marched.t_start[row]) and torch.equal(found.t_end, marched.t_end[row])
    assert torch.allclose(weights, expected[row], atol=1e-4)
    left = torch.ones(len(marched), dtype=torch.bool)
    left[row] = False
    assert (opaque == 1 or left.any()) and expected[left].sum() < 1e-3 * expected.sum()


def test_a_hit_by_hand(backend):
    """Zero weights: density exp(0) = 1 and colour sigmoid(0) = 1/2, along half of the box."""
    if backend == "cuda":
        pytest.skip("the fused step is for the CPU")
    nets = networks()
    for w in [*nets.density, *nets.color]:
        w.zero_()
    full = SampleLattice(torch.full((8,), 255, dtype=torch.uint8), 4, 1, 1 / 64)
    away = torch.tensor([[0.5, 0.5, 0.5], [3.0, 0.5, 0.5]]), torch.tensor([[1.0, 0, 0]] * 2), None
    background, truth = torch.tensor([[0.0] * 3, [1.0] * 3]), torch.tensor([[1.0] * 3, [0.25] * 3])
    gradient = TouchedGradient.zeros_like(nets.table)
    loss, samples, weights, gradients = loss_of(nets, (*away, background, truth), gradient, backend, full)
    opacity = 1 - torch.exp(torch.tensor(-0.5)).item()
    assert samples.ray_offsets.tolist() == [0, 32, 32] and weights.sum().item() == pytest.approx(opacity, rel=1e-6)
    assert loss.item() == pytest.approx(((1 - opacity / 2) ** 2 + 0.75**2) / 2, rel=1e-6)
    of_rendered = torch.tensor([[opacity / 2 - 1] * 3, [0.75] * 3]) / 3
    assert torch.allclose(gradients.truth, -of_rendered)
    assert torch.allclose(gradients.background, torch.tensor([[1 - opacity], [1.0]]) * of_rendered)


def test_gradients_add_up_in_the_table(kernel_backend):
    nets, gradient = networks(), TouchedGradient.zeros_like(networks().table)
    loss_of(nets, batch(), gradient, kernel_backend)
    once = gradient.values.clone()
    loss_of(nets, batch(), gradient, kernel_backend)
    assert torch.allclose(gradient.values, 2 * once, rtol=1e-4, atol=1e-9)


def test_same_bits_for_any_thread_count(kernel_backend):
    threads, results = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            results.append(run("default", 1.0, torch.float32, kernel_backend, rays=900)[0])
    finally:
        torch.set_num_threads(threads)
    for name, value in results[0].items():
        assert torch.equal(value, results[1][name]) and torch.equal(value, results[2][name]), name


@pytest.mark.parametrize("rays_per_chunk", [1, 7, 1000])
def test_chunks_change_nothing_but_roundings(kernel_backend, rays_per_chunk):
    some, _, samples, _ = run("odd", 20.0, torch.float32, kernel_backend, rays_per_chunk=rays_per_chunk)
    usual, _, expected, _ = run("odd", 20.0, torch.float32, kernel_backend)
    assert torch.equal(samples.t_start, expected.t_start) and torch.equal(samples.ray_offsets, expected.ray_offsets)
    for name, value in usual.items():
        assert torch.allclose(some[name], value, rtol=1e-4, atol=1e-6 * value.abs().max().item()), name


@pytest.mark.parametrize("rays", [0, 1, 2])
def test_no_rays_and_no_samples(kernel_backend, rays):
    nets, gradient = networks(), TouchedGradient.zeros_like(networks().table)
    away = torch.full((rays, 3), 5.0), torch.tensor([[1.0, 0, 0]]).expand(rays, 3), torch.rand(rays)
    background, truth = torch.rand(2, rays, 3)
    loss, samples, weights, gradients = loss_of(nets, (*away, background, truth), gradient, kernel_backend)
    assert len(samples) == len(weights) == 0 and len(samples.ray_offsets) == rays + 1
    assert not gradient.values.any() and not any(g.any() for g in [*gradients.density, *gradients.color])
    if rays:
        assert loss.item() == pytest.approx(((background - truth) ** 2).mean().item(), rel=1e-6)


def test_a_ray_that_is_not_finite_has_no_samples(kernel_backend):
    """It counts as a miss: its pixel is the background, and no other ray changes."""
    nets, gradient = networks(), TouchedGradient.zeros_like(networks().table)
    rays = batch()
    _, samples, expected, _ = loss_of(nets, rays, gradient, kernel_backend)
    rays[0] = rays[0].clone()
    rays[0][7] = float("nan")
    loss, spoilt, weights, _ = loss_of(nets, rays, gradient, kernel_backend)
    assert torch.isfinite(loss) and spoilt.ray_offsets.diff()[7] == 0
    assert torch.equal(weights, expected[samples.ray_indices != 7])


def test_a_field_that_is_not_finite_shows_in_the_loss(kernel_backend):
    nets, gradient = networks(), TouchedGradient.zeros_like(networks().table)
    nets.color[0][0, 0] = float("nan")
    assert torch.isnan(loss_of(nets, batch(), gradient, kernel_backend)[0])


@pytest.mark.parametrize("shows", [0.0, 0.02])
@pytest.mark.parametrize("opaque", [1.0, 20.0], ids=["fog", "walls"])
@pytest.mark.parametrize("shape", SHAPES)
def test_picture_equals_its_parts(kernel_backend, shape, opaque, shows):
    """Where a weight lies within rounding of ``shows`` the colours may differ by it: those rays are left out."""

    def picture(dtype, backend):
        rays = batch(900, dtype)[:2]
        return ngp_render(networks(shape, opaque, dtype), *rays, lattice(), shows, backend=backend)

    kernel, yardstick = picture(torch.float32, kernel_backend), picture(torch.float32, "reference")
    truth = picture(torch.float64, "reference")
    agree = ((yardstick[0] - truth[0]).abs() < 1e-3).all(1) & ((kernel[0] - truth[0]).abs() < 1e-3).all(1)
    assert agree.float().mean() > 0.98 and truth[1].max() > (0.9 if opaque > 1 else 0.05)
    for name, k, y, t in zip(("rgb", "opacity", "distance", "median"), kernel, yardstick, truth, strict=True):
        assert_matches(k[agree], y[agree], t[agree], floor=2e-5, what=name)


@pytest.mark.parametrize("shape", SHAPES)
def test_density_equals_its_parts(kernel_backend, shape):
    x = torch.rand(3001, 3, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1

    def density(dtype, backend):
        return ngp_density(networks(shape, 3.0, dtype), x.to(dtype), backend)

    truth = density(torch.float64, "reference")
    assert_matches(density(torch.float32, kernel_backend), density(torch.float32, "reference"), truth)
    assert len(ngp_density(networks(shape), x[:0], kernel_backend)) == 0


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_half_table_is_its_rounded_values(kernel_backend, shape, half):
    """To the bit: what is read differs in storage alone."""
    nets, rays = networks(shape, 3.0), batch(200)
    stored = dataclasses.replace(nets, table=nets.table.to(half))
    rounded = dataclasses.replace(nets, table=stored.table.float())
    gradients = [TouchedGradient.zeros_like(nets.table) for _ in range(2)]
    losses = [loss_of(n, rays, g, kernel_backend) for n, g in zip((stored, rounded), gradients, strict=True)]
    pictures = [ngp_render(n, *rays[:2], lattice(), backend=kernel_backend) for n in (stored, rounded)]
    densities = [ngp_density(n, rays[0], backend=kernel_backend) for n in (stored, rounded)]
    assert torch.equal(losses[0][0], losses[1][0]) and torch.equal(losses[0][2], losses[1][2])
    stored, rounded = (tree_leaves(loss[3]) for loss in losses)
    assert all(torch.equal(a, b) for a, b in zip(stored, rounded, strict=True))
    assert torch.equal(gradients[0].values, gradients[1].values) and gradients[0].values.any()
    assert all(torch.equal(a, b) for a, b in zip(*pictures, strict=True)) and torch.equal(*densities)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
def test_a_half_table_equals_its_parts(kernel_backend, half):
    """Kernel and reference, both reading the same half table."""
    nets, rays = networks("default", 3.0), batch(200)
    nets = dataclasses.replace(nets, table=nets.table.to(half))
    gradients = [TouchedGradient.zeros_like(networks().table) for _ in range(2)]
    kernel, reference = (
        loss_of(nets, rays, g, b) for g, b in zip(gradients, (kernel_backend, "reference"), strict=True)
    )
    truth_nets = dataclasses.replace(networks("default", 3.0, torch.float64), table=nets.table)
    gradients.append(TouchedGradient.zeros_like(truth_nets.table.double()))
    truth = loss_of(truth_nets, batch(200, torch.float64), gradients[2], "reference")
    assert_matches(kernel[0], reference[0], truth[0], floor=2e-5, what="loss")
    assert_matches(*(g.values for g in gradients), floor=2e-5, what="table")


def test_a_picture_of_nothing(kernel_backend):
    (origin, direction), full = batch(900)[:2], lattice()
    empty = dataclasses.replace(full, bits=torch.zeros_like(full.bits))
    for rays in (origin[:0], direction[:0], full), (origin, direction, empty):
        rgb, *of_rays = ngp_render(networks(), *rays, backend=kernel_backend)
        assert rgb.shape == rays[0].shape and not rgb.any() and not any(value.any() for value in of_rays)
    spoilt = origin.clone()
    spoilt[3] = float("nan")
    picture = ngp_render(networks(), origin, direction, full, backend=kernel_backend)[0]
    rgb = ngp_render(networks(), spoilt, direction, full, backend=kernel_backend)[0]
    others = torch.arange(900) != 3
    assert torch.allclose(rgb[others], picture[others], atol=1e-6) and not rgb[3].any()


def test_errors_in_words():
    nets, gradient = networks(), TouchedGradient.zeros_like(networks().table)
    origin, direction, jitter, background, truth = batch(70)
    with pytest.raises(ValueError, match=r"truth must have shape \[R=70, 3\]"):
        ngp_loss(nets, origin, direction, lattice(), background, truth[:5], gradient)
    with pytest.raises(ValueError, match="color needs a hidden layer and 3 outputs"):
        flat = dataclasses.replace(nets, color=[torch.zeros(32, 3)])
        ngp_loss(flat, origin, direction, lattice(), background, truth, gradient)
    with pytest.raises(ValueError, match=r"color\[0\] must have shape \[I=32, O\]"):
        wide = dataclasses.replace(nets, color=[torch.zeros(20, 8), torch.zeros(8, 3)])
        ngp_loss(wide, origin, direction, lattice(), background, truth, gradient)
    with pytest.raises(ValueError, match="grad_table.touched"):
        spoilt = TouchedGradient(gradient.values, torch.zeros(3))
        ngp_loss(nets, origin, direction, lattice(), background, truth, spoilt)
    with pytest.raises(ValueError, match="table must be torch.float32 like density, torch.float16 or torch.bfloat16"):
        ngp_density(dataclasses.replace(nets, table=nets.table.double()), origin)
    with pytest.raises(ValueError, match="rays_per_chunk must be at least 1"):
        ngp_loss(nets, origin, direction, lattice(), background, truth, gradient, rays_per_chunk=0)
    with pytest.raises(ValueError, match=r"bits must be uint8 \[8\] for 1 cascades of 4³ cells"):
        SampleLattice(torch.zeros(9, dtype=torch.uint8), 4, 1, 0.1)
