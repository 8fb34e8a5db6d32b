"""Convolutional parts on [B, C, *spatial] with 1, 2 or 3 spatial dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from nerfcore.priors.blocks.initialise import zero

MOST_GROUPS = 8  # of a norm
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def convolution(dims: int) -> type[nn.Module]:
    """nn.Conv1d, nn.Conv2d or nn.Conv3d."""
    kinds = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
    if dims not in kinds:
        raise ValueError(f"a picture needs 1, 2 or 3 spatial dimensions, got {dims}")
    return kinds[dims]


def group_norm(channels: int) -> nn.GroupNorm:
    """Of Wu and He 2018, in as many groups up to 8 as divide the channels."""
    return nn.GroupNorm(math.gcd(channels, MOST_GROUPS), channels)


class ResidualBlock(nn.Module):
    """Two convolutions of 3 on normalised input, added to what came (He et al. 2016, pre-activation). The second one
    begins at 0. With ``embedding_width`` an embedding scales and shifts the channels between the two (Dhariwal and
    Nichol 2021, section 4.3)."""

    def __init__(self, channels: int, out_channels: int, dims: int, embedding_width: int | None = None):
        super().__init__()
        conv = convolution(dims)
        self.norm, self.first = group_norm(channels), conv(channels, out_channels, 3, padding=1)
        self.second_norm = group_norm(out_channels)
        self.second = zero(conv(out_channels, out_channels, 3, padding=1))
        self.skip = conv(channels, out_channels, 1) if channels != out_channels else nn.Identity()
        self.embedded = None if embedding_width is None else zero(nn.Linear(embedding_width, 2 * out_channels))
        self.act = nn.SiLU()

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """x [B, C, *spatial] and embedding [B, embedding_width] -> [B, out_channels, *spatial]. Differentiable in: x,
        embedding."""
        if (self.embedded is None) != (embedding is None):
            raise ValueError("an embedding goes with embedding_width: give both or neither")
        hidden = self.second_norm(self.first(self.act(self.norm(x))))
        if embedding is not None:
            scale, shift = self.embedded(embedding).view(*x.shape[:1], -1, *[1] * (x.ndim - 2)).chunk(2, 1)
            hidden = hidden * (1 + scale) + shift
        return self.skip(x) + self.second(self.act(hidden))


class Downsample(nn.Module):
    """[B, C, *spatial] -> [B, out_channels, *spatial / 2] by a strided convolution of 4; sides must be even."""

    def __init__(self, channels: int, out_channels: int, dims: int):
        super().__init__()
        self.convolution = convolution(dims)(channels, out_channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Differentiable in: x."""
        if any(side % 2 for side in x.shape[2:]):
            raise ValueError(f"sides must be even to be halved, got {list(x.shape[2:])}")
        return self.convolution(x)


class Upsample(nn.Module):
    """[B, C, *spatial] -> [B, out_channels, 2 * spatial]: every value is repeated, then a convolution of 3, which
    leaves no checkerboard (Odena et al. 2016)."""

    def __init__(self, channels: int, out_channels: int, dims: int):
        super().__init__()
        self.repeat = nn.Upsample(scale_factor=2, mode="nearest")
        self.convolution = convolution(dims)(channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Differentiable in: x."""
        return self.convolution(self.repeat(x))


class ConvEncoder(nn.Sequential):
    """[B, channels, *spatial] -> [B, out_channels, *spatial / 2^len(widths)]: for each width the sides are halved,
    then comes a residual block. Differentiable in: the input."""

    def __init__(self, channels: int, out_channels: int, dims: int, widths: Sequence[int] = (32, 64)):
        layers: list[nn.Module] = []
        for before, width in zip((channels, *widths[:-1]), widths, strict=True):
            layers += [Downsample(before, width, dims), ResidualBlock(width, width, dims)]
        super().__init__(
            *layers, group_norm(widths[-1]), nn.SiLU(), convolution(dims)(widths[-1], out_channels, 3, padding=1)
        )


class ConvDecoder(nn.Sequential):
    """The way back of :class:`ConvEncoder` with the same ``widths``: [B, channels, *spatial] ->
    [B, out_channels, 2^len(widths) * spatial], with no last activation. Differentiable in: the input."""

    def __init__(self, channels: int, out_channels: int, dims: int, widths: Sequence[int] = (32, 64)):
        back = tuple(reversed(widths))
        layers: list[nn.Module] = [convolution(dims)(channels, back[0], 3, padding=1)]
        for width, after in zip(back, (*back[1:], back[-1]), strict=True):
            layers += [ResidualBlock(width, width, dims), Upsample(width, after, dims)]
        super().__init__(
            *layers, group_norm(widths[0]), nn.SiLU(), convolution(dims)(widths[0], out_channels, 3, padding=1)
        )


def coded_size(spatial: Sequence[int], levels: int) -> tuple[int, ...]:
    """Sides of what a picture of these sides becomes when they are halved so often. Raises ValueError where they are
    not multiples of ``2^levels``."""
    if any(side % 2**levels for side in spatial):
        raise ValueError(f"sides {list(spatial)} cannot be halved {levels} times; use fewer widths or another size")
    return tuple(side // 2**levels for side in spatial)
