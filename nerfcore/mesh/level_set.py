"""From a signed distance to a mesh."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from nerfcore.errors import NerfcoreError
from nerfcore.mesh.grid import Grid
from nerfcore.mesh.mesh import Mesh, vertex_normals
from nerfcore.ops.marching_cubes import marching_cubes

CHUNK = 2**18
"""Samples that are looked at at once."""
COARSER = 4
"""Cells of the grid that tells where the surface may be, in those of the mesh."""
BEYOND = 1e6
"""Distance of what lies beyond the box, in those cells: so much that the surface ends at the last samples."""


@torch.no_grad()
def extract_level_set(
    distance: Callable[[Tensor], Tensor], box_min, box_max, resolution: int = 256, backend: str = "auto"
) -> Mesh:
    """Closed mesh of the surface where a signed distance is zero, in the coordinates that the distance takes.

    distance(points [N, 3]) -> [N], negative inside, in units of the points, which changes by little more than the way
    between two points: samples are taken near the surface alone, as a grid with cells four times as long has it.
    box_min, box_max [3]: where the surface is; it is closed along the border of the box. resolution: samples along the
    longest side; 12 bytes of memory for each of the volume. Raises NerfcoreError where there is no surface or the
    distance is not finite.
    """
    box_min, box_max = (torch.as_tensor(corner).double() for corner in (box_min, box_max))
    grid = Grid.over(box_min, box_max, resolution)
    coarse = grid.coarser(COARSER)
    rough = torch.cat([_distance_at(distance, coarse.slab_points(slab)) for slab in coarse.slabs(CHUNK)])
    volume = F.interpolate(rough.view(1, 1, *coarse.shape), grid.shape, mode="trilinear", align_corners=True)[0, 0]
    reach = coarse.cell.norm().item()
    for slab in grid.slabs(CHUNK):
        part = volume[slab.start : slab.stop].view(-1)
        near = (part.abs() < reach).nonzero().squeeze(1)
        part[near] = _distance_at(distance, grid.slab_points(slab)[near])
    if not (volume < 0).any():
        least = volume.min().item()
        raise NerfcoreError(f"There is no surface: the distance is at least {least:.4g}; train for longer")
    border = F.pad(-volume, (1,) * 6, value=-BEYOND * reach)
    position, faces = marching_cubes(border, 0.0, backend)
    vertices = grid.to_world(position.double() - 1)  # the first sample is beyond the box
    return Mesh(vertices, faces, normals=vertex_normals(vertices, faces), iso=0.0)


def _distance_at(distance, points: Tensor) -> Tensor:
    value = torch.cat([distance(part) for part in points.split(CHUNK)]).float()
    if bad := int((~value.isfinite()).sum()):
        where = f"at {bad} of {len(value)} points"
        raise NerfcoreError(f"The distance is not finite {where}; the model is broken, train again")
    return value
