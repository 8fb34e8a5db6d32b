"""The first GAN, where what it has to reach is known."""

import math

import pytest
import torch

from nerfcore.data.examples import Examples
from nerfcore.errors import NerfcoreError
from nerfcore.priors.base import Facts
from nerfcore.priors.blocks.adversarial import OBJECTIVES, game_value
from nerfcore.priors.gan import GAN
from nerfcore.priors.training import train_prior


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_an_affine_generator_is_that_of_a_normal_distribution():
    torch.manual_seed(0)
    prior = GAN(Facts((2, 1)), latent=2, network="affine")
    layer = prior.generator.network[0]
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 0.0], [1.0, 0.5]]))
        layer.bias.copy_(torch.tensor([3.0, -1.0]))
    x = prior.sample(40000, generator())[:, :, 0]
    assert torch.allclose(x.mean(0), layer.bias, atol=0.05)
    assert torch.allclose(x.T.cov(), layer.weight @ layer.weight.T, atol=0.1)


def test_at_the_equilibrium_nothing_can_be_told():
    """A reachable distribution: the discriminator says 1/2, and the value is -2 log 2 (Goodfellow et al. 2014)."""
    data = 0.4 * torch.randn(20000, 1, 2, generator=generator()) + torch.tensor([0.5, -0.3])
    run = train_prior(
        "gan", Examples(data), steps=700, network="affine", latent=2, widths=(32,), r1=0.5, average=0.99,
        learning_rate=3e-3, objective="minimax", final=0.05,
    )  # fmt: skip
    fresh = 0.4 * torch.randn(20000, 1, 2, generator=generator(1)) + torch.tensor([0.5, -0.3])
    fake = run.prior.sample(20000, generator(2))
    real_logits, fake_logits = run.prior.discriminator(fresh), run.prior.discriminator(fake)
    assert game_value(real_logits, fake_logits).item() == pytest.approx(-2 * math.log(2), abs=0.05)
    assert (real_logits.sigmoid() - 0.5).square().mean().sqrt() < 0.1
    assert (fake.mean((0, 1)) - fresh.mean((0, 1))).abs().max() < 0.1 and (fake.std() - fresh.std()).abs() < 0.1
    untrained = train_prior("gan", Examples(data), steps=1, network="affine", latent=2).prior
    assert (untrained.sample(20000, generator(2)).mean((0, 1)) - fresh.mean((0, 1))).abs().max() > 0.1


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_modes_are_both_found(objective):
    side = torch.randint(2, (8000, 1, 1), generator=generator()) * 2.0 - 1
    data = 0.6 * side + 0.05 * torch.randn(8000, 1, 1, generator=generator(1))
    run = train_prior("gan", Examples(data), steps=400, objective=objective, latent=4, widths=(32, 32), turns=2)
    x = run.prior.sample(2000, generator(2)).flatten()
    shares = [((x - mode).abs() < 0.25).float().mean().item() for mode in (-0.6, 0.6)]
    assert min(shares) > 0.2 and sum(shares) > 0.6


def test_an_unknown_network_is_named():
    with pytest.raises(NerfcoreError, match="there is no generator 'conv'"):
        GAN(Facts((1, 2)), network="conv")
