"""Variances of initial weights, and what they are for."""

import pytest
import torch
from torch import nn

from nerfcore.priors.blocks.initialise import initialise, zero


@pytest.mark.parametrize(
    "kind, variance", [("xavier", 2 / (300 + 500)), ("he", 2 / 300), ("normal", 0.02**2), ("orthogonal", 1 / 500)]
)
def test_variances_of_the_papers(kind, variance):
    torch.manual_seed(0)
    layer = initialise(nn.Sequential(nn.Linear(300, 500), nn.LayerNorm(500)), kind, gain=1.5)
    assert layer[0].weight.var().item() == pytest.approx(1.5**2 * variance, rel=0.02)
    assert layer[0].bias.abs().max() == 0 and layer[1].weight.std().item() == pytest.approx(0.03 * (kind == "normal"), rel=0.2)


def test_he_keeps_the_square_through_relus_and_convolutions():
    torch.manual_seed(0)
    layers = [layer for _ in range(8) for layer in (nn.Conv1d(256, 256, 3, padding=1, padding_mode="circular"), nn.ReLU())]
    x = torch.randn(8, 256, 32)
    assert initialise(nn.Sequential(*layers), "he")(x).square().mean().item() == pytest.approx(1, rel=0.3)


def test_orthogonal_keeps_lengths():
    torch.manual_seed(0)
    layer, x = initialise(nn.Linear(20, 50), "orthogonal"), torch.randn(4, 20)
    assert torch.allclose(layer(x).norm(dim=1), x.norm(dim=1), rtol=1e-5)


def test_zero_and_unknown_names():
    assert zero(nn.Linear(3, 3))(torch.randn(2, 3)).abs().max() == 0
    with pytest.raises(ValueError, match="xavier, he"):
        initialise(nn.Linear(1, 1), "kaiming")
