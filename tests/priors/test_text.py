"""The encoder's indifference to padding, and what it does hear."""

import pytest
import torch

from nerfcore.data.captions import Tokeniser
from nerfcore.priors.text import TextEncoder

CAPTIONS = ["a small red torus left of a blue cube", "a large red cone", "a small blue sphere behind a red cube"]


@pytest.fixture(scope="module")
def tokeniser():
    return Tokeniser.trained(CAPTIONS, 300)


def test_padding_says_nothing(tokeniser):
    torch.manual_seed(0)
    encoder = TextEncoder(tokeniser.merges, width=16, depth=2, heads=2).double()
    tokens, pooled, mask = encoder(["a red cube", CAPTIONS[0], ""])
    assert tokens.shape == (3, mask.shape[1], 16) and pooled.shape == (3, 16) and mask.dtype == torch.bool
    for i, caption in enumerate(["a red cube", CAPTIONS[0], ""]):
        alone, pooled_alone, mask_alone = encoder([caption])
        count = mask[i].sum()
        assert mask_alone.all() and mask_alone.shape[1] == count
        assert (alone[0] - tokens[i, :count]).abs().max() < 1e-12 and (pooled_alone[0] - pooled[i]).abs().max() < 1e-12
        assert torch.equal(pooled[i], tokens[i, count - 1])


def test_order_of_words_matters(tokeniser):
    torch.manual_seed(0)
    encoder = TextEncoder(tokeniser.merges, width=16, depth=1, heads=2)
    pooled = encoder(["a red cube left of a blue cone", "a blue cone left of a red cube"])[1]
    assert (pooled[0] - pooled[1]).abs().max() > 1e-3


def test_every_parameter_learns(tokeniser):
    encoder = TextEncoder(tokeniser.merges, width=16, depth=1, heads=2)
    encoder(CAPTIONS)[1].square().mul(torch.arange(16.0)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in encoder.parameters())
    assert "position" not in encoder.state_dict()
