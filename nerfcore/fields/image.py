"""A picture as a field: Müller et al. 2022, section 5.1."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nerfcore.fields._networks import draw, matrices
from nerfcore.fields.base import register_field
from nerfcore.ops.hash_grid import HashGridLevels, hash_grid
from nerfcore.ops.mlp import mlp

COARSEST = 16
GROWTH = 1.65  # of the resolution from level to level, about
SMALLEST_TABLE, LARGEST_TABLE = 6, 20  # log2; what is larger pays only where training may take hours


@register_field("image")
class ImageField(nn.Module):
    """Hash grid over the picture, stretched to [0, 1]² -> MLP -> colour, as it is on disk (sRGB) and not limited to
    [0, 1]. It is no field of the renderer: nothing in it has a density.

    config: keyword arguments that rebuild it, JSON-able.
    """

    def __init__(
        self,
        num_levels: int = 8,
        features: int = 2,
        log2_table: int = 16,
        coarsest: int = COARSEST,
        finest: int = 512,
        hidden: int = 64,
        hidden_layers: int = 2,
        backend: str = "auto",
    ):
        super().__init__()
        self.config = dict(
            num_levels=num_levels,
            features=features,
            log2_table=log2_table,
            coarsest=coarsest,
            finest=finest,
            hidden=hidden,
            hidden_layers=hidden_layers,
        )
        self.levels, self.backend = HashGridLevels(2, num_levels, features, log2_table, coarsest, finest), backend
        self.table = nn.Parameter(torch.zeros(self.levels.num_entries, features))
        self.mlp = matrices(self.levels.out_features, *[hidden] * hidden_layers, 3)

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the parameters, see :func:`~nerfcore.fields._networks.draw`."""
        draw(self.table, self.mlp, generator)

    def color(self, x: Tensor) -> Tensor:
        """Colour [N, 3] at points x [N, 2] in [0, 1], x to the right and y down. Differentiable in: x, parameters."""
        return mlp(hash_grid(x, self.table, self.levels, backend=self.backend), list(self.mlp), backend=self.backend)


def image_shape(width: int, height: int, parameter_bytes: float) -> dict:
    """The arguments of an :class:`ImageField` for a picture of this size: levels up to half its longer side, and of
    tables and numbers of levels those whose parameters take most of so many bytes in half precision; or the least."""
    finest = max(max(width, height) // 2, 2 * COARSEST)
    levels = 1 + round(math.log(finest / COARSEST, GROWTH))
    shapes = [
        dict(num_levels=num_levels, finest=finest, log2_table=log2_table)
        for num_levels in (levels - 1, levels, levels + 1)
        for log2_table in range(SMALLEST_TABLE, LARGEST_TABLE + 1)
    ]
    sizes = [half_bytes(shape) for shape in shapes]
    fitting = [size for size in sizes if size <= parameter_bytes]
    return shapes[sizes.index(max(fitting) if fitting else min(sizes))]


def half_bytes(shape: dict) -> int:
    """Of the parameters of an :class:`ImageField` in half precision."""
    with torch.device("meta"):
        return 2 * sum(p.numel() for p in ImageField(**shape).parameters())
