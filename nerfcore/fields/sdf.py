"""The signed distance to a surface: Müller et al. 2022, section 5.2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nerfcore.fields._networks import draw, matrices
from nerfcore.fields.base import Field, derivative, register_field
from nerfcore.ops.hash_grid import HashGridLevels, hash_grid
from nerfcore.ops.mlp import mlp


@register_field("sdf")
class SDFField(Field):
    """Hash grid -> MLP -> distance, in sides of the box, negative inside. It has neither density nor colour, and is
    shown by sphere tracing, :mod:`nerfcore.renderer.trace`."""

    def __init__(
        self,
        num_levels: int = 8,
        features: int = 4,
        log2_table: int = 17,
        coarsest: int = 16,
        finest: int = 512,
        hidden: int = 64,
        hidden_layers: int = 1,
        backend: str = "auto",
    ):
        super().__init__()
        if hidden_layers < 1:
            raise ValueError(f"hidden_layers must be at least 1, got {hidden_layers}")
        self.config = dict(
            num_levels=num_levels,
            features=features,
            log2_table=log2_table,
            coarsest=coarsest,
            finest=finest,
            hidden=hidden,
            hidden_layers=hidden_layers,
        )
        self.levels = HashGridLevels(3, num_levels, features, log2_table, coarsest, finest)
        self.backend = backend
        self.table = nn.Parameter(torch.zeros(self.levels.num_entries, features))
        self.mlp = matrices(self.levels.out_features, *[hidden] * hidden_layers, 1)

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the parameters, see :func:`~nerfcore.fields._networks.draw`."""
        draw(self.table, self.mlp, generator)

    def value(self, x: Tensor) -> Tensor:
        """x [N, 3] -> signed distance [N], in sides of the box.

        In the box [0, 1]³ what the field has learned. Outside ``sqrt(learned² + way²)`` of the nearest point of the box
        and the way there: a surface that lies in the box, which is convex, is nowhere nearer than that, so that spheres
        of this radius hold none of it. Differentiable in x and the parameters, first order.
        """
        nearest = x.clamp(0, 1)
        learned = self.learned(nearest)
        way2 = (x - nearest).square().sum(-1)
        outside = way2 > 0
        return torch.where(outside, torch.where(outside, way2 + learned.square(), 1).sqrt(), learned)

    def learned(self, x: Tensor) -> Tensor:
        """:meth:`value` of points [N, 3] in the box."""
        encoded = hash_grid(x, self.table, self.levels, backend=self.backend)
        return mlp(encoded, list(self.mlp), backend=self.backend)[:, 0]

    def gradient(self, x: Tensor) -> Tensor:
        """[N, 3]: the derivative of :meth:`value`, about unit length near the surface; not differentiable again. It
        jumps at the borders of the grid's cells."""
        return derivative(self.value, x)

    def normal(self, x: Tensor) -> Tensor:
        """Outward unit normals [N, 3]: the direction in which the distance grows; zero where it is flat."""
        return torch.nn.functional.normalize(self.gradient(x), dim=-1)
