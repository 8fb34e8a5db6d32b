"""The first generative adversarial network, on vectors and small pictures: Goodfellow et al. 2014."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain, pairwise

import torch
from torch import Tensor, nn

from nerfcore.errors import NerfcoreError
from nerfcore.priors.base import register_prior
from nerfcore.priors.blocks.adversarial import AdversarialPrior
from nerfcore.priors.blocks.initialise import initialise

NETWORKS = ("mlp", "affine")


@register_prior("gan")
class GAN(AdversarialPrior):
    """Both players see an example [C, *spatial] as a vector.

    latent: numbers of the normal noise; network: of the generator, "mlp" with a tanh in the end, or "affine", which
    reaches every normal distribution of as many dimensions and stays within no range; widths: of hidden layers.
    """

    batch_size = 128
    tiny = dict(latent=4, widths=(16,))
    defaults = dict(latent=16, network="mlp", widths=(128, 128), r1=0.1, learning_rate=1e-3)

    def build(self, latent: int, network: str, widths: Sequence[int]) -> None:
        if network not in NETWORKS:
            raise NerfcoreError(f"there is no generator {network!r}; choose {', '.join(NETWORKS)}")
        hidden = widths if network == "mlp" else ()
        self.generator = _VectorGenerator(latent, hidden, self.facts.shape, bounded=network == "mlp")
        self.discriminator = nn.Sequential(nn.Flatten(), *_layers(math.prod(self.facts.shape), widths, 1))
        for module in (self.generator, self.discriminator):
            initialise(module, "xavier")


class _VectorGenerator(nn.Module):
    def __init__(self, latent: int, widths: Sequence[int], shape: Sequence[int], bounded: bool):
        super().__init__()
        self.latent, self.shape = latent, tuple(shape)
        last = nn.Tanh() if bounded else nn.Identity()
        self.layers = nn.Sequential(*_layers(latent, widths, math.prod(shape)), last)

    def forward(self, count: int, random: torch.Generator) -> Tensor:
        weight = self.layers[0].weight
        noise = torch.randn(count, self.latent, generator=random, device=random.device).to(weight)
        return self.layers(noise).view(count, *self.shape)


def _layers(inputs: int, widths: Sequence[int], outputs: int) -> list[nn.Module]:
    sizes = (inputs, *widths)
    hidden = [(nn.Linear(before, width), nn.LeakyReLU(0.2)) for before, width in pairwise(sizes)]
    return [*chain(*hidden), nn.Linear(sizes[-1], outputs)]
