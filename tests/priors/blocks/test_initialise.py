"""Variances of initial weights, and what they are for."""

import pytest
import torch
from torch import nn

from nerfcore.priors.blocks.initialise import initialise, zero


@pytest.mark.parametrize("kind, variance", [("xavier", 2 / (300 + 500)), ("normal", 0.02**2)])
def test_variances_of_the_papers(kind, variance):
    torch.manual_seed(0)
    layer = initialise(nn.Sequential(nn.Linear(300, 500), nn.LayerNorm(500)), kind)
    assert layer[0].weight.var().item() == pytest.approx(variance, rel=0.02)
    assert layer[0].bias.abs().max() == 0 and layer[1].weight.std().item() == pytest.approx(0.02 * (kind == "normal"), rel=0.2)


def test_xavier_keeps_the_square_both_ways():
    torch.manual_seed(0)
    layers = initialise(nn.Sequential(*[nn.Conv1d(128, 128, 3, padding=1, padding_mode="circular") for _ in range(6)]), "xavier")
    x = torch.randn(8, 128, 32, requires_grad=True)
    out = layers(x)
    (back,) = torch.autograd.grad(out, x, torch.randn_like(out))
    assert out.square().mean().item() == pytest.approx(1, rel=0.3) and back.square().mean().item() == pytest.approx(1, rel=0.3)


def test_zero_and_unknown_names():
    assert zero(nn.Linear(3, 3))(torch.randn(2, 3)).abs().max() == 0
    with pytest.raises(ValueError, match="xavier or normal"):
        initialise(nn.Linear(1, 1), "kaiming")
