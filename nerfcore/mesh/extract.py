"""From a density callable to a clean mesh in world coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nerfcore.errors import NerfcoreError
from nerfcore.mesh.cleanup import drop_floaters, fill_cavities
from nerfcore.mesh.grid import Grid
from nerfcore.mesh.mesh import Mesh, vertex_normals
from nerfcore.mesh.visibility import SeenSpace, View, seen_space
from nerfcore.ops.marching_cubes import marching_cubes

CHUNK = 2**18
"""Points in one call of a density or a colour."""


def extract_mesh(
    density: Callable[[Tensor], Tensor], box_min, box_max, resolution: int = 256, iso: float | None = None,
    views: Sequence[View] | None = None, color: Callable[[Tensor, Tensor], Tensor] | None = None,
    min_component: float = 0.01, backend: str = "auto",
) -> Mesh:
    """Watertight mesh of the surface where a density passes ``iso``, in the coordinates that the density takes.

    density(points [N, 3]) -> [N], not negative, per world unit; called with float32 points on the device of
    ``box_min``, at most ``CHUNK`` at a time. box_min, box_max: [3] each, world units. resolution: samples along the
    longest side of the box; memory is about 25 bytes per sample.

    iso: None takes :func:`default_iso`; the level used is in ``mesh.iso``. The volume that is triangulated holds
    ``1 - 2**(-density / iso)``, which is 0.5 at ``iso`` and bounded, so that a steep density does not drag vertices
    outwards.

    views: what cameras saw. Space behind the seen surface in every camera that has it in view is filled, space in no
    camera's view is carved, cavities that no camera looks into are filled; within about two cells of the seen surface
    the density alone decides. None trusts the density everywhere. The box's border closes the surface.

    min_component: solids with fewer samples than this share of the largest are dropped; 0 keeps all.
    color(points [N, 3], outward normals [N, 3]) -> rgb [N, 3] in [0, 1]: the colour seen from outside, along
    ``-normal``.

    Raises NerfcoreError if there is no surface or the density is NaN somewhere, ValueError for arguments out of range.
    """
    box_min, box_max = (torch.as_tensor(corner).double() for corner in (box_min, box_max))
    side = box_max - box_min
    if side.shape != (3,) or not (torch.isfinite(side) & (side > 0)).all():
        raise ValueError(f"box_max must exceed box_min on three axes, got {box_min.tolist()} and {box_max.tolist()}")
    if resolution < 2:
        raise ValueError(f"resolution must be at least 2, got {resolution}")
    if not 0 <= min_component <= 1:
        raise ValueError(f"min_component is a share between 0 and 1, got {min_component}")
    if iso is None:
        iso = default_iso(box_min, box_max, resolution)
    if not (math.isfinite(iso) and iso > 0):
        raise ValueError(f"iso must be a positive density, got {iso}")

    grid = Grid.over(box_min, box_max, resolution)
    seen = seen_space(views, grid, grid.coarser(2)) if views else None
    volume, low, high = _sample_occupancy(density, grid, iso, seen)
    if not (volume > 0.5).any():
        where = "" if high <= iso else "; no camera looked where it is above"
        raise NerfcoreError(
            f"There is no surface: the density is between {low:.4g} and {high:.4g} and the iso level is {iso:.4g}"
            f"{where}. Give a lower iso level, or train for longer"
        )
    host = volume.cpu().numpy()  # shares memory with the volume on the CPU
    if seen is not None:
        fill_cavities(host, seen.open.cpu().numpy())
    drop_floaters(host, min_component)
    position, faces = marching_cubes(torch.from_numpy(host).to(volume.device), 0.5, backend)
    vertices = grid.to_world(position.double() - 1)  # the first sample of the volume is its empty border
    normals = vertex_normals(vertices, faces)
    colors = None if color is None else _color_vertices(color, vertices, normals)
    return Mesh(vertices, faces, colors, normals, iso)


def default_iso(box_min, box_max, resolution: int) -> float:
    """The density at which a path across one cell of the grid has opacity one half: ``ln 2 / cell``.

    Anything less opaque could not be told from haze at this resolution; densities of trained surfaces are far above it.
    """
    side = (torch.as_tensor(box_max).double() - torch.as_tensor(box_min).double()).max().item()
    return math.log(2) * (resolution - 1) / side


@torch.no_grad()
def _sample_occupancy(density, grid: Grid, iso: float, seen: SeenSpace | None) -> tuple[Tensor, float, float]:
    """The volume [X + 2, Y + 2, Z + 2] with its empty border, and the range of the density."""
    volume = torch.zeros([n + 2 for n in grid.shape], device=grid.box_min.device)
    low, high = math.inf, -math.inf
    for slab in grid.slabs(CHUNK):
        points = grid.slab_points(slab)
        value = torch.cat([_density_at(density, part) for part in points.split(CHUNK)])
        smallest, largest = (bound.item() for bound in value.aminmax())
        if math.isnan(smallest):
            bad = int(value.isnan().sum())
            raise NerfcoreError(f"The density is NaN at {bad} of {len(value)} points; the model is broken, train again")
        low, high = min(low, smallest), max(high, largest)
        occupancy = -torch.expm1(value.clamp(min=0) * (-math.log(2) / iso)).view(-1, *grid.shape[1:])
        if seen is not None:
            occupancy = seen.correct(occupancy, slab, grid.shape)
        volume[slab.start + 1 : slab.stop + 1, 1:-1, 1:-1] = occupancy
    return volume, low, high


def _density_at(density, points: Tensor) -> Tensor:
    value = density(points)
    if value.shape != points.shape[:1]:
        raise ValueError(f"density must return [N] = [{len(points)}], got {list(value.shape)}")
    return value.float()


@torch.no_grad()
def _color_vertices(color, vertices: Tensor, normals: Tensor) -> Tensor:
    parts = [color(p, n) for p, n in zip(vertices.split(CHUNK), normals.split(CHUNK), strict=True)]
    colors = torch.cat(parts).float().clamp(0, 1)
    if colors.shape != vertices.shape:
        raise ValueError(f"color must return [N, 3], got {list(parts[0].shape)} for {len(vertices[:CHUNK])} points")
    return colors
