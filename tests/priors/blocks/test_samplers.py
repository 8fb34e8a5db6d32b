"""Samplers on mixtures of Gaussians, whose pictures at every level are known exactly, and so is where paths end."""

import math

import pytest
import torch

from nerfcore.priors.blocks.denoiser import Denoised
from nerfcore.priors.blocks.guidance import (
    classifier_free,
    clipped,
    dynamically_clipped,
    filled,
    guided,
    score_distillation,
)
from nerfcore.priors.blocks.samplers import SAMPLERS, ancestral, ddim, dpm_solver, heun
from nerfcore.priors.blocks.schedule import noise_levels, power_spaced, spaced

MEANS, DEVIATIONS, SHARES = torch.tensor([-0.6, 0.7]), torch.tensor([0.15, 0.25]), torch.tensor([0.4, 0.6])


def log_densities(x, level):
    """Of each part, with its share, at a level: [..., 2]."""
    variance = DEVIATIONS.to(x) ** 2 + level[..., None] ** 2
    away = x[..., None] - MEANS.to(x)
    return SHARES.to(x).log() - 0.5 * away**2 / variance - 0.5 * (2 * math.pi * variance).log()


def mixture(x, level):
    """The mean picture of a mixture, each value by itself."""
    level = torch.as_tensor(level).to(x).expand(x.shape) if torch.as_tensor(level).ndim == 0 else level.view(-1, 1, 1, 1).to(x).expand(x.shape)
    part = log_densities(x, level).softmax(-1)
    own = DEVIATIONS.to(x) ** 2
    towards = MEANS.to(x) + own / (own + level[..., None] ** 2) * (x[..., None] - MEANS.to(x))
    return Denoised((part * towards).sum(-1))


def gaussian(x, level):
    """Of N(0.3, 0.5²): paths end at mean + deviation (x - mean) / √(deviation² + level²)."""
    return Denoised(0.3 + 0.25 / (0.25 + level**2) * (x - 0.3))


