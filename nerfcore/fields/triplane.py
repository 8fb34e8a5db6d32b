"""Three planes of features and a small decoder: Chan et al. 2022 (EG3D), section 4.1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nerfcore.fields._grids import add_smoothness, growing_sizes, neighbours_of, some_rows
from nerfcore.fields._networks import draw, matrices
from nerfcore.fields.base import Field, register_field
from nerfcore.fields.ngp import EMBEDDING, MAX_LOG_DENSITY
from nerfcore.fields.tensorf import PLANE_AXES, resized
from nerfcore.ops.mlp import mlp
from nerfcore.ops.multilinear import multilinear
from nerfcore.ops.spherical_harmonics import spherical_harmonics
from nerfcore.types import TouchedGradient

FINEST_AT = 0.3  # share of the budget


class TriplaneDecoder(nn.Module):
    """Density and colour of points from the planes of any scene, whether they were trained or a generator made them.

    Features of the three planes are summed -> density MLP (one hidden layer) -> embedding [16], whose first value is
    the log density; embedding and spherical harmonics of the view direction -> colour MLP (two hidden layers).
    Differentiable in planes, points and parameters (first order).
    """

    def __init__(self, features: int = 32, hidden: int = 64, sh_degree: int = 4, backend: str = "auto"):
        super().__init__()
        self.features, self.hidden, self.sh_degree, self.backend = features, hidden, sh_degree, backend
        self.density_mlp = matrices(features, hidden, EMBEDDING)
        self.color_mlp = matrices(EMBEDDING + sh_degree**2, hidden, hidden, 3)

    def density(
        self, planes: Tensor, x: Tensor, gradient: TouchedGradient | None = None
    ) -> tuple[Tensor, Tensor]:
        """planes [B, 3, H, W, C] of B scenes, of the axes xy, xz and yz, the first of them along H; their corners span
        the box. x [B, N, 3] in [0, 1] -> density [B, N] and embedding [B, N, 16] for :meth:`color`. gradient: as of
        :func:`~nerfcore.ops.multilinear.multilinear`."""
        if planes.ndim != 5 or planes.shape[1] != 3 or planes.shape[-1] != self.features:
            raise ValueError(
                f"planes must have shape [B, 3, H, W, C={self.features}], channels last, got {list(planes.shape)}"
            )
        if x.ndim != 3 or len(x) != len(planes) or x.shape[-1] != 3:
            raise ValueError(f"x must have shape [B={len(planes)}, N, 3], got {list(x.shape)}")
        on_planes = torch.stack([x[..., axes] for axes in PLANE_AXES], 1)
        features = multilinear(on_planes.flatten(0, 1), planes.flatten(0, 1), None, self.backend, gradient)
        features = features.view(len(planes), 3, -1, self.features).sum(1)
        embedding = mlp(features.flatten(0, 1), list(self.density_mlp), backend=self.backend)
        embedding = embedding.view(*x.shape[:2], EMBEDDING)
        return torch.exp(embedding[..., 0].clamp(max=MAX_LOG_DENSITY)), embedding

    def color(self, embedding: Tensor, direction: Tensor, ray_indices: Tensor | None = None) -> Tensor:
        """Colour [N, 3] of embeddings [N, 16] seen along unit directions [N, 3], or [R, 3] with ray_indices [N]."""
        code = spherical_harmonics(direction, self.sh_degree, backend=self.backend)
        if ray_indices is not None:
            code = code.index_select(0, ray_indices)
        return mlp(torch.cat((embedding, code), 1), list(self.color_mlp), "sigmoid", backend=self.backend)

    def forward(self, planes: Tensor, x: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """Density [B, N] and colour [B, N, 3] at points [B, N, 3] seen along unit directions [B, N, 3]."""
        density, embedding = self.density(planes, x)
        return density, self.color(embedding.flatten(0, 1), direction.flatten(0, 1)).view(x.shape)


@register_field("triplane")
class TriplaneField(Field):
    """Planes [3, n, n, C] of one scene and their decoder, which are trained together; :meth:`of` takes given ones.

    resolution: corners along each axis of the finest planes; coarsest: of the first. features: C. hidden, sh_degree: of
    the decoder. smooth: weight of the planes' total variation.
    """

    presets = {"fast": dict(resolution=160), "default": dict(resolution=256), "best": dict(resolution=384)}
    tables = ("planes",)
    grows = ("planes",)

    def __init__(
        self,
        resolution: int = 256,
        coarsest: int = 64,
        features: int = 32,
        hidden: int = 64,
        sh_degree: int = 4,
        smooth: float = 0.02,
        backend: str = "auto",
    ):
        super().__init__()
        if not 2 <= coarsest <= resolution:
            raise ValueError(f"coarsest must be from 2 to resolution={resolution}, got {coarsest}")
        self.config = dict(
            resolution=resolution, coarsest=coarsest, features=features, hidden=hidden, sh_degree=sh_degree,
            smooth=smooth,
        )
        self.smooth, self.sizes = smooth, growing_sizes(coarsest, resolution)
        self.planes = nn.Parameter(torch.zeros(3, coarsest, coarsest, features))
        self.decoder = TriplaneDecoder(features, hidden, sh_degree, backend)

    @classmethod
    def of(cls, planes: Tensor, decoder: TriplaneDecoder) -> TriplaneField:
        """A field of given planes [3, n, n, C], which a generator made, say: pictures of it are differentiable in
        them."""
        size = planes.shape[1]
        shape = dict(features=decoder.features, hidden=decoder.hidden, sh_degree=decoder.sh_degree)
        field = cls(size, size, **shape, backend=decoder.backend)
        del field.planes  # no parameter any more: what made the planes is trained, if anything
        field.planes, field.decoder = planes, decoder
        return field

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the parameters, see :func:`~nerfcore.fields._networks.draw`."""
        draw(self.planes, [*self.decoder.density_mlp, *self.decoder.color_mlp], generator)

    def density(self, x: Tensor) -> tuple[Tensor, Tensor]:
        density, embedding = self.decoder.density(self.planes[None], x[None], self.adds_to.get("planes"))
        return density[0], embedding[0]

    def color(self, embedding: Tensor, direction: Tensor, ray_indices: Tensor | None = None) -> Tensor:
        return self.decoder.color(embedding, direction, ray_indices)

    def regularise(self, gradients, generator):
        """Total variation, over a few places."""
        if self.smooth:
            table = self.planes.detach().flatten(0, -2)
            rows = some_rows(len(table), generator)
            neighbours = neighbours_of(rows, self.planes.shape[1:3])
            add_smoothness(gradients["planes"], table, rows, neighbours, self.smooth)

    @torch.no_grad()
    def grow(self, fraction, seen):
        last = len(self.sizes) - 1
        size = self.sizes[min(int(fraction / FINEST_AT * last), last)]
        if size <= self.planes.shape[1]:
            return False
        self.planes = nn.Parameter(resized(self.planes, size))
        return True

    def most_bytes(self):
        return super().most_bytes() * self.config["resolution"] ** 2 // self.planes.shape[1] ** 2
