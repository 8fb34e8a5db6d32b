"""The VAE: bounds that are ordered by construction, and one against the true likelihood of a linear model."""

import math

import pytest
import torch
from torch import distributions

from nerfcore.priors.base import Batch, Facts, Turn
from nerfcore.priors.vae import VAE


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def made(**config):
    torch.manual_seed(0)
    return VAE(Facts((1, 4, 4)), code=3, **{"widths": (8,), **config}).double()


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "laplace", "logistic"])
def test_no_evidence_bound_is_above_its_importance_weighted_one(likelihood):
    prior, pictures = made(likelihood=likelihood), torch.rand(32, 1, 4, 4, generator=generator()).double() * 2 - 1
    for samples in (1, 7):
        elbo, iwae = prior.bounds(pictures, samples, generator(samples))
        gap = iwae - elbo
        assert gap.min() >= -1e-9 and (gap.max() < 1e-9 if samples == 1 else gap.min() > 0)


def test_the_loss_is_minus_the_elbo_of_bounds_on_average():
    prior, pictures = made(), torch.rand(4, 1, 4, 4, generator=generator()).double() * 2 - 1
    turn = Turn(0, 0.0, generator(1))
    losses = [prior.loss("all", Batch(pictures), turn)["loss"].item() for _ in range(3000)]
    elbo, _ = prior.bounds(pictures, 3000, generator(2))
    doubt = 3 * torch.tensor(losses).std().item() / math.sqrt(3000)
    assert sum(losses) / 3000 == pytest.approx(-elbo.mean().item(), abs=2 * doubt)


def test_bounds_meet_the_likelihood_of_a_linear_model():
    """x = W z + b + noise has a Gaussian likelihood and posterior: many weights reach the first, with an encoder that is
    not the second; the evidence bound falls short by the divergence between the two."""
    prior = made(widths=(), likelihood="gaussian")
    torch.nn.init.constant_(prior.likelihood.log_scale, math.log(0.7))
    encoder, decoder = prior.encoder[1], prior.decoder[0]
    torch.nn.init.normal_(decoder.weight, std=0.4, generator=generator(3))
    x = torch.randn(5, 16, generator=generator(1)).double()
    weight = decoder.weight.detach()
    covariance = weight @ weight.T + 0.49 * torch.eye(16).double()
    truth = distributions.MultivariateNormal(decoder.bias.detach(), covariance).log_prob(x)
    inverse = torch.linalg.inv(torch.eye(3).double() + weight.T @ weight / 0.49)
    posterior = distributions.MultivariateNormal((x - decoder.bias.detach()) @ weight @ inverse / 0.49, inverse)
    with torch.no_grad():  # near to the posterior, so that weights do not vary too much
        encoder.weight[:3], encoder.bias[:3] = inverse @ weight.T / 0.49, 0.1
        encoder.weight[3:], encoder.bias[3:] = 0.0, inverse.diagonal().sqrt().log()
    elbo, iwae = prior.bounds(x.view(5, 1, 4, 4), 20000, generator())
    mean, log_deviation = prior.encode(x.view(5, 1, 4, 4))
    own = distributions.MultivariateNormal(mean, torch.diag_embed((2 * log_deviation).exp()))
    assert (iwae - truth).abs().max() < 0.05
    assert (elbo - (truth - distributions.kl_divergence(own, posterior))).abs().max() < 0.1
    assert (truth - elbo).min() > 0.02


def test_beta_weighs_the_divergence():
    pictures = torch.rand(4, 1, 4, 4, generator=generator()).double() * 2 - 1
    figures = made(beta=4.0).loss("all", Batch(pictures), Turn(0, 0.0, generator()))
    assert figures["loss"].item() == pytest.approx((4 * figures["divergence"] - figures["log_likelihood"]).item())
