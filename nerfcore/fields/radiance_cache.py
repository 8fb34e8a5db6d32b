"""A radiance cache: light that leaves surfaces, learned while pictures are traced (Müller et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nerfcore.fields._networks import draw, matrices
from nerfcore.fields.base import register_field
from nerfcore.ops.hash_grid import HashGridLevels, hash_grid
from nerfcore.ops.mlp import mlp
from nerfcore.ops.spherical_harmonics import spherical_harmonics

MAX_LOG_RADIANCE = 12.0


@register_field("radiance_cache")
class RadianceCache(nn.Module):
    """Hash grid of the position, spherical harmonics of the direction towards the viewer, normal, roughness and albedo
    -> MLP (two hidden layers) -> log of the light that is thrown back, per albedo. It is no field of the renderer:
    nothing in it has a density.

    config: keyword arguments that rebuild it, JSON-able.
    """

    def __init__(
        self,
        num_levels: int = 8,
        features: int = 4,
        log2_table: int = 15,
        coarsest: int = 8,
        finest: int = 256,
        hidden: int = 64,
        sh_degree: int = 3,
        backend: str = "auto",
    ):
        super().__init__()
        self.config = dict(
            num_levels=num_levels, features=features, log2_table=log2_table, coarsest=coarsest, finest=finest,
            hidden=hidden, sh_degree=sh_degree,
        )
        self.levels, self.backend = HashGridLevels(3, num_levels, features, log2_table, coarsest, finest), backend
        self.sh_degree = sh_degree
        self.table = nn.Parameter(torch.zeros(self.levels.num_entries, features))
        self.mlp = matrices(self.levels.out_features + sh_degree**2 + 7, hidden, hidden, 3)

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the parameters, see :func:`~nerfcore.fields._networks.draw`."""
        draw(self.table, self.mlp, generator)

    def radiance(self, x: Tensor, out: Tensor, normal: Tensor, albedo: Tensor, roughness: Tensor) -> Tensor:
        """Radiance [N, 3] >= 0, linear, without what surfaces emit, along unit vectors ``out`` [N, 3] from points x [N,
        3] in [0, 1] of surfaces with unit normals [N, 3], albedo [N, 3] and roughness [N]. Differentiable in: the
        parameters."""
        code = spherical_harmonics(out, self.sh_degree, backend=self.backend)
        encoded = hash_grid(x, self.table, self.levels, backend=self.backend)
        inputs = torch.cat((encoded, code, normal, albedo, roughness[:, None]), 1)
        return albedo * mlp(inputs, list(self.mlp), backend=self.backend).clamp(max=MAX_LOG_RADIANCE).exp()
