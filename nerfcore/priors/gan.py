"""The first generative adversarial network, on vectors and small pictures: Goodfellow et al. 2014."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from nerfcore.errors import NerfcoreError
from nerfcore.priors.base import register_prior
from nerfcore.priors.blocks.adversarial import AdversarialPrior, NoiseGenerator
from nerfcore.priors.blocks.initialise import initialise

NETWORKS = ("mlp", "affine")


@register_prior("gan")
class GAN(AdversarialPrior):
    """Both players see an example [C, *spatial] as a vector.

    latent: numbers of the normal noise; network: of the generator, "mlp" with a tanh in the end, or "affine", which
    reaches every normal distribution of as many dimensions and stays within no range; widths: of hidden layers.
    """

    batch_size = 128
    tiny = dict(latent=4, widths=(64, 64), r1=0.02, learning_rate=3e-3)
    defaults = dict(latent=16, network="mlp", widths=(128, 128), r1=0.1, learning_rate=1e-3)

    def build(self, latent: int, network: str, widths: Sequence[int]) -> None:
        if network not in NETWORKS:
            raise NerfcoreError(f"there is no generator {network!r}; choose {', '.join(NETWORKS)}")
        size, mlp = math.prod(self.facts.shape), network == "mlp"
        layers = [*_layers(latent, widths if mlp else (), size), *([nn.Tanh()] if mlp else [])]
        layers.append(nn.Unflatten(1, self.facts.shape))
        self.generator = initialise(NoiseGenerator(latent, nn.Sequential(*layers)), "xavier")
        self.discriminator = initialise(nn.Sequential(nn.Flatten(), *_layers(size, widths, 1)), "xavier")


def _layers(inputs: int, widths: Sequence[int], outputs: int) -> list[nn.Module]:
    sizes = (inputs, *widths)
    hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.LeakyReLU(0.2))]
    return [*hidden, nn.Linear(sizes[-1], outputs)]
