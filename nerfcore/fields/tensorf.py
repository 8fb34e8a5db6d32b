"""TensoRF: Chen et al. 2022, the vector-matrix decomposition."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from nerfcore.fields._grids import (
    add_smoothness,
    add_to_rows,
    density_of,
    growing_sizes,
    neighbours_of,
    some_rows,
)
from nerfcore.fields._networks import draw_matrices, matrices
from nerfcore.fields.base import Field, register_field
from nerfcore.ops.mlp import mlp
from nerfcore.ops.multilinear import multilinear
from nerfcore.ops.spherical_harmonics import spherical_harmonics

PLANE_AXES = ([0, 1], [0, 2], [1, 2])
LINE_AXES = [2, 1, 0]  # of each plane, the axis that is left
GROWTH = 1.4  # of a grid's resolution, each time
FINEST_AT = 0.3  # share of the budget
FIRST_SPREAD = 0.1  # of planes and lines


@register_field("tensorf")
class TensoRFField(Field):
    """Grids of density and of appearance as sums of products of planes and lines, section 4: each of the three pairs
    of axes has a plane [n, n, C] and the third axis a line [n, C]. The density is the sum of their products over pairs
    and channels; those of the appearance are multiplied by a matrix, the basis, and go, with spherical harmonics of the
    view direction, through a small MLP.

    resolution: corners along each axis of the finest grids; coarsest: of the first. density_features, color_features:
    C. appearance: rows that the basis leaves. sh_degree: bands of spherical harmonics. smooth: weight of the planes'
    total variation; sparse: of the mean magnitude of the density's.
    """

    presets = {
        "fast": dict(resolution=160),
        "default": dict(resolution=256),
        "best": dict(resolution=320, density_features=16, color_features=48),
    }
    tables = ("density_planes", "color_planes")
    grows = ("density_planes", "density_lines", "color_planes", "color_lines")

    def __init__(
        self,
        resolution: int = 256,
        coarsest: int = 96,
        density_features: int = 8,
        color_features: int = 24,
        appearance: int = 27,
        hidden: int = 64,
        sh_degree: int = 4,
        smooth: float = 0.05,
        sparse: float = 1e-3,
        backend: str = "auto",
    ):
        super().__init__()
        if not 2 <= coarsest <= resolution:
            raise ValueError(f"coarsest must be from 2 to resolution={resolution}, got {coarsest}")
        self.config = dict(
            resolution=resolution, coarsest=coarsest, density_features=density_features, color_features=color_features,
            appearance=appearance, hidden=hidden, sh_degree=sh_degree, smooth=smooth, sparse=sparse,
        )
        self.sh_degree, self.smooth, self.sparse, self.backend = sh_degree, smooth, sparse, backend
        self.sizes = growing_sizes(coarsest, resolution, GROWTH)
        for name, features in (("density", density_features), ("color", color_features)):
            setattr(self, f"{name}_planes", nn.Parameter(torch.zeros(3, coarsest, coarsest, features)))
            setattr(self, f"{name}_lines", nn.Parameter(torch.zeros(3, coarsest, features)))
        self.basis = nn.Parameter(torch.zeros(3 * color_features, appearance))
        self.color_mlp = matrices(appearance + sh_degree**2, hidden, hidden, 3)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draws the parameters: normal ones, and matrices after He et al. 2015."""
        for name in self.grows:
            self.get_parameter(name).normal_(0, FIRST_SPREAD, generator=generator)
        draw_matrices([self.basis, *self.color_mlp], generator)

    def rate(self, name):
        """As in section 5: networks learn more slowly than grids."""
        return 4 / 3 if name in self.grows else 0.2

    def density(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding is the point: the appearance has its own planes, which are read only where it shows."""
        return density_of(self._products(x, "density").sum((0, 2))), x

    def color(self, embedding: Tensor, direction: Tensor, ray_indices: Tensor | None = None) -> Tensor:
        code = spherical_harmonics(direction, self.sh_degree, backend=self.backend)
        if ray_indices is not None:
            code = code.index_select(0, ray_indices)
        products = self._products(embedding, "color").transpose(0, 1).flatten(1)
        appearance = mlp(products, [self.basis], backend=self.backend)
        return mlp(torch.cat((appearance, code), 1), list(self.color_mlp), "sigmoid", backend=self.backend)

    def _products(self, x: Tensor, name: str) -> Tensor:
        """[3, N, C]: of each plane with its line, at points [N, 3]."""
        planes, lines = self.get_parameter(f"{name}_planes"), self.get_parameter(f"{name}_lines")
        on_planes = torch.stack([x[:, axes] for axes in PLANE_AXES])
        on_lines = x[:, LINE_AXES].t()[:, :, None]
        adds_to = self.adds_to.get(f"{name}_planes")
        return multilinear(on_planes, planes, backend=self.backend, gradient=adds_to) * multilinear(
            on_lines, lines, backend=self.backend
        )

    def regularise(self, gradients, generator):
        """Total variation of the planes and sparsity of the density: section 4.4."""
        for name in self.tables:
            planes = self.get_parameter(name).detach()
            table = planes.flatten(0, -2)
            rows = some_rows(len(table), generator)
            if self.smooth:
                neighbours = neighbours_of(rows, planes.shape[1:3])
                add_smoothness(gradients[name], table, rows, neighbours, self.smooth)
            if self.sparse and name == "density_planes":
                add_to_rows(gradients[name], rows, self.sparse / len(rows) * table[rows].sign())

    @torch.no_grad()
    def grow(self, fraction, seen):
        size, last = self.density_planes.shape[1], len(self.sizes) - 1
        due = min(int(fraction / FINEST_AT * last), last)
        if self.sizes[due] <= size:
            return False
        for name in self.grows:
            setattr(self, name, nn.Parameter(resized(self.get_parameter(name), self.sizes[due])))
        return True

    def most_bytes(self):
        now, finest = self.density_planes.shape[1], self.config["resolution"]
        return super().most_bytes() * max(finest, now) ** 2 // now**2


def resized(grids: Tensor, size: int) -> Tensor:
    """Planes [B, n, n, C] or lines [B, n, C] with ``size`` corners along each axis, the outermost in their places."""
    mode = "bilinear" if grids.ndim == 4 else "linear"
    return interpolate(grids.movedim(-1, 1), size, mode=mode, align_corners=True).movedim(1, -1).contiguous()