def noise(count, level, seed=0):
    return level * torch.randn(count, 1, 2, 2, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("sampler, order", [(ddim, 1), (heun, 2), (dpm_solver, 2)])
def test_order_of_convergence(sampler, order):
    """Errors of the last but one level, which the closed form gives, halve or quarter as steps double."""
    x, errors = noise(64, 10.0), []
    for count in (20, 40, 80, 160):
        levels = power_spaced(0.1, 10.0, count)[:-1]
        exact = 0.3 + (x - 0.3) * ((0.25 + 0.1**2) / (0.25 + 10.0**2)) ** 0.5
        errors.append((sampler(gaussian, x, levels) - exact).abs().max().item())
    slopes = [math.log2(a / b) for a, b in zip(errors, errors[1:], strict=False)]
    assert slopes[-1] == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_have_the_distribution(name):
    levels = spaced(noise_levels("cosine", 1000), 500) if name == "ancestral" else power_spaced(0.01, 80, 400 if name == "ddim" else 40)
    x = SAMPLERS[name](mixture, noise(10_000, levels[0].item()), levels, torch.Generator().manual_seed(1)).flatten()
    right = x > 0.05
    assert right.double().mean().item() == pytest.approx(0.6, abs=0.02)
    assert x[right].mean().item() == pytest.approx(0.7, abs=0.01) and x[~right].mean().item() == pytest.approx(-0.6, abs=0.01)
    assert x[right].std().item() == pytest.approx(0.25, abs=0.015) and x[~right].std().item() == pytest.approx(0.15, abs=0.015)


def test_the_way_up_and_down_gives_the_picture_again():
    picture = heun(mixture, noise(64, 20.0, seed=3), power_spaced(1e-3, 20.0, 100)[:-1])
    errors = []
    for count in (200, 400):
        levels = power_spaced(1e-3, 20.0, count)[:-1]
        up = ddim(mixture, picture, levels.flip(0))
        assert (up / 20.0).std().item() == pytest.approx(1, abs=0.15)
        errors.append((ddim(mixture, up, levels) - picture).square().mean().sqrt().item())
    assert errors[1] < 0.6 * errors[0] < 0.03
    assert (heun(mixture, heun(mixture, picture, levels.flip(0)), levels) - picture).abs().max() < 0.01


def test_learned_variance_is_between_both():
    """In one step between two levels: the spread of what is drawn."""
    levels, x = torch.tensor([2.0, 1.0]).double(), torch.ones(200_000, 1, 1, 1).double()
    small, large = 1.0 * (4 - 1) / 4, (4 - 1) * (1 + 1) / (1 + 4)
    for mix, expected in ((None, small), (0.0, small), (1.0, large), (0.5, math.sqrt(small * large))):
        def denoise(x, level, mix=mix):
            return Denoised(0 * x, None if mix is None else torch.full_like(x, mix))

        found = ancestral(denoise, x, levels, torch.Generator().manual_seed(0))
        assert found.var().item() == pytest.approx(expected, rel=0.02)
        assert found.mean().item() == pytest.approx(0.25, abs=0.01)


def test_guidance_of_a_classifier_is_bayes_rule():
    """The mixture, guided by the exact probability of its second part, is that part."""
    def log_right(x, level):
        return log_densities(x, level.expand(x.shape)).log_softmax(-1)[..., 1].flatten(1).sum(1)

    def right(x, level):
        return Denoised(0.7 + 0.25**2 / (0.25**2 + level**2) * (x - 0.7))

    x, level = noise(6, 1.0), torch.tensor(0.8).double()
    assert torch.allclose(guided(mixture, log_right, 1.0)(x, level).picture, right(x, level).picture)
    assert torch.allclose(classifier_free(right, mixture, 1.0)(x, level).picture, right(x, level).picture)
    assert torch.allclose(classifier_free(right, mixture, 0.0)(x, level).picture, mixture(x, level).picture)
    away = right(x, level).picture - mixture(x, level).picture
    assert torch.allclose(classifier_free(right, mixture, 3.0)(x, level).picture, mixture(x, level).picture + 3 * away)
    assert torch.allclose(guided(mixture, log_right, 3.0)(x, level).picture, mixture(x, level).picture + 3 * away)


def test_pictures_stay_in_bounds_and_what_is_known_stays():
    x = noise(3, 1.0)
    far = torch.tensor([3.0, 0.5, 1.2]).double().view(3, 1, 1, 1) * torch.tensor([[1.0, -1.0], [0.2, 0.5]]).double()

    def denoise(x, level):
        return Denoised(far, torch.full_like(x, 0.25))

    one = torch.tensor(1.0).double()
    assert torch.equal(clipped(denoise)(x, one).picture, far.clamp(-1, 1))
    dynamic = dynamically_clipped(denoise, 1.0)(x, one)
    assert torch.allclose(dynamic.picture, far / torch.tensor([3.0, 1.0, 1.2]).double().view(3, 1, 1, 1))
    assert torch.equal(dynamic.mix, torch.full_like(x, 0.25))
    mask = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).double()
    made = filled(denoise, -far, mask)(x, one).picture
    assert torch.equal(made[..., 0, 0], far[..., 0, 0]) and torch.equal(made[..., 1, :], -far[..., 1, :])
    levels = power_spaced(0.01, 80, 10)
    drawn = dpm_solver(filled(mixture, -far, mask), noise(3, 80.0), levels)
    assert torch.allclose(drawn[..., 1, :], -far[..., 1, :]) and not torch.allclose(drawn[..., 0, 0], -far[..., 0, 0])


def test_distillation_leads_where_pictures_are_likely():
    """Of a Gaussian the mean over noise of its gradient is known, and is 0 at the mean of the pictures."""
    mean, variance, level = 0.4, 0.25, torch.tensor([0.7], dtype=torch.float64)

    def denoise(x, at):
        share = variance / (variance + at.view(-1, 1) ** 2)
        return Denoised(mean + share * (x - mean))

    for value, count in ((-0.6, 200_000), (mean, 200_000)):
        pictures = torch.full((count, 1), value, dtype=torch.float64, requires_grad=True)
        loss = score_distillation(denoise, pictures, level.expand(count), torch.Generator().manual_seed(0))
        (slope,) = torch.autograd.grad(loss * count, pictures)
        share = variance / (variance + level**2)
        expected = level / (1 + level**2) * (value - mean) * (1 - share)
        error = slope.std() / count**0.5
        assert (slope.mean() - expected).abs() < 4 * error + 1e-12
    assert slope.std() > 0.01  # of single ones it is not 0
