"""Attention in windows against attention of all places that are told what not to see."""

import math

import pytest
import torch

from nerfcore.blocks.encoding import position_encoding
from nerfcore.priors.blocks.windows import (
    StyleBlock,
    WindowAttention,
    adaptive_norm,
    from_windows,
    grid_encoding,
    to_windows,
)

SHAPES = [((4,), (12,)), ((2, 4), (6, 8)), ((2, 2, 2), (4, 2, 4))]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("window, spatial", SHAPES)
def test_windows_hold_neighbours_and_go_back(window, spatial):
    x = normal(3, *spatial, 5)
    parts = to_windows(x, window)
    assert parts.shape == (3, math.prod(spatial) // math.prod(window), math.prod(window), 5)
    first = x[(slice(None), *(slice(0, n) for n in window))].flatten(1, -2)
    last = x[(slice(None), *(slice(-n, None) for n in window))].flatten(1, -2)
    assert torch.equal(parts[:, 0], first) and torch.equal(parts[:, -1], last)
    assert torch.equal(from_windows(parts, window, spatial), x)


@pytest.mark.parametrize("window, spatial", SHAPES)
def test_double_attention_is_masked_attention(window, spatial):
    """The number of a place's window along an axis is place // part, of its shifted one (place + part / 2) // part."""
    torch.manual_seed(0)
    dims, heads, width = len(window), 4, 8
    layer = WindowAttention(width, heads, window, spatial).double()
    x = normal(2, *spatial, width)
    place = torch.cartesian_prod(*map(torch.arange, spatial)).view(-1, dims)
    part = torch.tensor(window)
    query, key, value = (z.flatten(1, dims) for z in layer.mix(x).chunk(3, -1))
    found = []
    for head in range(heads):
        shift = torch.tensor([n // 2 if n < side else 0 for n, side in zip(window, spatial, strict=True)])
        number = (place + (head >= heads // 2) * (part - shift) * (shift > 0)) // part
        together = (number[:, None] == number[None]).all(-1)
        channels = slice(head * 2, head * 2 + 2)
        logits = query[..., channels] @ key[..., channels].mT / math.sqrt(2)
        found.append(logits.masked_fill(~together, -torch.inf).softmax(-1) @ value[..., channels])
    expected = layer.out(torch.cat(found, -1)).view_as(x)
    assert torch.allclose(layer(x), expected, atol=1e-10)


def test_a_place_reaches_its_window_and_over_its_borders_but_not_around_the_picture():
    torch.manual_seed(0)
    layer = WindowAttention(4, 2, (4,), (12,)).double()
    x = normal(1, 12, 4).requires_grad_()

    def reach(place):
        (slope,) = torch.autograd.grad(layer(x)[0, place].sum(), x)
        return slope[0].abs().sum(-1).nonzero().flatten().tolist()

    assert reach(4) == [2, 3, 4, 5, 6, 7]
    assert reach(0) == [0, 1, 2, 3] and reach(11) == [8, 9, 10, 11]


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="heads"):
        WindowAttention(8, 3, (4,), (8,))
    with pytest.raises(ValueError, match="divide a picture"):
        WindowAttention(8, 2, (3,), (8,))


@pytest.mark.parametrize("spatial", [(9,), (5, 6), (3, 4, 5)])
def test_a_style_says_mean_and_deviation(spatial):
    style = normal(3, 8)
    found = adaptive_norm(5 + 3 * normal(3, *spatial, 4, seed=1), style)
    axes = tuple(range(1, 1 + len(spatial)))
    assert torch.allclose(found.mean(axes), style[:, 4:], atol=1e-9)
    assert torch.allclose(found.std(axes, unbiased=False), (1 + style[:, :4]).abs(), atol=1e-4)


@pytest.mark.parametrize("spatial", [(9,), (5, 6), (3, 4, 5)])
def test_every_place_has_an_encoding_of_its_own(spatial):
    encoded = grid_encoding(spatial, 14)
    each = 2 * (14 // (2 * len(spatial)))
    flat = encoded.flatten(0, -2)
    assert (torch.cdist(flat, flat) + 9 * torch.eye(len(flat))).min() > 0.05
    line = encoded[(*[0] * (len(spatial) - 1), slice(None))]
    expected = position_encoding(torch.arange(spatial[-1]), each)
    assert torch.equal(line[:, (len(spatial) - 1) * each : len(spatial) * each], expected)


@pytest.mark.parametrize("window, spatial", SHAPES)
def test_a_block_keeps_the_shape_and_follows_its_style(window, spatial):
    torch.manual_seed(0)
    block = StyleBlock(8, 5, 2, window, spatial).double()
    x = normal(2, *spatial, 8)
    one, other = block(x, normal(2, 5, seed=1)), block(x, normal(2, 5, seed=2))
    assert one.shape == x.shape and (one - other).abs().max() > 0.01
