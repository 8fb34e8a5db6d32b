"""Layers of styles against weights made for each example, and against loops."""

import math

import pytest
import torch
from torch.nn import functional

from nerfcore.priors.blocks.style import (
    Equalised,
    Mapping,
    ModulatedConvolution,
    Synthesis,
    TextAttention,
    distance_attention,
    double,
)

CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("bank", [1, 3])
@pytest.mark.parametrize("demodulate", [True, False])
def test_modulation_is_that_of_weights(dims, bank, demodulate):
    """Karras et al. 2020, equations 1 and 3, and Kang et al. 2023, equation 5, for one example after the other."""
    torch.manual_seed(0)
    layer = ModulatedConvolution(4, 5, dims, 3, 6, demodulate, bank).double()
    with torch.no_grad():
        layer.bias.normal_()
    x, style = normal(3, 4, *[6] * dims), normal(3, 6, seed=1)
    found = layer(x, style)
    for i in range(3):
        scale = style[i] @ layer.style.weight.T / math.sqrt(6) + 1
        kernels = layer.weight / math.sqrt(4 * 3**dims)
        share = [1.0]
        if bank > 1:
            share = torch.softmax(style[i] @ layer.choice.weight.T / math.sqrt(6) + layer.choice.bias, 0)
        weight = sum(part * kernel for part, kernel in zip(share, kernels, strict=True))
        weight = weight * scale.view(1, -1, *[1] * dims)
        if demodulate:
            norm = (weight.flatten(1).square().sum(1) + 1e-8).sqrt()
            weight = weight / norm.view(-1, 1, *[1] * dims)
        expected = CONVOLUTIONS[dims](x[i : i + 1], weight, padding=1) + layer.bias
        assert torch.allclose(found[i : i + 1], expected, atol=1e-10)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("bank", [1, 2])
def test_what_all_examples_share_need_not_be_repeated(dims, bank):
    torch.manual_seed(0)
    layer = ModulatedConvolution(4, 5, dims, 3, 6, bank=bank).double()
    x, style = normal(1, 4, *[6] * dims).requires_grad_(), normal(3, 6, seed=1).requires_grad_()
    once, repeated = layer(x, style), layer(x.expand(3, *x.shape[1:]), style)
    assert torch.allclose(once, repeated, atol=1e-12)
    inputs, along = (x, style, *layer.parameters()), normal(*once.shape, seed=2)
    slopes = (torch.autograd.grad((found * along).sum(), inputs, allow_unused=True) for found in (once, repeated))
    for one, other in zip(*slopes, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_demodulated_channels_have_the_deviation_of_their_gain(gain):
    torch.manual_seed(0)
    layer = ModulatedConvolution(16, 8, 2, 3, 4, gain=gain).double()
    found = layer(normal(4, 16, 40, 40), 3 * normal(4, 4, seed=1))[..., 1:-1, 1:-1]
    assert (found.std((2, 3)) / gain - 1).abs().max() < 0.1


def test_equalised_layers_begin_at_their_gain_and_move_at_one_speed():
    torch.manual_seed(0)
    for inputs, rate in ((16, 1.0), (400, 1.0), (400, 0.01)):
        layer = Equalised(inputs, 300, gain=2.0, rate=rate).double()
        assert layer(normal(200, inputs)).std().item() == pytest.approx(2.0, rel=0.1)
        before = layer(normal(200, inputs))
        with torch.no_grad():
            layer.weight += 0.1 * torch.sign(torch.randn_like(layer.weight))  # as Adam's first step
        change = (layer(normal(200, inputs)) - before).std().item()
        assert change == pytest.approx(0.1 * 2.0 * rate, rel=0.1)


def test_of_noise_only_the_direction_counts():
    torch.manual_seed(0)
    mapping = Mapping(8, 16, 3).double()
    noise = normal(5, 8)
    assert torch.allclose(mapping(noise), mapping(7 * noise), atol=1e-6)
    assert (mapping(noise) - mapping(-noise)).abs().max() > 0.1


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_doubling_keeps_lines(dims):
    ramp = torch.arange(8.0).view(1, 1, -1, *[1] * (dims - 1)).expand(1, 1, *[8] * dims)
    found = double(ramp)
    assert found.shape[2:] == (16,) * dims
    expected = (torch.arange(16.0) - 0.5) / 2
    inner = found[0, 0].view(16, -1)[1:-1]
    assert torch.allclose(inner, expected[1:-1, None].expand_as(inner))


def test_attention_by_distances():
    key, value = normal(2, 3, 5, 4), normal(2, 3, 5, 4, seed=1)
    found = distance_attention(key, value)
    for i, (k, v) in enumerate(zip(key.flatten(0, 1), value.flatten(0, 1), strict=True)):
        weights = [[math.exp(-(a - b).square().sum() / 2) for b in k] for a in k]
        weights = torch.tensor(weights, dtype=torch.float64)
        assert torch.allclose(found.flatten(0, 1)[i], weights / weights.sum(1, keepdim=True) @ v)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_places_look_at_tokens_that_are_there_and_at_all_places(dims):
    torch.manual_seed(0)
    layer = TextAttention(4, 2, 6).double()
    x, tokens = normal(2, 4, *[4] * dims).requires_grad_(), normal(2, 3, 6, seed=1).requires_grad_()
    found = layer(x, tokens, torch.tensor([[True, True, False]] * 2))
    assert found.shape == x.shape
    corner = found[(0, slice(None), *[0] * dims)].sum()
    slope, said = torch.autograd.grad(corner, (x, tokens))
    assert slope[0].abs().min() > 0 and slope[1].abs().max() == 0
    assert [said[0, i].abs().max().item() > 0 for i in range(3)] == [True, True, False]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_synthesis_draws_every_level_and_noise_begins_unseen(dims):
    torch.manual_seed(0)
    net = Synthesis((3, *[16] * dims), (4, 4, 4), 5).double()
    styles = normal(2, net.num_layers, 5).requires_grad_()
    levels = net(styles, generator())
    assert [x.shape for x in levels] == [(2, 3, *[side] * dims) for side in (4, 8, 16)]
    assert torch.equal(levels[-1], net(styles, generator(1))[-1])
    for level, picture in enumerate(levels):  # layers that a level comes after, and no others
        (slope,) = torch.autograd.grad(picture.sum(), styles, retain_graph=True)
        assert [bool(s.abs().max() > 0) for s in slope[0]] == [layer <= 2 * level for layer in range(5)]
    with torch.no_grad():
        net.layers[-1].strength.fill_(1.0)
    assert not torch.equal(levels[-1], net(styles, generator(1))[-1])
    alone = Synthesis((3, *[16] * dims), (4, 4, 4), 5, constant=9, pictures=1).double()
    (last,) = alone(styles, generator())
    assert last.shape == (2, 3, *[16] * dims) and last.abs().max() < 1
    (slope,) = torch.autograd.grad(last.sum(), styles)
    assert (slope[0].abs().amax(1) > 0).all()
