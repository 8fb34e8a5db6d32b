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
    windows shifted by half of their sides, so that one layer reaches over every border. width: channels; heads: even;
    window: its sides, which divide those of the picture, ``spatial``. An axis that one window spans is not shifted."""

    def __init__(self, width: int, heads: int, window: Sequence[int], spatial: Sequence[int]):
        super().__init__()
        if heads % 2 or width % heads:
            raise ValueError(f"heads must be even and divide width, got {heads} and {width}")
        if any(side % part for side, part in zip(spatial, window, strict=True)):
            raise ValueError(f"windows of {list(window)} do not divide a picture of {list(spatial)}")
        self.heads, self.window = heads, tuple(window)
        self.shift = tuple(part // 2 if part < side else 0 for side, part in zip(spatial, window, strict=True))
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        around = [torch.arange(side) + part >= side for side, part in zip(spatial, self.shift, strict=True)]
        inside = to_windows(torch.stack(torch.meshgrid(*around, indexing="ij"), -1)[None], window)[0]
        # places of a shifted window do not meet where one came around the border: [windows, 1, T, T]
        apart = (inside[:, :, None] != inside[:, None]).any(-1)[:, None]
        self.register_buffer("apart", apart, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, *spatial, width] -> the same. Differentiable in: x."""
        axes = tuple(range(1, x.ndim - 1))
        plain, moved = (part.flatten(-2) for part in self.mix(x).unflatten(-1, (3, 2, -1)).unbind(-2))
        moved = self._attend(moved.roll([-part for part in self.shift], axes), apart=self.apart).roll(self.shift, axes)
        return self.out(torch.cat((self._attend(plain), moved), -1))

    def _attend(self, mixed: Tensor, apart: Tensor | None = None) -> Tensor:
        """mixed [B, *spatial, 3 N] -> [B, *spatial, N]."""
        split = to_windows(mixed, self.window).unflatten(-1, (3, self.heads // 2, -1))
        query, key, value = split.permute(3, 0, 1, 4, 2, 5)  # [B, windows, heads / 2, T, N]
        logits = (query / math.sqrt(query.shape[-1])) @ key.mT
        logits = logits if apart is None else logits.masked_fill(apart, -torch.inf)
        found = (logits.softmax(-1) @ value).transpose(2, 3).flatten(3)
        return from_windows(found, self.window, mixed.shape[1:-1])


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
