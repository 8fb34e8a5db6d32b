"""Likelihoods against torch's distributions and sums over all values; the divergence against an integral."""

import math

import pytest
import torch
from torch import distributions

from nerfcore.priors.blocks.likelihood import Likelihood, gaussian_divergence, level_likelihood


def made(kind, log_scale=-1.3):
    layer = Likelihood(kind).double()
    if layer.log_scale is not None:
        torch.nn.init.constant_(layer.log_scale, log_scale)
    return layer


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("kind, of", [("gaussian", distributions.Normal), ("laplace", distributions.Laplace)])
def test_densities_are_those_of_torch(kind, of):
    output, pictures = randn(3, 2, 4, 5), randn(3, 2, 4, 5, seed=1)
    expected = of(output, math.exp(-1.3)).log_prob(pictures).sum((1, 2, 3))
    assert torch.allclose(made(kind)(output, pictures), expected)


def test_bernoulli_is_that_of_torch():
    output, pictures = randn(3, 1, 6), (randn(3, 1, 6, seed=1) > 0).double() * 2 - 1
    expected = distributions.Bernoulli(logits=output).log_prob((pictures + 1) / 2).sum((1, 2))
    assert torch.allclose(made("bernoulli")(output, pictures), expected)
    assert torch.allclose(made("bernoulli").mean(output), 2 * output.sigmoid() - 1)


@pytest.mark.parametrize("log_scale", [-6.0, -3.0, 0.0])
def test_the_levels_of_the_logistic_have_the_probability_one(log_scale):
    levels = (torch.arange(256).double() / 127.5 - 1)[:, None, None]
    for place in (-1.2, -0.9, 0.013, 1.0):
        found = made("logistic", log_scale)(torch.full_like(levels, place), levels)
        assert found.exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_the_logistic_is_an_integral_of_its_density():
    x = torch.linspace(0.2 - 1 / 255, 0.2 + 1 / 255, 2001).double()
    density = torch.exp(-(x - 0.3) / 0.1) / (0.1 * (1 + torch.exp(-(x - 0.3) / 0.1)) ** 2)
    found = made("logistic", math.log(0.1))(torch.full((1, 1, 1), 0.3).double(), torch.full((1, 1, 1), 0.2).double())
    assert found.exp().item() == pytest.approx(torch.trapezoid(density, x).item(), rel=1e-6)


def test_divergence_of_gaussians_in_closed_form():
    mean, log_deviation = randn(4, 3, 2), 0.5 * randn(4, 3, 2, seed=1)
    own, standard = distributions.Normal(mean, log_deviation.exp()), distributions.Normal(0.0, 1.0)
    expected = distributions.kl_divergence(own, standard).sum((1, 2))
    assert torch.allclose(gaussian_divergence(mean, log_deviation), expected)
    there, wide = randn(4, 3, 2, seed=2), 0.5 * randn(4, 3, 2, seed=3)
    expected = distributions.kl_divergence(own, distributions.Normal(there, wide.exp())).sum((1, 2))
    assert torch.allclose(gaussian_divergence(mean, log_deviation, there, wide), expected)


@pytest.mark.parametrize("log_deviation", [-7.0, -4.0, -1.0])
def test_levels_of_a_gaussian_are_integrals_of_its_density(log_deviation):
    levels = (torch.arange(256).double() / 127.5 - 1)[:, None, None]
    for place in (-1.1, 0.004, 0.7):
        mean = torch.full_like(levels, place)
        found = level_likelihood(levels, mean, torch.tensor(log_deviation).double()).exp()
        assert found.sum().item() == pytest.approx(1, abs=1e-6)
        normal = distributions.Normal(place, math.exp(log_deviation))
        inner = normal.cdf(levels[5, 0, 0] + 1 / 255) - normal.cdf(levels[5, 0, 0] - 1 / 255)
        assert found[5].item() == pytest.approx(max(inner.item(), 1e-12), rel=1e-6)


def test_unknown_likelihoods_are_refused():
    with pytest.raises(ValueError, match="bernoulli, gaussian"):
        Likelihood("poisson")
