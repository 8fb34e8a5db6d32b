"""Generators that a style steers: the mapping from noise to styles, layers that styles modulate, and the synthesis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nerfcore.priors.blocks.attention import Attention
from nerfcore.priors.blocks.convolution import coded_size

HE = math.sqrt(2)  # gain of layers that a rectifier follows
INTERPOLATION = ("linear", "bilinear", "trilinear")


class Equalised(nn.Module):
    """A linear layer (dims 0) or a convolution whose weights are drawn from the standard normal distribution and scaled
    as they are used, so that Adam moves all layers at one relative speed (Karras et al. 2018, progressive growing,
    section 4.1), times ``rate``. Biases begin at ``bias``. gain: deviation of the output for a normal input; the root
    of 2 is He's, for what a rectifier follows."""

    def __init__(
        self, inputs: int, outputs: int, dims: int = 0, side: int = 1, *, gain: float = 1.0, rate: float = 1.0,
        bias: float = 0.0,
    ):
        super().__init__()
        self.rate, self.scale = rate, gain * rate / math.sqrt(inputs * side**dims)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *[side] * dims) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, *spatial], or [..., inputs] for dims 0. Differentiable in: x (any order)."""
        return _apply(x, self.weight * self.scale, self.bias * self.rate)


def leaky(x: Tensor) -> Tensor:
    """Rectifier of slope 0.2 below 0. Differentiable in: x."""
    return functional.leaky_relu(x, 0.2)


def double(x: Tensor) -> Tensor:
    """[B, C, *spatial] -> [B, C, 2 * spatial], linear in between. Differentiable in: x (any order)."""
    return functional.interpolate(x, scale_factor=2, mode=INTERPOLATION[x.ndim - 3], align_corners=False)


def unit(x: Tensor) -> Tensor:
    """x [..., N] divided by the root of the mean of its squares. Differentiable in: x (any order)."""
    return x * (x.square().mean(-1, keepdim=True) + 1e-8).rsqrt()


class Mapping(nn.Sequential):
    """f of Karras et al. 2019, section 2: noise [B, inputs], of which only the direction counts, to styles [B, width]
    by ``depth`` layers that learn a hundredth as fast as others. Differentiable in: the noise."""

    def __init__(self, inputs: int, width: int, depth: int):
        sizes = (inputs, *[width] * depth)
        super().__init__(*(Equalised(sizes[i], width, gain=HE, rate=0.01) for i in range(depth)))

    def forward(self, noise: Tensor) -> Tensor:
        style = unit(noise)
        for layer in self:
            style = leaky(layer(style))
        return style


class ModulatedConvolution(nn.Module):
    """A convolution whose weights a style scales by input channel and, if ``demodulate``, norms by output channel
    (Karras et al. 2020, equations 1 and 3).

    With one kernel the input is scaled instead, all examples share one convolution, and the output is divided: the
    same sums in another order, without weights of its own for each example. With a ``bank`` of several, a style also
    mixes these by a softmax (Kang et al. 2023, equation 5), and every example does have weights of its own.
    """

    def __init__(
        self, inputs: int, outputs: int, dims: int, side: int, style_width: int, demodulate: bool = True, bank: int = 1
    ):
        super().__init__()
        self.demodulate, self.scale = demodulate, 1 / math.sqrt(inputs * side**dims)
        self.weight = nn.Parameter(torch.randn(bank, outputs, inputs, *[side] * dims))
        self.style = Equalised(style_width, inputs, bias=1.0)
        self.choice = Equalised(style_width, bank) if bank > 1 else None

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x [B, inputs, *spatial], style [B, style_width] -> [B, outputs, *spatial]. Differentiable in: x, style (any
        order)."""
        count, spatial = len(x), [1] * (x.ndim - 2)
        scale, kernels = self.style(style), self.weight * self.scale
        x = x * scale.view(count, -1, *spatial)
        if self.choice is None:
            x, power = _apply(x, kernels[0]), kernels[0].flatten(2).square().sum(2).expand(count, -1, -1)
        else:
            mixed = torch.einsum("bn,n...->b...", self.choice(style).softmax(1), kernels)
            power = mixed.flatten(3).square().sum(3)
            x = _apply(x.flatten(0, 1)[None], mixed.flatten(0, 1), groups=count).unflatten(1, (count, -1))[0]
        if self.demodulate:
            norm = torch.einsum("boi,bi->bo", power, scale.square()) + 1e-8
            x = x * norm.rsqrt().view(count, -1, *spatial)
        return x


class StyleLayer(nn.Module):
    """A modulated convolution of 3, a noise picture of learned strength that begins at 0, a bias and a leaky rectifier
    (Karras et al. 2020, figure 2c). ``up``: the sides are doubled after the convolution, which costs a quarter so."""

    def __init__(self, inputs: int, outputs: int, dims: int, style_width: int, up: bool = False, bank: int = 1):
        super().__init__()
        self.convolution = ModulatedConvolution(inputs, outputs, dims, 3, style_width, bank=bank)
        self.up, self.strength = up, nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs, *[1] * dims))

    def forward(self, x: Tensor, style: Tensor, random: torch.Generator) -> Tensor:
        """Differentiable in: x, style."""
        x = self.convolution(x, style)
        x = double(x) if self.up else x
        noise = torch.randn(len(x), 1, *x.shape[2:], generator=random, device=random.device).to(x)
        return leaky(x + self.strength * noise + self.bias)


