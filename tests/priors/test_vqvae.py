"""The VQ-VAE on examples of few kinds, and its codes in all dimensions."""

import pytest
import torch

from nerfcore.data.examples import Examples
from nerfcore.priors.base import Batch, Facts, Turn
from nerfcore.priors.training import train_prior
from nerfcore.priors.vqvae import VQVAE


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def tiles(count=128):
    """Pictures [N, 1, 8, 8] whose quarters are of one of four patterns each."""
    kinds = torch.stack([torch.ones(4, 4), -torch.ones(4, 4), torch.eye(4) * 2 - 1, 1 - torch.eye(4).flip(0) * 2])
    chosen = torch.randint(4, (count, 2, 2), generator=generator())
    return kinds[chosen].permute(0, 1, 3, 2, 4).reshape(count, 1, 8, 8) * 0.8


@pytest.mark.parametrize("learn", ["ema", "gradient"])
def test_it_learns_tiles_and_uses_its_codes(learn):
    config = dict(codes=16, code_width=8, widths=(8, 16), learn=learn, learning_rate=1e-2)
    prior = train_prior("vqvae", Examples(tiles()), steps=300, batch_size=32, **config).prior
    assert (prior.reconstruct(tiles()) - tiles()).square().mean() < 0.1 * tiles().var()
    assert prior.encode(tiles()).unique().numel() >= 4


@pytest.mark.parametrize("spatial", [(8,), (8, 4), (4, 8, 4)])
def test_codes_and_samples_in_all_dimensions(spatial):
    torch.manual_seed(0)
    prior = VQVAE(Facts((2, *spatial)), **VQVAE.tiny)
    pictures = torch.rand(3, 2, *spatial, generator=generator()) * 2 - 1
    index = prior.encode(pictures)
    assert index.shape == (3, *[side // 2 for side in spatial]) and index.max() < 32
    assert torch.equal(prior.reconstruct(pictures), prior.decode(index))
    assert prior.sample(4, generator()).shape == (4, 2, *spatial)


def test_samples_choose_codes_by_their_usage():
    torch.manual_seed(0)
    prior = VQVAE(Facts((1, 2, 2)), **VQVAE.tiny)
    prior.codebook.usage[5], seen = 1.0, []
    prior.decode = lambda index: seen.append(index) or torch.zeros(1)
    prior.sample(6, generator())
    assert (seen[0] == 5).all() and seen[0].shape == (6, 1, 1)


def test_the_encoder_learns_through_the_choice():
    torch.manual_seed(0)
    prior = VQVAE(Facts((1, 4, 4)), **VQVAE.tiny)
    figures = prior.loss("all", Batch(tiles(4)[..., :4, :4]), Turn(0, 0.0, generator()))
    assert torch.autograd.grad(figures["mse"], prior.encoder[-1].bias)[0].abs().max() > 0
