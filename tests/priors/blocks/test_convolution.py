"""Shapes in one, two and three dimensions, what blocks begin as, and how far they see."""

import pytest
import torch

from nerfcore.priors.blocks.convolution import (
    ConvDecoder,
    ConvEncoder,
    Downsample,
    ResidualBlock,
    Upsample,
    coded_size,
    convolution,
)

SPATIAL = {1: (8,), 2: (8, 12), 3: (4, 8, 12)}


@pytest.mark.parametrize("dims", SPATIAL)
def test_there_and_back(dims):
    torch.manual_seed(0)
    x = torch.randn(2, 3, *SPATIAL[dims])
    code = ConvEncoder(3, 5, dims, (4, 8))(x)
    assert code.shape == (2, 5, *coded_size(SPATIAL[dims], 2))
    assert ConvDecoder(5, 3, dims, (4, 8))(code).shape == x.shape


@pytest.mark.parametrize("dims", SPATIAL)
def test_a_residual_block_begins_as_the_identity_and_an_embedding_as_nothing(dims):
    torch.manual_seed(0)
    block, x = ResidualBlock(4, 4, dims, embedding_width=3), torch.randn(2, 4, *SPATIAL[dims])
    assert torch.equal(block(x, torch.randn(2, 3)), x)
    torch.nn.init.normal_(block.second.weight)
    assert torch.equal(block(x, torch.randn(2, 3)), block(x, torch.randn(2, 3)))
    torch.nn.init.normal_(block.embedded.weight)
    assert not torch.allclose(block(x, torch.randn(2, 3)), block(x, torch.randn(2, 3)))
    with pytest.raises(ValueError, match="both or neither"):
        block(x)


@pytest.mark.parametrize("dims", SPATIAL)
def test_halving_and_doubling_keep_places(dims):
    """A shift of two places before is one of one after, away from the border; doubling undoes it."""
    torch.manual_seed(0)
    down, up = Downsample(1, 2, dims).double(), Upsample(2, 1, dims).double()
    x = torch.zeros(1, 1, *[16] * dims).double()
    x[(0, 0, *[7] * dims)] = 1
    moved = x.roll([2] * dims, list(range(2, 2 + dims)))
    inside = (slice(None), slice(None), *[slice(2, -2)] * dims)
    shifted = down(x).roll([1] * dims, list(range(2, 2 + dims)))
    assert torch.allclose(down(moved)[inside], shifted[inside])
    twice = up(down(x)).roll([2] * dims, list(range(2, 2 + dims)))
    inside = (slice(None), slice(None), *[slice(5, -5)] * dims)
    assert torch.allclose(up(down(moved))[inside], twice[inside])


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="even"):
        Downsample(1, 1, 2)(torch.zeros(1, 1, 7, 8))
    with pytest.raises(ValueError, match="halved 3 times"):
        coded_size((28, 28), 3)
    with pytest.raises(ValueError, match="1, 2 or 3"):
        convolution(4)
