"""The norm of the Jacobian in closed form, by torch.func and by finite differences; and what its penalty does."""

import pytest
import torch

from nerfcore.data.examples import Examples
from nerfcore.priors.base import Facts
from nerfcore.priors.contractive_ae import ContractiveAutoencoder, jacobian_square
from nerfcore.priors.training import train_prior


def pictures(count=3):
    return torch.randn(count, 1, 3, 4, generator=torch.Generator().manual_seed(0)).double()


def made(**config):
    torch.manual_seed(0)
    return ContractiveAutoencoder(Facts((1, 3, 4)), code=5, **config).double()


@pytest.mark.parametrize("widths", [(), (6,), (7, 6)])
def test_the_norm_is_that_of_finite_differences(widths):
    prior, x, step = made(widths=widths), pictures(), 1e-6
    ways = torch.eye(12).double().view(12, 1, 3, 4) * step
    moved = [(prior.encode(x + way) - prior.encode(x - way)) / (2 * step) for way in ways]
    expected = torch.stack(moved).square().sum((0, 2))
    assert torch.allclose(prior.contraction(x), expected, rtol=1e-7)


def test_the_closed_form_is_what_torch_differentiates():
    """The norm, and its gradient in the weights."""
    prior, x = made(), pictures()
    closed, exact = prior.contraction(x), jacobian_square(prior.encode, x)
    assert torch.allclose(closed, exact, rtol=1e-12)
    weights = list(prior.encoder.parameters())
    for a, b in zip(*(torch.autograd.grad(norm.sum(), weights) for norm in (closed, exact)), strict=True):
        assert torch.allclose(a, b, rtol=1e-10)


@pytest.mark.parametrize("widths", [(), (6,)])
def test_the_penalty_contracts(widths):
    data = pictures(128).float().tanh()
    norms = []
    for weight in (0.0, 10.0):
        config = dict(code=6, widths=widths, weight=weight, learning_rate=1e-2)
        run = train_prior("contractive_ae", Examples(data), steps=150, batch_size=64, **config)
        norms.append(run.prior.contraction(data).mean().item())
    assert norms[1] < 0.5 * norms[0]
