"""Volume rendering of a field along rays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerfcore.fields.base import Field
from nerfcore.ops.composite import composite
from nerfcore.ops.intersect import intersect_box
from nerfcore.ops.march import march_rays
from nerfcore.renderer.occupancy import OccupancyGrid
from nerfcore.types import SampleLattice, Samples


@dataclass(frozen=True)
class Marching:
    """How samples are placed, in box units: step length near the camera, its growth with distance, and the nearest
    sample."""

    step: float
    cone_angle: float
    near: float

    @classmethod
    def for_cascades(cls, cascades: int) -> Marching:
        """√3/512 of the smallest cascade, growing by 1/256 of the distance where there are several; the nearest sample
        a tenth of the smallest cascade away: twice the step of Müller et al. 2022, which costs nothing in quality at
        our budgets."""
        side = 0.5 ** (cascades - 1)
        return cls(step=3**0.5 / 512 * side, cone_angle=0.0 if cascades == 1 else 1 / 256, near=0.1 * side)

    def lattice(
        self, occupancy: OccupancyGrid, stride: float = 1.0, max_samples: int = SampleLattice.max_samples
    ) -> SampleLattice:
        """The samples that rays have in the occupied cells, with steps ``stride`` times as long."""
        grid = occupancy.bits, occupancy.resolution, occupancy.cascades
        return SampleLattice(*grid, stride * self.step, stride * self.cone_angle, self.near, max_samples)


SHOWS = 2e-5
"""Weight below which a picture leaves out a sample's colour."""


def sample_rays(
    origin: Tensor, direction: Tensor, lattice: SampleLattice, jitter: Tensor | None = None, backend: str = "auto"
) -> Samples:
    """Samples of box rays (origin, direction [R, 3]) in the occupied part of the box."""
    corners = origin.new_zeros(3), origin.new_ones(3)
    near, far = intersect_box(origin, direction, *corners, near=lattice.near, backend=backend)
    return march_rays(
        origin, direction, near, far, lattice.bits, lattice.resolution, lattice.cascades, lattice.step,
        lattice.cone_angle, jitter, lattice.max_samples, backend=backend,
    )


def render_samples(
    field: Field,
    origin: Tensor,
    direction: Tensor,
    samples: Samples,
    backend: str = "auto",
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Colour [R, 3] without background, opacity [R], distance [R] (weighted sum) and weights [S] of sampled rays;
    differentiable in the field's parameters."""
    ray = samples.ray_indices
    x = sample_positions(origin, direction, samples, ray)
    sigma, embedding = field.density(x)
    rgb = field.color(embedding, direction, ray)
    return composite(sigma, rgb, samples, backend=backend)


def sample_positions(origin: Tensor, direction: Tensor, samples: Samples, ray_indices: Tensor) -> Tensor:
    """[S, 3]: the middle of each interval."""
    return torch.addcmul(
        origin.index_select(0, ray_indices), direction.index_select(0, ray_indices), samples.t_mid[:, None]
    )


@torch.no_grad()
def render_rays(
    field: Field,
    origin: Tensor,
    direction: Tensor,
    lattice: SampleLattice,
    normals: bool = False,
    backend: str = "auto",
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The same for pictures: colours and normals are computed only where they show.

    Returns rgb [R, 3] without background, opacity [R], distance [R] (weighted sum), normal [R, 3] or None.
    """
    samples = sample_rays(origin, direction, lattice, backend=backend)
    ray = samples.ray_indices
    x = sample_positions(origin, direction, samples, ray)
    sigma, embedding = field.density(x)
    rgb = torch.zeros_like(x)
    _, opacity, distance, weight = composite(sigma, rgb, samples, backend=backend)
    shows = torch.nonzero(weight > SHOWS).squeeze(1)
    shown_ray = ray[shows]
    shown = field.color(embedding[shows], direction, shown_ray)
    shown_weight = torch.zeros_like(opacity).index_add_(0, shown_ray, weight[shows])
    color = torch.zeros_like(origin).index_add_(0, shown_ray, weight[shows, None] * shown)
    color *= (opacity / shown_weight.clamp(min=1e-10))[:, None]  # what was left out has the colour of the rest
    if not normals:
        return color, opacity, distance, None
    normal = torch.zeros_like(origin).index_add_(0, shown_ray, weight[shows, None] * field.normal(x[shows]))
    return color, opacity, distance, torch.nn.functional.normalize(normal, dim=-1)
