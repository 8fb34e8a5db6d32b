"""The mesh that the exporters hand on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mesh:
    """Triangles in the user's world.

    vertices [V, 3] in world units. faces [T, 3] int64, counter-clockwise seen from outside. colors [V, 3] in [0, 1], in
    the colour space of the field that gave them (sRGB for photographs). normals [V, 3], unit and outward. iso: the
    density at which the surface was cut.
    """

    vertices: Tensor
    faces: Tensor
    colors: Tensor | None = None
    normals: Tensor | None = None
    iso: float | None = None


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """[V, 3] unit normals: the mean of the normals around each vertex, weighted by area; +z where these cancel."""
    corners = faces.unbind(1)
    a, b, c = (vertices.index_select(0, corner) for corner in corners)
    area_normal, total = torch.linalg.cross(b - a, c - a), torch.zeros_like(vertices)
    for corner in corners:
        total.index_add_(0, corner, area_normal)
    length = total.norm(dim=-1, keepdim=True)
    return torch.where(length > 0, total / length, total.new_tensor([0.0, 0.0, 1.0]))
