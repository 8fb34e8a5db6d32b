"""Volume rendering of a field along rays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerfcore.fields.base import Field
from nerfcore.ops.composite import composite, fade_gradients, mean_stop, median_distance
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

SPENT = 5e-3
"""Transmittance at which a ray of a picture ends: little more than a level of 8 bits."""

FIRST_SAMPLES = 8
"""Of a ray, in the first pass of a picture; later passes have as many in all, or PASS_SAMPLES."""

PASS_SAMPLES = 1 << 14
"""A pass with fewer samples would take hardly less time."""


def sample_rays(
    origin: Tensor, direction: Tensor, lattice: SampleLattice, jitter: Tensor | None = None,
    capacity: int | None = None, backend: str = "auto",
) -> Samples:
    """Samples of box rays (origin, direction [R, 3]) in the occupied part of the box; capacity as in
    :func:`~nerfcore.ops.march.march_rays`."""
    corners = origin.new_zeros(3), origin.new_ones(3)
    near, far = intersect_box(origin, direction, *corners, near=lattice.near, backend=backend)
    return march_rays(
        origin, direction, near, far, lattice.bits, lattice.resolution, lattice.cascades, lattice.step,
        lattice.cone_angle, jitter, lattice.max_samples, capacity, backend=backend,
    )


def place_samples(
    field: Field, origin: Tensor, direction: Tensor, lattice: SampleLattice, backend: str = "auto"
) -> Samples:
    """The samples by which a field is looked at along box rays. One that does not march places them itself, whatever
    the lattice."""
    if field.marches:
        return sample_rays(origin, direction, lattice, backend=backend)
    return field.place_samples(origin, direction)[0]


def render_samples(
    field: Field,
    origin: Tensor,
    direction: Tensor,
    samples: Samples,
    backend: str = "auto",
    full_from: float = 0.0,
    spread: Tensor | None = None,
    code: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Colour [R, 3] without background, opacity [R], distance [R] (weighted sum) and weights [S] of sampled rays;
    differentiable in the field's parameters. full_from: see :func:`~nerfcore.ops.composite.fade_gradients`. spread [R]:
    of the rays, see :class:`~nerfcore.types.Rays`. code [R, K]: of the appearances in which rays see the field, see
    :meth:`~nerfcore.fields.base.Field.color`."""
    ray = samples.ray_indices
    x = sample_positions(origin, direction, samples, ray)
    sigma, embedding = field.density_along(x, direction, ray, samples, spread)
    rgb = field.color(embedding, direction, ray, **in_appearance(code))
    sigma, rgb = (fade_gradients(values, samples, full_from) for values in (sigma, rgb))
    return composite(sigma, rgb, samples, backend=backend)


def in_appearance(code: Tensor | None) -> dict[str, Tensor]:
    """What a field's :meth:`~nerfcore.fields.base.Field.color` and sky take besides, if there is a code at all."""
    return {} if code is None else {"code": code}


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
    spread: Tensor | None = None,
    code: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """The same for pictures: little is computed behind surfaces, colours and normals only where they show.

    In passes (Müller et al. 2022, appendix E): each takes, into one packed list, the next few samples of all rays that
    light still passes; the fewer rays, the more samples of each. Returns rgb [R, 3] without background, opacity [R],
    distance [R] (weighted sum of where light is stopped), its median [R], normal [R, 3] or None.
    """
    samples = place_samples(field, origin, direction, lattice, backend)
    begin, end = samples.ray_offsets[:-1], samples.ray_offsets[1:]
    depth, distance, median, shown_weight = origin.new_zeros(4, len(origin)).unbind()
    color, normal = torch.zeros_like(origin), torch.zeros_like(origin)
    count = (end - begin).clamp(max=FIRST_SAMPLES)
    num_samples = int(count.sum())
    pass_samples = max(num_samples, PASS_SAMPLES)
    while num_samples:
        offsets = torch.nn.functional.pad(count.cumsum(0), (1, 0))
        ray = _repeated(count, num_samples)
        at = (begin - offsets[:-1]).index_select(0, ray) + torch.arange(num_samples, device=ray.device)
        part = Samples(samples.t_start.index_select(0, at), samples.t_end.index_select(0, at), offsets)
        x = sample_positions(origin, direction, part, ray)
        sigma, embedding = field.density_along(x, direction, ray, part, spread)
        weight = _weights_behind(depth, sigma, part, ray, backend)
        distance.index_add_(0, ray, weight * (part.t_start + mean_stop(sigma, part.t_end - part.t_start)))
        median += median_distance(sigma, part, depth)
        depth.index_add_(0, ray, torch.where(weight != 0, sigma * (part.t_end - part.t_start), 0))

        begin = begin + count
        lives = (begin < end) & (torch.exp(-depth) >= SPENT)
        count = lives * torch.minimum(end - begin, pass_samples // lives.sum().clamp(min=1))
        shows = weight > SHOWS
        num_samples, num_shown = torch.stack((count.sum(), shows.sum())).tolist()  # the only wait for the device

        shown = _repeated(shows, num_shown)
        ray, weight = ray.index_select(0, shown), weight.index_select(0, shown)
        shown_weight.index_add_(0, ray, weight)
        of_ray = in_appearance(None if code is None else code.index_select(0, ray))
        rgb = field.color(embedding.index_select(0, shown), direction.index_select(0, ray), **of_ray)
        color.index_add_(0, ray, weight[:, None] * rgb)
        if normals:
            normal.index_add_(0, ray, weight[:, None] * field.normal(x.index_select(0, shown)))
    opacity = -torch.expm1(-depth)
    color *= (opacity / shown_weight.clamp(min=1e-10))[:, None]  # what was left out has the colour of the rest
    return color, opacity, distance, median, torch.nn.functional.normalize(normal, dim=-1) if normals else None


def _repeated(count: Tensor, total: int) -> Tensor:
    """[total] int64: every index of ``count`` as often as it says. Knowing the total saves a wait for the device."""
    return torch.repeat_interleave(torch.arange(len(count), device=count.device), count.long(), output_size=total)


def _weights_behind(depth: Tensor, sigma: Tensor, samples: Samples, ray: Tensor, backend: str) -> Tensor:
    """[S], of samples behind an optical depth [R], which stands in front of them as a sample of its own."""
    num = len(depth) + len(sigma)
    offsets = samples.ray_offsets + torch.arange(len(depth) + 1, device=ray.device)
    place = torch.arange(1, len(sigma) + 1, device=ray.device) + ray
    density = sigma.new_empty(num).index_copy_(0, offsets[:-1], depth).index_copy_(0, place, sigma)
    t_start = sigma.new_zeros(num).index_copy_(0, place, samples.t_start)
    t_end = sigma.new_ones(num).index_copy_(0, place, samples.t_end)
    *_, weight = composite(density, sigma.new_zeros(num, 3), Samples(t_start, t_end, offsets), SPENT, backend)
    return weight.index_select(0, place)
