"""Deep convolutional adversarial networks: Radford et al. 2016."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from nerfcore.priors.base import register_prior
from nerfcore.priors.blocks.adversarial import AdversarialPrior, NoiseGenerator
from nerfcore.priors.blocks.convolution import TRANSPOSED, coded_size
from nerfcore.priors.blocks.discriminator import BATCH_NORMS, strided_discriminator
from nerfcore.priors.blocks.initialise import initialise


@register_prior("dcgan")
class DCGAN(AdversarialPrior):
    """Strided convolutions and no pooling, batch norm everywhere but at the pictures, rectifiers in the generator and
    leaky ones in the discriminator, a tanh; weights and Adam as in section 4 of the paper. The noise is normal.

    latent: numbers of the noise; widths: channels, each at half the sides of the one before.
    """

    tiny = dict(latent=4, widths=(32,), learning_rate=5e-3)
    defaults = dict(latent=64, widths=(32, 64))

    def build(self, latent: int, widths: Sequence[int]) -> None:
        channels, *spatial = self.facts.shape
        dims, coarse, back = len(spatial), coded_size(spatial, len(widths)), tuple(reversed(widths))
        flat = widths[-1] * math.prod(coarse)
        layers: list[nn.Module] = [nn.Linear(latent, flat), nn.Unflatten(1, (back[0], *coarse))]
        for before, width in zip(back, (*back[1:], channels), strict=True):
            layers += [BATCH_NORMS[dims - 1](before), nn.ReLU()]
            layers.append(TRANSPOSED[dims - 1](before, width, 4, stride=2, padding=1))
        self.generator = initialise(NoiseGenerator(latent, nn.Sequential(*layers, nn.Tanh())), "normal")
        self.discriminator = strided_discriminator(self.facts.shape, widths)
