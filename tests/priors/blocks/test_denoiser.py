"""Targets, losses and the bound, against the papers' formulas, torch's distributions and a density that is known."""

import math

import pytest
import torch
from torch import distributions, nn

from nerfcore.priors.blocks.denoiser import TARGETS, Denoised, Denoiser, bound, bound_term, over
from nerfcore.priors.blocks.schedule import noise_levels, posterior, scale_of, step_variance


class Known(nn.Module):
    """Says of any picture what it was told, and keeps what it was asked."""

    def __init__(self, output):
        super().__init__()
        self.output, self.asked = output, None

    def forward(self, x, noise, **said):
        self.asked = x, noise, said
        return self.output


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("target", TARGETS)
def test_who_knows_the_target_knows_the_picture(target):
    picture, noise, level = randn(5, 2, 3), randn(5, 2, 3, seed=1), torch.tensor([0.01, 0.3, 1.0, 4.0, 60.0]).double()
    wide = over(level, picture)
    kept = 1 / (1 + wide**2)  # ᾱ
    truth = dict(noise=noise, picture=picture, velocity=kept.sqrt() * noise - (1 - kept).sqrt() * picture)[target]
    network = Known(truth)
    denoiser = Denoiser(network, target)
    denoised = denoiser(picture + wide * noise, level, vector=3)
    assert torch.allclose(denoised.picture, picture, atol=1e-9) and denoised.mix is None
    x, said, more = network.asked
    assert torch.allclose(x, kept.sqrt() * picture + (1 - kept).sqrt() * noise)  # equation 4 of Ho et al.
    assert torch.allclose(said, level.log() / 4) and more == {"vector": 3}
    simple, bound = denoiser.losses(picture, noise, level)
    assert simple.abs().max() < 1e-20 and bound is None
    network.output = truth + 0.1 * torch.arange(5).view(5, 1, 1)
    assert torch.allclose(denoiser.losses(picture, noise, level)[0], (0.1 * torch.arange(5).double()) ** 2)


def test_terms_of_the_bound_are_divergences_of_torch():
    levels = noise_levels("linear", 50)
    picture, x, said = (0.3 * randn(2, 3, 4, seed=i) for i in range(3))
    mix = randn(2, 3, 4, seed=4).sigmoid()
    level, lower = over(levels[30], x), over(levels[29], x)
    mean, variance = posterior(picture, x, level, lower)
    guess, small = posterior(said, x, level, lower)
    learned = (mix * step_variance(level, lower).log() + (1 - mix) * small.log()).exp()
    normal = distributions.Normal
    expected = distributions.kl_divergence(normal(mean, variance.sqrt().expand_as(mean)), normal(guess, learned.sqrt()))
    found = bound_term(Denoised(said, mix), picture, x, level, lower)
    assert torch.allclose(found, expected.sum((1, 2)) / (12 * math.log(2)))


def test_only_the_variance_learns_by_the_bound():
    output = randn(3, 4, 2, 2).requires_grad_()
    denoiser = Denoiser(Known(output), "noise", learns_variance=True)
    levels = noise_levels("cosine", 10)
    index = torch.tensor([0, 4, 9])
    lower = torch.cat((torch.zeros(1).double(), levels))[index]
    simple, term = denoiser.losses(randn(3, 2, 2, 2, seed=1).tanh(), randn(3, 2, 2, 2, seed=2), levels[index], lower)
    (slope,) = torch.autograd.grad(term.sum(), output, retain_graph=True)
    assert slope.isfinite().all() and not slope[:, :2].any() and slope[1:, 2:].all(1).any()
    (slope,) = torch.autograd.grad(simple.sum(), output)
    assert slope[:, :2].any() and not slope[:, 2:].any()


def test_the_bound_is_above_and_near_minus_log_p():
    """Of values from N(0.1, 0.3²), whose exact denoiser and entropy are known; many steps make the gap small, a wrong
    denoiser makes it large."""
    deviation, mean = 0.3, 0.1
    picture = mean + deviation * randn(4, 2, 64, 64)
    picture = (picture.clamp(-1, 1) * 127.5).round() / 127.5
    density = distributions.Normal(mean, deviation).log_prob(picture) + math.log(2 / 255)
    truth = -density.flatten(1).mean(1) / math.log(2)

    def exact(x, level):
        level = over(level, x)
        return Denoised(mean + deviation**2 / (deviation**2 + level**2) * (x - mean))

    def wrong(x, level):
        return Denoised(exact(x, level).picture + 0.1)

    levels = noise_levels("linear", 1000)
    found, worse = (bound(d, picture, levels, torch.Generator().manual_seed(8)) for d in (exact, wrong))
    assert truth.mean() - 0.02 < found.mean() < truth.mean() + 0.1
    assert (worse > found + 0.1).all()


def test_unknown_targets_are_refused():
    with pytest.raises(ValueError, match="noise, picture, velocity"):
        Denoiser(nn.Identity(), "score")
    assert scale_of(torch.tensor(0.0)) == 1
