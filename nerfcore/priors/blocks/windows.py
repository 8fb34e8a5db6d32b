"""Attention within windows of pictures whose channels are last, [B, *spatial, C], with 1, 2 or 3 spatial dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerfcore.blocks.encoding import position_encoding
from nerfcore.priors.blocks.style import Equalised


class WindowAttention(nn.Module):
    """Double attention of Zhang et al. 2022, section 3.2: half of the heads look within windows, the other half within
    windows shifted by half of their sides, so that one layer reaches over every border. Logits have a learned bias for
    each offset between two places (Liu et al. 2021, equation 4).

    width: channels; heads: even; window: its sides, which divide those of the picture, ``spatial``. An axis that one
    window spans is not shifted.
    """

    def __init__(self, width: int, heads: int, window: Sequence[int], spatial: Sequence[int]):
        super().__init__()
        if heads % 2 or width % heads:
            raise ValueError(f"heads must be even and divide width, got {heads} and {width}")
        if any(side % part for side, part in zip(spatial, window, strict=True)):
            raise ValueError(f"windows of {list(window)} do not divide a picture of {list(spatial)}")
        self.heads, self.window = heads, tuple(window)
        self.shift = tuple(part // 2 if part < side else 0 for side, part in zip(spatial, window, strict=True))
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        place = torch.cartesian_prod(*map(torch.arange, window)).view(-1, len(window))
        offset, index = place[:, None] - place[None], 0
        for axis, part in enumerate(window):
            index = index * (2 * part - 1) + offset[..., axis] + part - 1
        self.register_buffer("index", index, persistent=False)
        self.bias = nn.Parameter(torch.zeros(math.prod(2 * part - 1 for part in window), heads))
        self.register_buffer("apart", _apart(spatial, window, self.shift), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, *spatial, width] -> the same. Differentiable in: x."""
        axes = tuple(range(1, x.ndim - 1))
        mixed = self.mix(x).unflatten(-1, (3, 2, -1))
        plain, moved = mixed.unbind(-2)
        moved = moved.flatten(-2).roll([-part for part in self.shift], axes)
        bias = self.bias[self.index].permute(2, 0, 1)  # [heads, T, T]
        plain_bias, moved_bias = bias.chunk(2)
        moved_bias = moved_bias.masked_fill(self.apart[:, None], -torch.inf)
        seen = self._attend(plain.flatten(-2), plain_bias)
        seen_moved = self._attend(moved, moved_bias).roll(self.shift, axes)
        return self.out(torch.cat((seen, seen_moved), -1))

    def _attend(self, mixed: Tensor, bias: Tensor) -> Tensor:
        """mixed [B, *spatial, 3 N] -> [B, *spatial, N]; bias [heads / 2, T, T], or [windows, heads / 2, T, T]."""
        spatial = mixed.shape[1:-1]
        split = to_windows(mixed, self.window).unflatten(-1, (3, self.heads // 2, -1))
        query, key, value = split.permute(3, 0, 1, 4, 2, 5)  # [B, windows, heads / 2, T, N]
        logits = (query / math.sqrt(query.shape[-1])) @ key.mT
        found = ((logits + bias).softmax(-1) @ value).transpose(2, 3).flatten(3)
        return from_windows(found, self.window, spatial)


class StyleBlock(nn.Module):
    """Window attention, and a network of each place, both on what a style normalises, and added to what came."""

    def __init__(self, width: int, style_width: int, heads: int, window: Sequence[int], spatial: Sequence[int]):
        super().__init__()
        self.styles = nn.ModuleList(Equalised(style_width, 2 * width) for _ in range(2))
        self.attention = WindowAttention(width, heads, window, spatial)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x [B, *spatial, width], style [B, style_width]. Differentiable in: x, style."""
        x = x + self.attention(adaptive_norm(x, self.styles[0](style)))
        return x + self.mlp(adaptive_norm(x, self.styles[1](style)))


def adaptive_norm(x: Tensor, style: Tensor) -> Tensor:
    """AdaIN of Huang and Belongie 2017, equation 8: every channel of a picture [B, *spatial, C] gets the deviation 1 +
    the first half of style [B, 2 C], and the mean that its second half says. Differentiable in: x, style."""
    axes = tuple(range(1, x.ndim - 1))
    deviation, mean = style.view(len(x), *[1] * len(axes), -1).chunk(2, -1)
    centred = x - x.mean(axes, keepdim=True)
    return centred * (centred.square().mean(axes, keepdim=True) + 1e-5).rsqrt() * (1 + deviation) + mean


def to_windows(x: Tensor, window: Sequence[int]) -> Tensor:
    """[B, *spatial, C] -> [B, windows, T, C], T places a window, both in the order of their axes. Differentiable."""
    dims = len(window)
    parts = [n for side, part in zip(x.shape[1:-1], window, strict=True) for n in (side // part, part)]
    order = [0, *range(1, 2 * dims, 2), *range(2, 2 * dims + 1, 2), 2 * dims + 1]
    return x.reshape(len(x), *parts, x.shape[-1]).permute(order).flatten(1 + dims, 2 * dims).flatten(1, dims)


def from_windows(x: Tensor, window: Sequence[int], spatial: Sequence[int]) -> Tensor:
    """The way back of :func:`to_windows`. Differentiable in: x."""
    dims = len(window)
    counts = [side // part for side, part in zip(spatial, window, strict=True)]
    order = [0, *(axis for i in range(dims) for axis in (1 + i, 1 + dims + i)), 2 * dims + 1]
    return x.reshape(len(x), *counts, *window, x.shape[-1]).permute(order).reshape(len(x), *spatial, x.shape[-1])


def grid_encoding(spatial: Sequence[int], width: int) -> Tensor:
    """[*spatial, width]: sines and cosines of the place along each axis, as many of each, and zeros in what is left
    (Zhang et al. 2022, equation 6): where a place stands in the whole picture, which windows cannot tell."""
    each = 2 * (width // (2 * len(spatial)))
    encoded = torch.zeros(*spatial, width)
    for axis, side in enumerate(spatial):
        along = position_encoding(torch.arange(side), each)
        encoded.movedim(axis, -2)[..., axis * each : (axis + 1) * each] = along
    return encoded


def _apart(spatial: Sequence[int], window: Sequence[int], shift: Sequence[int]) -> Tensor:
    """[windows, T, T]: which places of a shifted window do not meet, as one came around the border."""
    around = [torch.arange(side) + part >= side for side, part in zip(spatial, shift, strict=True)]
    flags = torch.stack(torch.meshgrid(*around, indexing="ij"), -1)
    inside = to_windows(flags[None], window)[0]
    return (inside[:, :, None] != inside[:, None]).any(-1)
