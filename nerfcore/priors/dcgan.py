"""Deep convolutional adversarial networks: Radford et al. 2016."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerfcore.priors.base import register_prior
from nerfcore.priors.blocks.adversarial import AdversarialPrior
from nerfcore.priors.blocks.convolution import coded_size
from nerfcore.priors.blocks.discriminator import BATCH_NORMS, StridedConvolutions
from nerfcore.priors.blocks.initialise import initialise

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@register_prior("dcgan")
class DCGAN(AdversarialPrior):
    """Strided convolutions and no pooling, batch norm everywhere but at the pictures, rectifiers in the generator and
    leaky ones in the discriminator, a tanh; weights and Adam as in section 4 of the paper.

    latent: numbers of the noise, uniform in [-1, 1]; widths: channels, each at half the sides of the one before.
    """

    tiny = dict(latent=4, widths=(8, 8))
    defaults = dict(latent=64, widths=(32, 64))

    def build(self, latent: int, widths: Sequence[int]) -> None:
        channels, *spatial = self.facts.shape
        coarse = coded_size(spatial, len(widths))
        self.generator = _TransposedGenerator(latent, self.facts.shape, widths, coarse)
        self.discriminator = nn.Sequential(
            StridedConvolutions(channels, len(spatial), widths),
            nn.Flatten(),
            nn.Linear(widths[-1] * math.prod(coarse), 1),
        )
        for module in (self.generator, self.discriminator):
            initialise(module, "normal")


class _TransposedGenerator(nn.Module):
    def __init__(self, latent: int, shape: Sequence[int], widths: Sequence[int], coarse: tuple[int, ...]):
        super().__init__()
        channels, dims = shape[0], len(coarse)
        back = tuple(reversed(widths))
        self.latent = latent
        self.project = nn.Linear(latent, back[0] * math.prod(coarse), bias=False)
        layers: list[nn.Module] = [nn.Unflatten(1, (back[0], *coarse))]
        for before, width in zip(back, (*back[1:], channels), strict=True):
            layers += [BATCH_NORMS[dims - 1](before), nn.ReLU()]
            layers.append(TRANSPOSED[dims - 1](before, width, 4, stride=2, padding=1))
        self.layers = nn.Sequential(*layers, nn.Tanh())

    def forward(self, count: int, random: torch.Generator) -> Tensor:
        noise = 2 * torch.rand(count, self.latent, generator=random, device=random.device) - 1
        return self.layers(self.project(noise.to(self.project.weight)))
