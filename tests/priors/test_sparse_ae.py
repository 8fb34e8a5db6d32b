"""Sparse codes: the penalty against torch's divergence, and activations that end where they are asked to."""

import pytest
import torch
from torch import distributions

from nerfcore.data.examples import Examples
from nerfcore.priors.base import Facts
from nerfcore.priors.sparse_ae import SparseAutoencoder, bernoulli_divergence
from nerfcore.priors.training import train_prior


def bars(count=512):
    """Pictures [N, 1, 4, 4] of bright rows and columns, a few of eight."""
    draw = torch.Generator().manual_seed(0)
    rows, columns = (torch.rand(count, 4, generator=draw) < 0.2 for _ in range(2))
    return (rows[:, :, None] | columns[:, None, :]).float()[:, None] * 2 - 1


def test_the_divergence_is_that_of_torch():
    mean = torch.linspace(0.01, 0.99, 9).double()
    expected = distributions.kl_divergence(distributions.Bernoulli(torch.tensor(0.1).double()), distributions.Bernoulli(mean))
    assert torch.allclose(bernoulli_divergence(0.1, mean), expected)
    assert bernoulli_divergence(0.1, torch.tensor([0.0, 1.0])).isfinite().all()


@pytest.mark.parametrize("penalty", ["kl", "l1"])
@pytest.mark.parametrize("target", [0.1, 0.2])
def test_the_mean_activation_is_the_target(penalty, target):
    config = dict(code=32, penalty=penalty, target=target, weight=10.0, learning_rate=3e-3)
    prior = train_prior("sparse_ae", Examples(bars()), steps=1000, batch_size=128, **config).prior
    codes = prior.encode(bars()).detach()
    assert codes.mean().item() == pytest.approx(target, rel=0.2) and codes.min() >= 0
    assert (prior.reconstruct(bars()) - bars()).square().mean() < 0.5 * bars().var()


def test_columns_of_the_l1_decoder_have_the_length_one():
    """So that a code cannot shrink at no cost."""
    torch.manual_seed(0)
    prior = SparseAutoencoder(Facts((1, 4, 4)), code=8, penalty="l1")
    code = torch.zeros(2, 8)
    code[0, 3] = 2.0
    torch.nn.init.normal_(prior.decoder[0].weight)
    apart = prior.decode(code)
    assert (apart[0] - apart[1]).norm().item() == pytest.approx(2.0, rel=1e-5)
    with pytest.raises(ValueError, match="kl or l1"):
        SparseAutoencoder(Facts((1, 4, 4)), penalty="l2")
