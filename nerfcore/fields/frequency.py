"""What the hash grid is compared with: a network of Mildenhall et al. 2020 in the place of all that `ngp` learns."""

from __future__ import annotations

import torch
from torch import Tensor

from nerfcore.fields.base import Field, register_field
from nerfcore.fields.nerf import RATE, NerfNetwork


@register_field("frequency")
class FrequencyField(Field):
    """Frequencies of the position and of the direction into a large network (Müller et al. 2022, section 5.4, compare
    with it). Rays march through the cells that an occupancy grid says are not empty, as those of `ngp` do: only the
    encoding and what has to learn in its stead are another.

    octaves, view_octaves: of γ(x) and γ(d). depth, width: of the network.
    """

    presets = {
        "fast": dict(depth=4, width=128),
        "default": dict(depth=8, width=256),
        "best": dict(depth=8, width=256),
    }

    def __init__(
        self, octaves: int = 10, view_octaves: int = 4, depth: int = 8, width: int = 256, backend: str = "auto"
    ):
        super().__init__()
        self.config = dict(octaves=octaves, view_octaves=view_octaves, depth=depth, width=width)
        self.network = NerfNetwork(**self.config)

    def initialise(self, generator: torch.Generator) -> None:
        self.network.initialise(generator)

    def rate(self, name: str) -> float:
        return RATE

    def density(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.density(x)

    def color(self, embedding: Tensor, direction: Tensor, ray_indices: Tensor | None = None) -> Tensor:
        return self.network.color(embedding, direction, ray_indices)
