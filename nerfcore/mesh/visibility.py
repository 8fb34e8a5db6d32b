"""Which parts of space cameras have seen, so that a mesh need not show what the field made up elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nerfcore.mesh.grid import Grid

MARGIN_CELLS = 2.0
"""How far behind the surface that a camera sees the field is still trusted, in cells of the mesh."""
SOLID_PIXEL = 0.5
"""Opacity from which a pixel counts as a surface; below, the camera sees through it to infinity."""
CHUNK = 2**17


@dataclass(frozen=True)
class View:
    """What one camera saw.

    project(points [N, 3] world) -> (pixel_xy [N, 2], distance [N] from the camera along the ray in world units, valid
    [N] bool). distance_map [H, W]: of the surface, in the same units, 0 or inf where there is none. opacity [H, W] or
    None (all 1).
    """

    project: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
    distance_map: Tensor
    opacity: Tensor | None = None

    def surface_bounds(self) -> tuple[Tensor, Tensor]:
        """[H, W] each: the nearest and the farthest surface among a pixel and its eight neighbours, inf where none is.

        At a silhouette a pixel sees partly past the object; the bounds make both readings cautious.
        """
        nothing = ~(self.distance_map > 0)
        if self.opacity is not None:
            nothing |= self.opacity < SOLID_PIXEL
        surface = self.distance_map.float().masked_fill(nothing, float("inf"))[None, None]
        return -F.max_pool2d(-surface, 3, 1, 1)[0, 0], F.max_pool2d(surface, 3, 1, 1)[0, 0]


@dataclass(frozen=True)
class SeenSpace:
    """What all cameras together say about the samples of a coarse grid, [X, Y, Z] each.

    hidden: from -1 to 1; above 0 the sample lies behind the seen surface, by more than the margin, in every camera that
    has it in its frustum. covered: 1 inside some frustum or beside such a sample, else 0. open: some camera looks
    freely through the sample, or none has it in its frustum.
    """

    hidden: Tensor
    covered: Tensor
    open: Tensor

    def correct(self, occupancy: Tensor, slab: range, shape: tuple[int, int, int]) -> Tensor:
        """Fills hidden and carves uncovered space in a slab [S, Y, Z] of a finer volume whose surface is at 0.5."""
        hidden, covered = (_resample(field, slab, shape) for field in (self.hidden, self.covered))
        occupancy = torch.maximum(occupancy, (0.5 + 0.5 * hidden).clamp(min=0))
        return torch.where(covered < 1, torch.minimum(occupancy, covered), occupancy)


def _resample(field: Tensor, slab: range, shape: tuple[int, int, int]) -> Tensor:
    """Layers ``slab`` of a field resampled linearly to ``shape``, [S, Y, Z]; first and last samples coincide."""
    at = torch.arange(slab.start, slab.stop, device=field.device) * ((field.shape[0] - 1) / (shape[0] - 1))
    lower = at.long().clamp(max=field.shape[0] - 2)
    layers = torch.lerp(field[lower], field[lower + 1], (at - lower)[:, None, None])
    return F.interpolate(layers[None], shape[1:], mode="bilinear", align_corners=True)[0]


@torch.no_grad()
def seen_space(views: Sequence[View], grid: Grid, coarse: Grid) -> SeenSpace:
    """Judges the samples of ``coarse``; the margin is counted in cells of ``grid``, in which the mesh will be made."""
    margin, ramp = MARGIN_CELLS * grid.cell.max().item(), coarse.cell.max().item()
    bounds = [view.surface_bounds() for view in views]
    parts = []
    for slab in coarse.slabs(CHUNK):
        points = coarse.slab_points(slab)
        depth_behind = torch.full_like(points[:, 0], float("inf"))  # least over the cameras that have it in view
        is_free = torch.zeros_like(depth_behind, dtype=torch.bool)
        undecided = torch.arange(len(points), device=points.device)
        for view, (nearest, farthest) in zip(views, bounds, strict=True):
            pixel, distance, valid = view.project(points[undecided])
            height, width = nearest.shape
            column, row = pixel.floor().unbind(-1)
            valid = valid & (column >= 0) & (column < width) & (row >= 0) & (row < height)
            index, distance = undecided[valid], distance[valid]
            at = (row[valid].long(), column[valid].long())
            depth_behind[index] = torch.minimum(depth_behind[index], distance - farthest[at])
            is_free[index] |= distance < nearest[at] - margin
            undecided = undecided[~is_free[undecided]]
        in_view = depth_behind < float("inf")
        hidden = torch.where(in_view, ((depth_behind - margin) / ramp).clamp(-1, 1), -1.0)
        parts.append([t.view(-1, *coarse.shape[1:]) for t in (hidden, in_view.float(), is_free | ~in_view)])
    hidden, covered, is_open = (torch.cat(part) for part in zip(*parts, strict=True))
    return SeenSpace(hidden, F.max_pool3d(covered[None, None], 3, 1, 1)[0, 0], is_open)
