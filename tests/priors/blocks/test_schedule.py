"""Levels and Gaussians against the formulas of the papers, which scale pictures, and against chains that are drawn."""

import math

import pytest
import torch

from nerfcore.priors.blocks.schedule import (
    log_variance,
    noise_levels,
    posterior,
    power_spaced,
    scale_of,
    spaced,
    step_variance,
)


def betas(kind, steps):
    """As the papers write them."""
    if kind == "linear":
        return torch.linspace(1e-4, 0.02, steps).double() * 1000 / steps
    f = [math.cos((t / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(steps + 1)]
    return torch.tensor([min(1 - b / a, 0.999) for a, b in zip(f, f[1:], strict=False)]).double()


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [100, 1000])
def test_levels_are_those_of_the_betas(kind, steps):
    kept = (1 - betas(kind, steps)).cumprod(0)
    levels = noise_levels(kind, steps)
    assert levels.dtype == torch.float64 and (levels.diff() > 0).all()
    assert torch.allclose(scale_of(levels).square(), kept, rtol=2e-5)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_posterior_is_that_of_ho(kind):
    """Equations 6 and 7, and both variances, in their scale."""
    beta, levels = betas(kind, 200), noise_levels(kind, 200)
    kept = (1 - beta).cumprod(0)
    x0, x = torch.tensor(0.3).double(), torch.tensor(-0.8).double()  # x in our scale
    for t in (1, 30, 199):
        before = kept[t - 1]
        mean = before.sqrt() * beta[t] / (1 - kept[t]) * x0
        mean = mean + (1 - beta[t]).sqrt() * (1 - before) / (1 - kept[t]) * (kept[t].sqrt() * x)
        small = (1 - before) / (1 - kept[t]) * beta[t]
        ours, variance = posterior(x0, x, levels[t], levels[t - 1])
        assert (before.sqrt() * ours).item() == pytest.approx(mean.item(), rel=1e-4)
        assert (before * variance).item() == pytest.approx(small.item(), rel=1e-4)
        assert (before * step_variance(levels[t], levels[t - 1])).item() == pytest.approx(beta[t].item(), rel=1e-4)
        for mix, expected in ((0.0, small), (1.0, beta[t]), (0.5, (small * beta[t]).sqrt())):
            found = before * log_variance(torch.tensor(mix), levels[t], levels[t - 1]).exp()
            assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    zero = torch.zeros(()).double()
    for mix in (0.0, 1.0):
        found = log_variance(torch.tensor(mix), levels[0], zero).exp()
        assert found.item() == pytest.approx(beta[0].item(), rel=1e-4)


def test_a_chain_that_is_drawn_has_these_gaussians():
    """Steps of √(1 - β) x + √β noise, as the paper draws them: where they end, and where they came from."""
    generator, beta, levels = torch.Generator().manual_seed(0), betas("linear", 20), noise_levels("linear", 20)
    x0, count = 0.7, 400_000
    x, chain = torch.full((count,), x0).double(), []
    for b in beta[:12]:
        x = (1 - b).sqrt() * x + b.sqrt() * torch.randn(count, generator=generator).double()
        chain.append(x)
    t = 11
    scaled = [x / scale_of(level) for x, level in zip(chain, levels, strict=False)]
    assert scaled[t].mean().item() == pytest.approx(x0, abs=5 * levels[t].item() / count**0.5)
    assert scaled[t].std().item() == pytest.approx(levels[t].item(), rel=0.01)
    near = (scaled[t] - 1.0).abs() < 0.02
    mean, variance = posterior(torch.tensor(x0), torch.tensor(1.0), levels[t], levels[t - 1])
    came = scaled[t - 1][near]
    assert came.mean().item() == pytest.approx(mean.item(), abs=5 * (variance / len(came)).sqrt().item() + 0.005)
    assert came.var().item() == pytest.approx(variance.item(), rel=0.08)


def test_levels_for_samplers_fall_to_0():
    levels = noise_levels("cosine", 100)
    assert torch.equal(spaced(levels, 100), torch.cat((levels.flip(0), torch.zeros(1).double())))
    few = spaced(levels, 7)
    assert len(few) == 8 and few[0] == levels[-1] and few[-1] == 0 and (few.diff() < 0).all()
    powers = power_spaced(0.01, 50, 9)
    assert powers[0].item() == pytest.approx(50) and powers[-2].item() == pytest.approx(0.01) and powers[-1] == 0
    assert torch.allclose((powers[:-1] ** (1 / 7)).diff().diff(), torch.zeros(7).double(), atol=1e-12)


def test_unknown_schedules_are_refused():
    with pytest.raises(ValueError, match="linear, cosine"):
        noise_levels("quadratic")
