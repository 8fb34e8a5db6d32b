"""The networks of diffusion models: a U of residual blocks that knows the noise and what is said, and half of one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nerfcore.blocks.encoding import position_encoding
from nerfcore.priors.blocks.attention import TransformerBlock
from nerfcore.priors.blocks.convolution import Downsample, ResidualBlock, Upsample, coded_size, convolution, group_norm
from nerfcore.priors.blocks.denoiser import over, preconditioned
from nerfcore.priors.blocks.initialise import zero

NOISE_SCALE = 1000.0  # of the encoding of the noise, as if it were one of 1,000 steps


class UNet(nn.Module):
    """The U of Ho et al. 2020, appendix B, as Dhariwal and Nichol 2021 changed it, on [B, C, *spatial] with 1, 2 or 3
    spatial dimensions.

    widths: channels of the levels from fine to coarse, whose sides halve; ``blocks`` residual blocks each on the way
    down, one more on the way up. Levels of up to ``attend`` places have attention, which also looks at a context of
    ``context_width`` if there is one. patch: pictures enter as so many times smaller ones with more channels (Hoogeboom
    et al. 2023, section 3.3), which a CPU takes that much faster. condition_width: of the vector that says something.
    """

    def __init__(
        self, shape: Sequence[int], outputs: int, widths: Sequence[int] = (64, 128), blocks: int = 1, patch: int = 1,
        attend: int = 64, condition_width: int | None = None, context_width: int | None = None, heads: int = 4,
    ):
        super().__init__()
        (channels, *spatial), self.patch = shape, patch
        dims, cell = len(spatial), patch ** len(spatial)
        if any(side % patch for side in spatial):
            raise ValueError(f"patches of {patch} do not divide sides {spatial}")
        places = [math.prod(coded_size([side // patch for side in spatial], level)) for level in range(len(widths))]
        width = 4 * widths[0]
        self.noise = _Noise(widths[0], width)
        self.said = None if condition_width is None else nn.Linear(condition_width, width)

        def block(inputs: int, level: int) -> nn.Module:
            looks = places[level] <= attend
            return _Block(inputs, widths[level], dims, width, heads if looks else 0, context_width)

        self.enter = convolution(dims)(channels * cell, widths[0], 3, padding=1)
        self.down, self.up, kept = nn.ModuleList(), nn.ModuleList(), [widths[0]]
        for level, own in enumerate(widths):
            if level:
                self.down.append(Downsample(widths[level - 1], own, dims))
                kept.append(own)
            for _ in range(blocks):
                self.down.append(block(own, level))
                kept.append(own)
        self.middle = block(widths[-1], len(widths) - 1)
        before = widths[-1]
        for level in reversed(range(len(widths))):
            for _ in range(blocks + 1):
                self.up.append(block(before + kept.pop(), level))
                before = widths[level]
            if level:
                self.up.append(Upsample(before, before, dims))
        last = zero(convolution(dims)(before, outputs * cell, 3, padding=1))
        self.leave = nn.Sequential(group_norm(before), nn.SiLU(), last)

    def forward(
        self, x: Tensor, noise: Tensor, vector: Tensor | None = None, context: Tensor | None = None,
        mask: Tensor | None = None, beside: Tensor | None = None,
    ) -> Tensor:
        """x [B, C, *spatial], noise [B]; vector [B, condition_width]; context [B, T, context_width] and its mask [B,
        T]; beside: the last of the C channels, where x has only the others. Returns [B, outputs, *spatial], 0 at first.
        Differentiable in: all but noise and mask."""
        x = to_patches(x if beside is None else torch.cat((x, beside), 1), self.patch)
        if x.ndim == 4:  # convolutions and norms run up to twice as fast on a CPU so
            x = x.contiguous(memory_format=torch.channels_last)
        known = self.noise(noise)
        known = functional.silu(known if vector is None else known + self.said(vector))
        kept = [x := self.enter(x)]
        for layer in self.down:
            x = layer(x, known, context, mask) if isinstance(layer, _Block) else layer(x)
            kept.append(x)
        x = self.middle(x, known, context, mask)
        for layer in self.up:
            x = layer(torch.cat((x, kept.pop()), 1), known, context, mask) if isinstance(layer, _Block) else layer(x)
        return from_patches(self.leave(x), self.patch)


class NoisyClassifier(nn.Module):
    """Half of a U: what a picture [B, C, *spatial] with noise shows, as logits [B, classes] (Dhariwal and Nichol 2021,
    section 4). widths, patch: as of :class:`UNet`."""

    def __init__(self, shape: Sequence[int], classes: int, widths: Sequence[int] = (32, 64), patch: int = 1):
        super().__init__()
        (channels, *spatial), self.patch = shape, patch
        dims, cell, width = len(spatial), patch ** len(spatial), 4 * widths[0]
        self.noise = _Noise(widths[0], width)
        self.enter = convolution(dims)(channels * cell, widths[0], 3, padding=1)
        self.layers = nn.ModuleList([_Block(widths[0], widths[0], dims, width, 0, None)])
        for before, own in zip(widths, widths[1:], strict=False):
            self.layers += [Downsample(before, own, dims), _Block(own, own, dims, width, 0, None)]
        self.leave = nn.Sequential(group_norm(widths[-1]), nn.SiLU(), nn.Flatten(2))
        self.out = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """x: pictures with noise of deviation ``level``, [] or [B]. Differentiable in: x."""
        x, noise = preconditioned(x, over(level, x))
        known = functional.silu(self.noise(noise))
        x = self.enter(to_patches(x, self.patch))
        for layer in self.layers:
            x = layer(x, known, None, None) if isinstance(layer, _Block) else layer(x)
        return self.out(self.leave(x).mean(2))


class _Noise(nn.Sequential):
    """noise [B] -> [B, width], by sines and cosines of it."""

    def __init__(self, inputs: int, width: int):
        super().__init__(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, noise: Tensor) -> Tensor:
        return super().forward(position_encoding(NOISE_SCALE * noise, self[0].in_features))


class _Block(nn.Module):
    """A residual block, and attention of its places to each other and to a context where heads are not 0."""

    def __init__(self, inputs: int, width: int, dims: int, known_width: int, heads: int, context_width: int | None):
        super().__init__()
        self.block = ResidualBlock(inputs, width, dims, known_width)
        self.looks = TransformerBlock(width, heads, context_width) if heads else None

    def forward(self, x: Tensor, known: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        x = self.block(x, known)
        if self.looks is None:
            return x
        context = context if self.looks.crosses else None
        return self.looks(x.flatten(2).mT, context, context_mask=mask).mT.reshape(x.shape)


def to_patches(x: Tensor, patch: int) -> Tensor:
    """[B, C, *spatial] -> [B, C patch^dims, *spatial / patch]: what is in a cell becomes channels. Differentiable."""
    for axis in range(2, x.ndim) if patch > 1 else ():
        x = x.unflatten(axis, (-1, patch)).movedim(axis + 1, 2).flatten(1, 2)
    return x


def from_patches(x: Tensor, patch: int) -> Tensor:
    """The way back of :func:`to_patches`. Differentiable in: x."""
    for axis in reversed(range(2, x.ndim)) if patch > 1 else ():
        x = x.unflatten(1, (-1, patch)).movedim(2, axis + 1).flatten(axis, axis + 1)
    return x
