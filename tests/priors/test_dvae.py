"""The discrete VAE: the relaxation and what it becomes when it cools."""

import pytest
import torch

from nerfcore.data.examples import Examples
from nerfcore.priors.base import Batch, Facts, Turn
from nerfcore.priors.dvae import DVAE, FALLS_UNTIL, gumbel_softmax
from nerfcore.priors.training import train_prior


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_largest_weight_is_drawn_by_the_logits():
    """The Gumbel maximum: whatever the temperature, it has the probabilities of the softmax."""
    logits = torch.tensor([0.5, -1.0, 2.0, 0.0])
    for temperature in (0.1, 3.0):
        weights = gumbel_softmax(logits.view(1, 4, 1).expand(2, 4, 20000), temperature, generator())
        assert torch.allclose(weights.sum(1), torch.ones(2, 20000)) and weights.min() >= 0
        share = torch.bincount(weights.argmax(1).flatten(), minlength=4) / 40000
        assert (share - logits.softmax(0)).abs().max() < 4 * 0.5 / 40000**0.5


def test_cold_weights_are_choices_and_hot_ones_are_even():
    logits = torch.randn(1, 5, 1000, generator=generator(1))
    cold, hot = (gumbel_softmax(logits, t, generator()) for t in (1e-3, 1e3))
    assert cold.amax(1).mean() > 0.99 and (hot - 0.2).abs().max() < 0.01
    assert torch.equal(cold.argmax(1), hot.argmax(1))


def test_the_temperature_falls_geometrically():
    torch.manual_seed(0)
    prior = DVAE(Facts((1, 4, 4)), **DVAE.tiny | dict(hot=2.0, cold=0.125))
    assert prior.temperature(0.0) == 2.0 and prior.temperature(FALLS_UNTIL / 2) == pytest.approx(0.5)
    assert prior.temperature(FALLS_UNTIL) == prior.temperature(0.99) == pytest.approx(0.125)


def test_the_divergence_is_from_the_uniform_distribution():
    """Of a code whose probability falls as a Gaussian of the distance does, in the width that the precision says."""
    torch.manual_seed(0)
    prior = DVAE(Facts((1, 4, 4)), **DVAE.tiny)
    pictures = torch.rand(3, 1, 4, 4, generator=generator())
    found = prior.loss("all", Batch(pictures), Turn(0, 0.0, generator()))["divergence"]
    encoded, width = prior.encoder(pictures).movedim(1, -1).unsqueeze(-2), (2 * prior.log_precision.exp()) ** -0.5
    logits = torch.distributions.Normal(prior.codebook.vectors, width).log_prob(encoded).sum(-1)
    uniform = torch.distributions.Categorical(logits=torch.zeros(prior.config["codes"]))
    expected = torch.distributions.kl_divergence(torch.distributions.Categorical(logits=logits), uniform).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


def test_pictures_made_of_choices_are_as_good_as_those_of_mixtures_when_it_has_cooled():
    signs = torch.randint(2, (64, 1, 4, 4), generator=generator()) * 1.6 - 0.8
    pictures = signs.repeat_interleave(2, 2).repeat_interleave(2, 3)
    run = train_prior("dvae", Examples(pictures), steps=600, batch_size=32, codes=8, code_width=8, widths=(16,), learning_rate=1e-2)
    error = (run.prior.reconstruct(pictures) - pictures).square().mean().item()
    assert error < 0.3 * pictures.var() and error < 1.1 * run.history[-1]["mse"]
