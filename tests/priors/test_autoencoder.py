"""The autoencoder: what a linear one can reach at best, its two networks, and the codes that samples are drawn of."""

import numpy as np
import pytest
import torch

from nerfcore.data.examples import Examples
from nerfcore.errors import NerfcoreError
from nerfcore.priors.autoencoder import Autoencoder
from nerfcore.priors.base import Facts
from nerfcore.priors.training import train_prior


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def correlated(count=256):
    """Pictures [N, 1, 3, 4] whose directions differ much in power."""
    mixed = torch.randn(12, 12, generator=generator(1)) * torch.logspace(-0.5, -2.0, 12)
    return torch.randn(count, 12, generator=generator()).matmul(mixed.T).view(count, 1, 3, 4) + 0.2


@pytest.mark.parametrize("code", [2, 5])
def test_a_linear_one_ends_at_pca(code):
    """Which is its optimum (Baldi and Hornik 1989), here from the singular values; its code spans the same plane."""
    pictures = correlated()
    config = dict(code=code, widths=(), activation="linear", learning_rate=2e-2)
    prior = train_prior("autoencoder", Examples(pictures), steps=1500, batch_size=256, **config).prior
    flat = pictures.flatten(1).double().numpy()
    _, values, axes = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    best = (values[code:] ** 2).sum() / flat.size
    found = (prior.decode(prior.encode(pictures)) - pictures).square().mean().item()
    assert best * (1 - 1e-5) <= found <= best * 1.01
    plane = np.linalg.qr(prior.decoder[0].weight.detach().double().numpy())[0]
    assert np.linalg.svd(axes[:code] @ plane)[1].min() > 0.99


@pytest.mark.parametrize("network, widths", [("mlp", (8,)), ("conv", (4, 8))])
@pytest.mark.parametrize("spatial", [(8,), (8, 12), (4, 4, 8)])
def test_both_networks_in_all_dimensions(network, widths, spatial):
    torch.manual_seed(0)
    prior = Autoencoder(Facts((2, *spatial)), code=5, network=network, widths=widths)
    pictures = torch.rand(3, 2, *spatial, generator=generator()) * 2 - 1
    assert prior.encode(pictures).shape == (3, 5) and prior.reconstruct(pictures).shape == pictures.shape


def test_samples_decode_a_gaussian_with_the_moments_of_the_codes():
    pictures = 0.2 * correlated(512)  # far from where samples are clipped
    config = dict(code=3, widths=(), activation="linear", learning_rate=1e-3)
    prior = train_prior("autoencoder", Examples(pictures), steps=1200, batch_size=512, **config).prior
    made, codes = prior.encode(prior.sample(20000, generator())), prior.encode(pictures)
    back = prior.encode(prior.decode(codes))  # a linear map of codes, which both sets went through
    assert (made.mean(0) - back.mean(0)).norm() < 0.1 * back.std(0).norm()
    assert (made.T.cov() - back.T.cov()).norm() < 0.15 * back.T.cov().norm()


def test_what_it_cannot_be_made_with_is_said():
    with pytest.raises(NerfcoreError, match="mlp or conv"):
        train_prior("autoencoder", Examples(correlated()), steps=1, network="unet")
    with pytest.raises(NerfcoreError, match="halved 2 times"):
        train_prior("autoencoder", Examples(correlated()), steps=1, network="conv", widths=(4, 4))
    with pytest.raises(NerfcoreError, match="depth"):
        train_prior("autoencoder", Examples(correlated()), steps=1, depth=3)