class ToPicture(nn.Module):
    """Adds what features [B, inputs, *spatial] say to the picture so far, whose sides are doubled if it is smaller."""

    def __init__(self, inputs: int, channels: int, dims: int, style_width: int):
        super().__init__()
        self.convolution = ModulatedConvolution(inputs, channels, dims, 1, style_width, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels, *[1] * dims))

    def forward(self, x: Tensor, style: Tensor, picture: Tensor | None) -> Tensor:
        """Differentiable in: x, style, picture."""
        added = self.convolution(x, style) + self.bias
        if picture is None:
            return added
        return added + (picture if picture.shape[2:] == x.shape[2:] else double(picture))


class DistanceAttention(nn.Module):
    """Attention of places to places whose logits are minus the squared distance of keys that serve as queries too (Kim
    et al. 2021, as Kang et al. 2023 take it, section 3.2): its slope stays bounded where that of products does not."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.key_value, self.out = nn.Linear(width, 2 * width, bias=False), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] -> [B, T, width]. Differentiable in: x."""
        split = self.key_value(x).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        key, value = split  # [B, heads, T, width / heads]
        # -|q - k|² without -|q|², which the softmax does not see
        logits = (2 * key @ key.mT - key.square().sum(-1)[..., None, :]) / math.sqrt(key.shape[-1])
        return self.out((logits.softmax(-1) @ value).transpose(1, 2).flatten(2))


class TextAttention(nn.Module):
    """Places look at each other, then at the tokens of a caption: what is found is added, times gains that begin at a
    tenth (Kang et al. 2023, section 3.2)."""

    def __init__(self, width: int, heads: int, context_width: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.own, self.cross = DistanceAttention(width, heads), Attention(width, heads, context_width)
        self.gains = nn.Parameter(torch.full((2,), 0.1))

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """x [B, width, *spatial], tokens [B, T, context_width], mask [B, T] -> as x. Differentiable in: x, tokens."""
        places = x.flatten(2).mT
        places = places + self.gains[0] * self.own(self.norms[0](places))
        places = places + self.gains[1] * self.cross(self.norms[1](places), tokens, mask)
        return places.mT.reshape(x.shape)


class Synthesis(nn.Module):
    """g of Karras et al. 2019 as 2020 has it: from a learned constant, level by level, to a picture that each level
    adds to. Two layers a level, one at the coarsest; levels of up to ``attend`` places also look at a caption.

    widths: channels of the levels from fine to coarse; the sides halve from each to the next.
    """

    def __init__(
        self, shape: Sequence[int], widths: Sequence[int], style_width: int, bank: int = 1, attend: int = 0,
        context_width: int | None = None, heads: int = 4,
    ):
        super().__init__()
        channels, *spatial = shape
        dims, levels = len(spatial), len(widths)
        back, coarse = list(reversed(widths)), coded_size(spatial, levels - 1)
        self.constant = nn.Parameter(torch.randn(back[0], *coarse))
        first = [StyleLayer(back[0], back[0], dims, style_width, bank=bank)]
        self.layers = nn.ModuleList(first)
        self.to_picture = nn.ModuleList(ToPicture(width, channels, dims, style_width) for width in back)
        for before, width in zip(back, back[1:], strict=False):
            self.layers.append(StyleLayer(before, width, dims, style_width, up=True, bank=bank))
            self.layers.append(StyleLayer(width, width, dims, style_width, bank=bank))
        attends = [math.prod(coarse) * 2 ** (dims * level) <= attend for level in range(levels)]
        self.attention = nn.ModuleList(
            TextAttention(width, heads, context_width) if sees else nn.Identity()
            for width, sees in zip(back, attends, strict=True)
        )

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def forward(
        self, styles: Tensor, random: torch.Generator, tokens: Tensor | None = None, mask: Tensor | None = None
    ) -> list[Tensor]:
        """styles [B, num_layers, style_width], of layers from coarse to fine; tokens and mask of a caption. Returns the
        picture after each level, from coarse to fine, not clipped. Differentiable in: styles, tokens."""
        x, pictures = self.constant.expand(len(styles), *self.constant.shape), []
        for number, layer in enumerate(self.layers):
            x = layer(x, styles[:, number], random)
            if number % 2 == 0:  # the last layer of its level
                attention = self.attention[number // 2]
                x = attention(x, tokens, mask) if isinstance(attention, TextAttention) else x
                before = pictures[-1] if pictures else None
                pictures.append(self.to_picture[number // 2](x, styles[:, number], before))
        return pictures


def _apply(x: Tensor, weight: Tensor, bias: Tensor | None = None, groups: int = 1) -> Tensor:
    """The linear layer or convolution of same sides that a weight [outputs, inputs, *kernel] stands for."""
    if weight.ndim == 2:
        return functional.linear(x, weight, bias)
    if x.ndim == 4 and groups == 1:  # convolutions and what follows them run two to three times as fast on a CPU so
        x = x.contiguous(memory_format=torch.channels_last)
    apply = (functional.conv1d, functional.conv2d, functional.conv3d)[weight.ndim - 3]
    return apply(x, weight, bias, padding=weight.shape[-1] // 2, groups=groups)
