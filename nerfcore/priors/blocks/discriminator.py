"""Networks that tell true pictures [B, C, *spatial] from false ones, as logits: above 0 is true."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nerfcore.priors.blocks.convolution import coded_size, convolution
from nerfcore.priors.blocks.initialise import initialise
from nerfcore.priors.blocks.style import HE, Equalised, leaky, unit

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class StridedConvolutions(nn.Sequential):
    """[B, channels, *spatial] -> [B, widths[-1], *spatial / 2^len(widths)]: convolutions of 4 that halve the sides,
    batch norm after all but the first, leaky rectifiers of slope 0.2 (Radford et al. 2016, section 3)."""

    def __init__(self, channels: int, dims: int, widths: Sequence[int]):
        layers: list[nn.Module] = []
        for before, width in zip((channels, *widths[:-1]), widths, strict=True):
            layers.append(convolution(dims)(before, width, 4, stride=2, padding=1))
            layers += [BATCH_NORMS[dims - 1](width)] if len(layers) > 1 else []
            layers.append(nn.LeakyReLU(0.2))
        super().__init__(*layers)


def strided_discriminator(shape: Sequence[int], widths: Sequence[int]) -> nn.Sequential:
    """Pictures [B, *shape] -> logits [B, 1] (Radford et al. 2016)."""
    channels, *spatial = shape
    flat = widths[-1] * math.prod(coded_size(spatial, len(widths)))
    judges = StridedConvolutions(channels, len(spatial), widths), nn.Flatten(), nn.Linear(flat, 1)
    return initialise(nn.Sequential(*judges), "normal")


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches alone (Isola et al. 2017, section 2.2.2): what is true of texture is, everywhere."""

    def __init__(self, channels: int, dims: int = 2, widths: Sequence[int] = (32, 64)):
        super().__init__()
        self.body = StridedConvolutions(channels, dims, widths)
        self.head = convolution(dims)(widths[-1], 1, 3, padding=1)
        initialise(self, "normal")

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits [B, 1, *spatial / 2^len(widths)], one a patch. Differentiable in: pictures (twice)."""
        return self.head(self.body(pictures))


class ResidualDiscriminator(nn.Module):
    """Residual blocks that halve the sides, and a head that sees how much a batch varies (Karras et al. 2020, table 1).
    widths: channels of the levels from fine to coarse. condition_width: of embeddings that pictures are to match, which
    add their product with what the head has seen (Miyato and Koyama 2018, equation 3). multi_scale: a picture also
    enters at every coarser level, and is judged at every level that it passes (Kang et al. 2023, section 3.3)."""

    def __init__(
        self, shape: Sequence[int], widths: Sequence[int], condition_width: int | None = None, multi_scale: bool = False
    ):
        super().__init__()
        (channels, *spatial), dims, last = shape, len(shape) - 1, len(widths) - 1
        entered, judged = (range(last + 1),) * 2 if multi_scale else ((0,), (last,))
        coarse = coded_size(spatial, last)
        self.enter = nn.ModuleList(Equalised(channels, widths[i], dims, gain=HE) for i in entered)
        self.blocks = nn.ModuleList(_Halving(widths[i], widths[i + 1], dims) for i in range(last))
        self.heads = nn.ModuleDict({str(i): _Head(widths[i], dims, coarse, condition_width) for i in judged})

    def forward(self, pyramid: Tensor | Sequence[Tensor], condition: Tensor | None = None) -> Tensor:
        """pyramid: pictures [B, C, *spatial], or with multi_scale those and their halves, from fine to coarse, as
        :func:`pyramid_of` makes them; condition: [B, condition_width], or [B, M, condition_width] for several verdicts
        on each picture. Returns logits [B, K] or [B, M, K], K = 1 or, of L levels, L (L + 1) / 2. Differentiable in:
        pyramid (twice), condition."""
        pyramid = [pyramid] if isinstance(pyramid, Tensor) else pyramid
        if len(pyramid) != len(self.enter):
            raise ValueError(f"the discriminator sees {len(self.enter)} sizes of a picture, got {len(pyramid)}")
        hidden, logits = [], []
        for level in range(len(self.blocks) + 1):
            hidden = [self.blocks[level - 1](x) for x in hidden]
            if level < len(self.enter):
                hidden.append(leaky(self.enter[level](pyramid[level])))
            if str(level) in self.heads:
                logits += [self.heads[str(level)](x, condition) for x in hidden]
        return torch.cat(logits, -1)


def halve(x: Tensor) -> Tensor:
    """[B, C, *spatial] -> [B, C, *spatial / 2], means of neighbours. Differentiable in: x (any order)."""
    pool = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[x.ndim - 3]
    return pool(x, 2)


def pyramid_of(pictures: Tensor, levels: int) -> list[Tensor]:
    """Pictures and their halves, from fine to coarse. Differentiable in: pictures (any order)."""
    found = [pictures]
    while len(found) < levels:
        found.append(halve(found[-1]))
    return found


def batch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """x [B, C, …] with one more channel: the mean deviation of its values among ``group`` examples, by which variety
    can be told (Karras et al. 2018, progressive growing, section 3). A batch that is no multiple is one group.
    Differentiable in: x (any order)."""
    count = group if len(x) % group == 0 else len(x)
    groups = x.unflatten(0, (count, -1))
    variance = (groups - groups.mean(0)).square().mean(0)  # torch.var is slow along the first dimension
    deviation = (variance + 1e-8).sqrt().flatten(1).mean(1)
    return torch.cat((x, deviation.repeat(count).view(-1, *[1] * (x.ndim - 1)).expand_as(x[:, :1])), 1)


class _Halving(nn.Module):
    def __init__(self, inputs: int, outputs: int, dims: int):
        super().__init__()
        self.first, self.second = (Equalised(inputs, width, dims, 3, gain=HE) for width in (inputs, outputs))
        self.skip = Equalised(inputs, outputs, dims)

    def forward(self, x: Tensor) -> Tensor:
        inside = leaky(self.second(halve(leaky(self.first(x)))))
        return (inside + self.skip(halve(x))) / math.sqrt(2)


class _Head(nn.Module):
    def __init__(self, width: int, dims: int, places: tuple[int, ...], condition_width: int | None):
        super().__init__()
        self.places = places
        self.convolution = Equalised(width + 1, width, dims, 3, gain=HE)
        self.inner, self.out = Equalised(width * math.prod(places), width, gain=HE), Equalised(width, 1)
        self.project = None if condition_width is None else Equalised(condition_width, width)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        while tuple(x.shape[2:]) != self.places:
            x = halve(x)
        x = leaky(self.inner(leaky(self.convolution(batch_deviation(x))).flatten(1)))
        if self.project is None:
            return self.out(x)
        x = x.view(len(x), *[1] * (condition.ndim - 2), -1)
        return self.out(x) + (x * unit(self.project(condition))).sum(-1, keepdim=True) / math.sqrt(x.shape[-1])
