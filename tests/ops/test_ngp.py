"""Fused Instant-NGP step and picture: equal to their parts · rays that end · threads · edges · errors. Gradients are exact products of
the parts, each checked in float64 in its own file; here kernel and reference are compared as wholes."""

import dataclasses

import pytest
import torch

from nerfcore.ops.hash_grid import HashGridLevels
from nerfcore.ops.ngp import NgpNetworks, ngp_loss, ngp_render
from nerfcore.testing import assert_matches
from nerfcore.types import Samples, TouchedGradient

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


def batch(num_rays=70, longest=40, dtype=torch.float32, seed=1):
    """Rays with none to `longest` samples, one with 1500, on which chunks must break."""
    g = torch.Generator().manual_seed(seed)
    count = torch.randint(0, longest, (num_rays,), generator=g)
    if num_rays > 3:
        count[3], count[5] = 1500, 0
    offsets = torch.nn.functional.pad(count.cumsum(0), (1, 0))
    starts = [torch.arange(c) * (0.5 / max(int(c), 1)) for c in count]
    t_start = torch.cat([*starts, torch.zeros(0)])
    samples = Samples(t_start.to(dtype), (t_start + 0.004).to(dtype), offsets)
    origin, direction = 0.3 + 0.4 * torch.rand(num_rays, 3, generator=g), torch.randn(num_rays, 3, generator=g)
    direction = torch.nn.functional.normalize(direction, dim=-1)
    background, truth = torch.rand(2, num_rays, 3, generator=g)
    rays = [t.to(dtype) for t in (origin, direction, background, truth)]
    return rays[0], rays[1], samples, rays[2], rays[3]


def run(shape, opaque, dtype, backend, rays=70):
    nets = networks(shape, opaque, dtype)
    grad_table = TouchedGradient.zeros_like(nets.table)
    loss, weights, density, color = ngp_loss(nets, *batch(rays, dtype=dtype), grad_table, backend=backend)
    named = {f"density[{i}]": g for i, g in enumerate(density)} | {f"color[{i}]": g for i, g in enumerate(color)}
    return dict(loss=loss, weights=weights, table=grad_table.values, **named), grad_table.touched


@pytest.mark.parametrize("opaque", [1.0, 20.0], ids=["fog", "walls"])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_its_parts(kernel_backend, shape, opaque):
    kernel, touched = run(shape, opaque, torch.float32, kernel_backend)
    (yardstick, _), (truth, _) = (run(shape, opaque, t, "reference") for t in (torch.float32, torch.float64))
    # a log density of some tens turns 1e-7 into 1e-5: the yardstick itself is that far off, here and there
    for name, value in kernel.items():
        assert_matches(value, yardstick[name], truth[name], floor=2e-5, what=name)
    ended = (truth["weights"] == 0).float().mean()
    assert opaque == 1 or ended > 0.05
    assert not kernel["table"][touched == 0].any() and kernel["table"][touched == 1].any()


def test_a_hit_by_hand(backend):
    """Zero weights: density exp(0) = 1 and colour sigmoid(0) = 1/2, so rgb = (1 - exp(-dt)) / 2 and so on."""
    if backend == "cuda":
        pytest.skip("the fused step is for the CPU")
    nets = networks()
    for w in [*nets.density, *nets.color]:
        w.zero_()
    samples = Samples(torch.tensor([0.1]), torch.tensor([0.6]), torch.tensor([0, 1, 1]))
    origin, direction = torch.full((2, 3), 0.2), torch.tensor([[1.0, 0, 0]] * 2)
    background, truth = torch.tensor([[0.0] * 3, [1.0] * 3]), torch.tensor([[1.0] * 3, [0.25] * 3])
    gradient = TouchedGradient.zeros_like(nets.table)
    loss, weights, _, _ = ngp_loss(nets, origin, direction, samples, background, truth, gradient, backend=backend)
    opacity = 1 - torch.exp(torch.tensor(-0.5)).item()
    assert weights.item() == pytest.approx(opacity, rel=1e-6)
    assert loss.item() == pytest.approx(((1 - opacity / 2) ** 2 + 0.75**2) / 2, rel=1e-6)


def test_gradients_add_up_in_the_table(kernel_backend):
    nets, gradient = networks(), TouchedGradient.zeros_like(networks().table)
    ngp_loss(nets, *batch(), gradient, backend=kernel_backend)
    once = gradient.values.clone()
    ngp_loss(nets, *batch(), gradient, backend=kernel_backend)
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


@pytest.mark.parametrize("rays", [0, 1, 2])
def test_no_rays_and_no_samples(kernel_backend, rays):
    nets, gradient = networks(), TouchedGradient.zeros_like(networks().table)
    nothing = Samples(torch.zeros(0), torch.zeros(0), torch.zeros(rays + 1, dtype=torch.int64))
    origin, direction, background, truth = torch.rand(4, rays, 3)
    loss, weights, density, color = ngp_loss(
        nets, origin, direction, nothing, background, truth, gradient, backend=kernel_backend
    )
    assert len(weights) == 0 and not gradient.values.any() and not any(g.any() for g in [*density, *color])
    if rays:
        assert loss.item() == pytest.approx(((background - truth) ** 2).mean().item(), rel=1e-6)


