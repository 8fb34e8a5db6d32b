"""Triangle meshes whose surfaces are known in closed form."""

from __future__ import annotations

import torch
import trimesh
from torch import Tensor


def tensors(mesh: trimesh.Trimesh, dtype=torch.float32, device="cpu") -> tuple[Tensor, Tensor]:
    """vertices [V, 3], faces [T, 3]."""
    return torch.tensor(mesh.vertices, dtype=dtype, device=device), torch.tensor(mesh.faces, device=device)


def ball(subdivisions: int = 3) -> trimesh.Trimesh:
    """Radius 1; its faces lie between the ball and :func:`inner_radius`."""
    return trimesh.creation.icosphere(subdivisions=subdivisions)


def inner_radius(mesh: trimesh.Trimesh) -> float:
    """Distance of the nearest face from the origin."""
    return float(abs((mesh.face_normals * mesh.triangles[:, 0]).sum(1)).min())


def cuboid() -> trimesh.Trimesh:
    """Half extents 0.5, 0.3 and 0.2."""
    return trimesh.creation.box((1.0, 0.6, 0.4))


def ring() -> trimesh.Trimesh:
    """A torus about z of radii 0.7 and 0.25."""
    return trimesh.creation.torus(0.7, 0.25, major_sections=96, minor_sections=64)


def bowl() -> trimesh.Trimesh:
    """The ball without what lies above 0.7: a surface with a hole."""
    whole = ball()
    return whole.submesh([whole.triangles_center[:, 2] < 0.7], append=True)
