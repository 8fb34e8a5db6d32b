"""Triangle meshes from files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nerfcore.data.scene import SceneTransform
from nerfcore.errors import SceneError

KINDS = (".obj", ".ply", ".stl", ".off", ".glb", ".gltf")


@dataclass(frozen=True)
class Triangles:
    """A surface: vertices [V, 3] float64, in the file's own coordinates and units, no two of them equal, each part of a
    face; faces [T, 3] int64, counter-clockwise seen from outside, as far as the file says where that is. name: of the
    file.
    """

    vertices: Tensor
    faces: Tensor
    name: str = ""

    @property
    def box(self) -> Tensor:
        """[2, 3]: lower and upper corner."""
        return torch.stack([self.vertices.amin(0), self.vertices.amax(0)])

    @property
    def diagonal(self) -> float:
        """Of the box."""
        lower, upper = self.box
        return (upper - lower).norm().item()

    @property
    def is_closed(self) -> bool:
        """Whether every edge is passed as often in one direction as in the other: then winding numbers are whole."""
        start, end = self.faces.flatten(), self.faces.roll(-1, 1).flatten()
        edge = torch.minimum(start, end) * len(self.vertices) + torch.maximum(start, end)
        _, edge = edge.unique(return_inverse=True)
        passes = torch.zeros(int(edge.max()) + 1, dtype=torch.int64).index_add_(0, edge, (end - start).sign())
        return not passes.any()

    def centred_in_box(self, margin: float) -> SceneTransform:
        """The similarity to the box [0, 1]³ that puts the middle of the surface into its middle and leaves a ``margin``
        on both sides of the longest one."""
        lower, upper = self.box
        scale = (1 - 2 * margin) / (upper - lower).max().item()
        return SceneTransform(scale, tuple((0.5 - scale * 0.5 * (lower + upper)).tolist()))


def load_triangles(path: str | Path) -> Triangles:
    """Reads a mesh: .obj, .ply, .stl, .off, .glb or .gltf. All of its parts become one; polygons become triangles;
    vertices in one place, which files keep apart for their textures, become one. A surface that is inside out, so that
    the volume it holds about the middle of its box is negative, is turned.

    Raises SceneError, one sentence that names the file and the remedy, if it is missing, cannot be read, has no
    triangles, coordinates that are not finite, or no extent.
    """
    import trimesh

    path = Path(path)
    if not path.is_file():
        raise SceneError(f"{path}: there is no such file; give a mesh ({', '.join(KINDS)})")
    if path.suffix.lower() not in KINDS:
        raise SceneError(f"{path}: is no mesh that can be read; save it as {', '.join(KINDS)}")
    try:
        mesh = trimesh.load(path, force="mesh", process=False)
        vertices, faces = torch.tensor(mesh.vertices, dtype=torch.float64), torch.tensor(mesh.faces, dtype=torch.int64)
        used, faces = faces.unique(return_inverse=True)
        vertices = vertices[used]
    except Exception as error:  # whatever trimesh's readers raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SceneError(f"{path}: is no mesh that can be read ({reason}); export it again") from error
    if not len(faces):
        raise SceneError(f"{path}: holds no triangles; export the surface, not only its points")
    if bad := int((~vertices.isfinite()).any(1)[faces].any(1).sum()):
        raise SceneError(f"{path}: {bad} triangles have corners that are not finite; repair the mesh or remove them")
    vertices, place = vertices.unique(dim=0, return_inverse=True)
    triangles = Triangles(vertices, place[faces], path.stem)
    if not triangles.diagonal > 0:
        raise SceneError(f"{path}: all of its vertices are in one place; export it with its coordinates")
    if _volume(triangles) < 0:
        triangles = Triangles(vertices, triangles.faces.flip(1), path.stem)
    return triangles


def _volume(triangles: Triangles) -> float:
    """Of the cones from the middle of the box to the triangles, negative to those that face it."""
    a, b, c = (triangles.vertices - triangles.box.mean(0))[triangles.faces].unbind(1)
    return (a * torch.linalg.cross(b, c)).sum().item() / 6
