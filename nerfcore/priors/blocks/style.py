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
leaky = nn.LeakyReLU(0.2)
CENTRE_COUNT = 4096  # styles whose mean truncation pulls to
INTERPOLATION = ("linear", "bilinear", "trilinear")


class Equalised(nn.Module):
    """A linear layer (dims 0) or a convolution whose weights are drawn from the standard normal distribution and scaled
    as they are used, so that Adam moves all layers at one relative speed (Karras et al. 2018, progressive growing,
    section 4.1), times ``rate``. Biases begin at ``bias``. gain: deviation of the output for a normal input."""

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
        layers = (Equalised(width if i else inputs, width, gain=HE, rate=0.01) for i in range(depth))
        super().__init__(*(part for layer in layers for part in (layer, leaky)))

    def forward(self, noise: Tensor) -> Tensor:
        return super().forward(unit(noise))


class ModulatedConvolution(nn.Module):
    """A convolution whose weights a style scales by input channel and, if ``demodulate``, norms by output channel
    (Karras et al. 2020, equations 1 and 3), and a bias.

    With one kernel the input is scaled instead, all examples share one convolution, and the output is divided: the
    same sums in another order, without weights of its own for each example. With a ``bank`` of several, a style also
    mixes these by a softmax (Kang et al. 2023, equation 5), and every example does have weights of its own. gain:
    deviation of a demodulated channel.
    """

    def __init__(
        self, inputs: int, outputs: int, dims: int, side: int, style_width: int, demodulate: bool = True, bank: int = 1,
        gain: float = 1.0,
    ):
        super().__init__()
        self.demodulate, self.gain, self.scale = demodulate, gain, 1 / math.sqrt(inputs * side**dims)
        self.weight = nn.Parameter(torch.randn(bank, outputs, inputs, *[side] * dims))
        self.bias = nn.Parameter(torch.zeros(outputs, *[1] * dims))
        self.style = Equalised(style_width, inputs, bias=1.0)
        self.choice = Equalised(style_width, bank) if bank > 1 else None

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x [B, inputs, *spatial], or [1, …] where all examples share it, and style [B, style_width] -> [B, outputs,
        *spatial]. Differentiable in: x, style (any order)."""
        shape, kernels, scale = (len(style), -1, *[1] * (x.ndim - 2)), self.weight * self.scale, self.style(style)
        if self.choice is not None:
            mixed = torch.einsum("bn,n...->b...", self.choice(style).softmax(1), kernels)
            power, x = mixed.flatten(3).square().sum(3), x * scale.view(shape)
            x = _apply(x.flatten(0, 1)[None], mixed.flatten(0, 1), groups=len(x))[0].unflatten(0, (len(x), -1))
        else:
            power = kernels[0].flatten(2).square().sum(2).expand(len(style), -1, -1)
            x = _apply(x * scale.view(shape), kernels[0]) if len(x) > 1 else self._of_constant(x, kernels[0], scale)
        if not self.demodulate:
            return x + self.bias
        norm = self.gain * (torch.einsum("boi,bi->bo", power, scale.square()) + 1e-8).rsqrt()
        return torch.addcmul(self.bias, x, norm.view(shape))

    def _of_constant(self, x: Tensor, kernel: Tensor, scale: Tensor) -> Tensor:
        """A sum of the channels' convolutions, which are then the same for all examples, by their scales [B, inputs]:
        of a wide constant a small part of the work."""
        each = _apply(x, kernel.transpose(0, 1).flatten(0, 1)[:, None], groups=x.shape[1])
        return (scale @ each.view(x.shape[1], -1)).view(len(scale), -1, *x.shape[2:])


class StyleLayer(nn.Module):
    """A modulated convolution of 3 with the gain ``HE``, a noise picture of learned strength that begins at 0, and a
    leaky rectifier (Karras et al. 2020, figure 2c). ``up``: the sides are doubled after the convolution, which costs a
    quarter so."""

    def __init__(self, inputs: int, outputs: int, dims: int, style_width: int, up: bool = False, bank: int = 1):
        super().__init__()
        self.convolution = ModulatedConvolution(inputs, outputs, dims, 3, style_width, bank=bank, gain=HE)
        self.up, self.strength = up, nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, style: Tensor, random: torch.Generator) -> Tensor:
        """Differentiable in: x, style."""
        x = double(self.convolution(x, style)) if self.up else self.convolution(x, style)
        noise = torch.randn(len(x), 1, *x.shape[2:], generator=random, device=random.device).to(x)
        return leaky(torch.addcmul(x, self.strength, noise))


class ToPictures(nn.ModuleList):
    """What the features of each level, from coarse to fine, add to the picture (Karras et al. 2020, figure 7b)."""

    def __init__(self, widths: Sequence[int], channels: int, dims: int, style_width: int):
        super().__init__(ModulatedConvolution(width, channels, dims, 1, style_width, False) for width in widths)

    def forward(self, features: Sequence[Tensor], styles: Sequence[Tensor]) -> list[Tensor]:
        """Features of the last levels, each of which doubles the sides, with the style of each -> their pictures in
        (-1, 1). Differentiable in: all."""
        sums: list[Tensor] = []
        for layer, x, style in zip(self, features, styles, strict=True):
            sums.append(layer(x, style) + double(sums[-1]) if sums else layer(x, style))
        return [x.tanh() for x in sums]


def distance_attention(key: Tensor, value: Tensor) -> Tensor:
    """Attention whose logits are minus the squared distances of keys, which serve as queries too (Kim et al. 2021, as
    Kang et al. 2023 take it, section 3.2): its slope stays bounded where that of products does not. key, value
    [..., T, N] -> [..., T, N]. Differentiable in: key, value."""
    logits = 2 * key @ key.mT - key.square().sum(-1)[..., None, :]  # and -|q|², which a softmax does not see
    return (logits / math.sqrt(key.shape[-1])).softmax(-1) @ value


class TextAttention(nn.Module):
    """Places look at each other, then at the tokens of a caption: what is found is added, times gains that begin at a
    tenth (Kang et al. 2023, section 3.2)."""

    def __init__(self, width: int, heads: int, context_width: int):
        super().__init__()
        self.heads, self.gains = heads, nn.Parameter(torch.full((2,), 0.1))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.key_value, self.out = nn.Linear(width, 2 * width, bias=False), nn.Linear(width, width)
        self.cross = Attention(width, heads, context_width)

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """x [B, width, *spatial], tokens [B, T, context_width], mask [B, T] -> as x. Differentiable in: x, tokens."""
        places = x.flatten(2).mT
        split = self.key_value(self.norms[0](places)).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        places = places + self.gains[0] * self.out(distance_attention(*split).transpose(1, 2).flatten(2))
        places = places + self.gains[1] * self.cross(self.norms[1](places), tokens, mask)
        return places.mT.reshape(x.shape)


class Synthesis(nn.Module):
    """g of Karras et al. 2019 with the layers of 2020: from a learned constant to a picture. Two layers a level, one at
    the coarsest; levels of up to ``attend`` places also look at a caption. widths: channels of the levels from fine to
    coarse, whose sides halve; constant: of what all pictures begin with, as the coarsest if it is 0; pictures: how many
    of the last levels add to the picture, all if it is 0."""

    def __init__(
        self, shape: Sequence[int], widths: Sequence[int], style_width: int, constant: int = 0, pictures: int = 0,
        bank: int = 1, attend: int = 0, context_width: int | None = None, heads: int = 4,
    ):
        super().__init__()
        (channels, *spatial), back = shape, list(reversed(widths))
        dims, coarse = len(spatial), coded_size(spatial, len(widths) - 1)
        self.constant = nn.Parameter(torch.randn(constant or back[0], *coarse))
        self.layers = nn.ModuleList([StyleLayer(constant or back[0], back[0], dims, style_width, bank=bank)])
        for before, width in zip(back, back[1:], strict=False):
            self.layers.append(StyleLayer(before, width, dims, style_width, up=True, bank=bank))
            self.layers.append(StyleLayer(width, width, dims, style_width, bank=bank))
        self.to_pictures = ToPictures(back[-pictures:], channels, dims, style_width)
        attends = [width for i, width in enumerate(back) if math.prod(coarse) * 2 ** (dims * i) <= attend]
        self.attention = nn.ModuleList(TextAttention(width, heads, context_width) for width in attends)
        self.num_layers = len(self.layers)

    def forward(
        self, styles: Tensor, random: torch.Generator, tokens: Tensor | None = None, mask: Tensor | None = None
    ) -> list[Tensor]:
        """styles [B, num_layers, style_width], of layers from coarse to fine; tokens and mask of a caption. Returns the
        picture after each level that adds to it, from coarse to fine, in (-1, 1). Differentiable in: styles, tokens."""
        x, features = self.constant[None], []
        for number, layer in enumerate(self.layers):
            x = layer(x, styles[:, number], random)
            if number % 2 == 0:  # the last layer of its level
                if number // 2 < len(self.attention):
                    x = self.attention[number // 2](x, tokens, mask)
                features.append(x)
        shown = len(self.to_pictures)
        return self.to_pictures(features[-shown:], styles.unbind(1)[::2][-shown:])


class StyleGenerator(nn.Module):
    """Noise to styles to pictures: ``mapping`` and ``synthesis``."""

    def __init__(self, latent: int, mapping: Mapping, synthesis: nn.Module):
        super().__init__()
        self.latent, self.mapping, self.synthesis = latent, mapping, synthesis

    def styles(self, count: int, random: torch.Generator, said: Tensor | None = None) -> Tensor:
        """[count, num_layers, style_width], the same in all layers; said [count, …]: of captions, beside the noise."""
        noise = torch.randn(count, self.latent, generator=random, device=random.device)
        noise = noise.to(self.mapping[0].weight)
        style = self.mapping(noise if said is None else torch.cat((noise, said), 1))
        return style[:, None].repeat(1, self.synthesis.num_layers, 1)

    def forward(self, count: int, random: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Pictures [count, C, *spatial] in (-1, 1), of styles that are ``truncation`` times as far from the mean of
        many, which are always the same (Karras et al. 2019, appendix B)."""
        styles = self.styles(count, random)
        if truncation != 1:
            centre = self.styles(CENTRE_COUNT, torch.Generator().manual_seed(0)).mean(0)
            styles = torch.lerp(centre, styles, truncation)
        return self.synthesis(styles, random)[-1]


def _apply(x: Tensor, weight: Tensor, bias: Tensor | None = None, groups: int = 1) -> Tensor:
    """The linear layer or convolution of same sides that a weight [outputs, inputs, *kernel] stands for."""
    if weight.ndim == 2:
        return functional.linear(x, weight, bias)
    if x.ndim == 4 and groups == 1:  # convolutions and what follows them run two to three times as fast on a CPU so
        x = x.contiguous(memory_format=torch.channels_last)
    apply = (functional.conv1d, functional.conv2d, functional.conv3d)[weight.ndim - 3]
    return apply(x, weight, bias, padding=weight.shape[-1] // 2, groups=groups)
