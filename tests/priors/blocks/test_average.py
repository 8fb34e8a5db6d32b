"""The moving mean against its closed form."""

import pytest
import torch
from torch import nn

from nerfcore.priors.blocks.average import Average


def test_mean_of_a_sequence_in_closed_form():
    torch.manual_seed(0)
    layer = nn.Linear(2, 1, bias=False).double()
    average, expected = Average(layer, 0.5), layer.weight.detach().clone()
    for n, value in enumerate((1.0, -2.0, 5.0, 0.5, 3.0, 7.0, -4.0, 2.0, 1.0, 6.0)):
        nn.init.constant_(layer.weight, value)
        kept = min(0.5, (1 + n) / (10 + n))
        expected = kept * expected + (1 - kept) * value
        average.update(layer)
    assert torch.allclose(average.module.weight, expected) and average.updates == 10
    x = torch.randn(3, 2).double()
    assert torch.allclose(average(x), x @ expected.T)


def test_it_takes_no_gradient_and_copies_buffers():
    layer = nn.BatchNorm1d(3)
    average = Average(layer)
    layer(torch.randn(8, 3) + 5)
    average.update(layer)
    assert torch.equal(average.module.running_mean, layer.running_mean)
    assert not any(p.requires_grad for p in average.parameters())
    with pytest.raises(ValueError, match="decay"):
        Average(layer, 1.0)