def test_a_nan_spoils_its_own_ray_only(kernel_backend):
    """The loss says so, weights of other rays are as without it, and no address goes astray."""
    nets, gradient = networks(), TouchedGradient.zeros_like(networks().table)
    origin, direction, samples, background, truth = batch()
    _, expected, _, _ = ngp_loss(nets, origin, direction, samples, background, truth, gradient, backend=kernel_backend)
    spoilt = origin.clone()
    spoilt[7] = float("nan")
    loss, weights, _, _ = ngp_loss(
        nets, spoilt, direction, samples, background, truth, gradient, backend=kernel_backend
    )
    others = samples.ray_indices != 7
    assert torch.isnan(loss) and torch.equal(weights[others], expected[others])


def view(dtype, resolution=32, cascades=2):
    """Rays from outside and inside, some of which miss, and a grid with holes."""
    g = torch.Generator().manual_seed(5)
    origin = torch.rand(900, 3, generator=g) * 2 - 0.5
    direction = torch.nn.functional.normalize(torch.rand(900, 3, generator=g) - origin, dim=-1)
    bits = torch.randint(0, 256, (cascades * resolution**3 // 8,), generator=g, dtype=torch.uint8)
    bits[torch.rand(len(bits), generator=g) < 0.7] = 0
    return origin.to(dtype), direction.to(dtype), bits, resolution, cascades, 0.004, 1 / 256, 0.05


@pytest.mark.parametrize("shows", [0.0, 0.02])
@pytest.mark.parametrize("opaque", [1.0, 20.0], ids=["fog", "walls"])
@pytest.mark.parametrize("shape", SHAPES)
def test_picture_equals_its_parts(kernel_backend, shape, opaque, shows):
    """Where a weight lies within rounding of ``shows`` the colours may differ by it: those rays are left out."""
    kernel = ngp_render(networks(shape, opaque), *view(torch.float32), shows, backend=kernel_backend)
    yardstick = ngp_render(networks(shape, opaque), *view(torch.float32), shows, backend="reference")
    double = torch.float64
    truth = ngp_render(networks(shape, opaque, double), *view(double), shows, backend="reference")
    agree = ((yardstick[0] - truth[0]).abs() < 1e-3).all(1) & ((kernel[0] - truth[0]).abs() < 1e-3).all(1)
    assert agree.float().mean() > 0.98 and truth[1].max() > (0.9 if opaque > 1 else 0.05)
    for name, k, y, t in zip(("rgb", "opacity", "distance"), kernel, yardstick, truth, strict=True):
        assert_matches(k[agree], y[agree], t[agree], floor=2e-5, what=name)


def test_a_picture_of_nothing(kernel_backend):
    origin, direction, bits, *place = view(torch.float32)
    for rays in (origin[:0], direction[:0], bits), (origin, direction, torch.zeros_like(bits)):
        rgb, opacity, distance = ngp_render(networks(), *rays, *place, backend=kernel_backend)
        assert rgb.shape == rays[0].shape and not rgb.any() and not opacity.any() and not distance.any()
    spoilt = origin.clone()
    spoilt[3] = float("nan")
    picture = ngp_render(networks(), origin, direction, bits, *place, backend=kernel_backend)[0]
    rgb = ngp_render(networks(), spoilt, direction, bits, *place, backend=kernel_backend)[0]
    others = torch.arange(900) != 3
    assert torch.equal(rgb[others], picture[others]) and not rgb[3].any()


def test_errors_in_words():
    nets, gradient = networks(), TouchedGradient.zeros_like(networks().table)
    origin, direction, samples, background, truth = batch()
    with pytest.raises(ValueError, match=r"truth must have shape \[R=70, 3\]"):
        ngp_loss(nets, origin, direction, samples, background, truth[:5], gradient)
    with pytest.raises(ValueError, match="color needs a hidden layer and 3 outputs"):
        flat = dataclasses.replace(nets, color=[torch.zeros(32, 3)])
        ngp_loss(flat, origin, direction, samples, background, truth, gradient)
    with pytest.raises(ValueError, match=r"color\[0\] must have shape \[I=32, O\]"):
        wide = dataclasses.replace(nets, color=[torch.zeros(20, 8), torch.zeros(8, 3)])
        ngp_loss(wide, origin, direction, samples, background, truth, gradient)
    with pytest.raises(ValueError, match="samples must belong to 70 rays"):
        ngp_loss(nets, origin, direction, dataclasses.replace(samples, ray_offsets=torch.tensor([0, 1])), background, truth, gradient)
    with pytest.raises(ValueError, match="grad_table.touched"):
        ngp_loss(nets, origin, direction, samples, background, truth, TouchedGradient(gradient.values, torch.zeros(3)))
