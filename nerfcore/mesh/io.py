"""Mesh files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from nerfcore.errors import OutputError
from nerfcore.mesh.mesh import Mesh

FORMATS = (".glb", ".obj", ".ply")


def save_mesh(mesh: Mesh, path: str | Path) -> Path:
    """Writes .glb, .obj or .ply, by the extension, with vertex colours and normals where the mesh has them.

    Coordinates are written as they are, in world units and axes: float32 in .glb and .ply, nine digits of the largest
    coordinate in .obj. glTF calls +y up; a world with another up axis lies on its side in a viewer, and still measures
    right. Colours are 8-bit sRGB in .ply and .obj; in .glb they are converted to linear, as glTF wants.

    Returns the path. Raises OutputError for an unknown extension or if the file cannot be written.
    """
    import trimesh

    path = Path(path)
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise OutputError(f"Cannot write a mesh to {path}: the extension must be one of {', '.join(FORMATS)}")
    vertices = mesh.vertices.detach().cpu().numpy()
    colors = None
    if mesh.colors is not None:
        rgb = mesh.colors.detach().cpu().double().numpy()
        colors = np.rint((_linear(rgb) if kind == ".glb" else rgb) * 255).astype(np.uint8)
    normals = None if mesh.normals is None else mesh.normals.detach().cpu().numpy()
    triangles = trimesh.Trimesh(
        vertices, mesh.faces.cpu().numpy(), vertex_normals=normals, vertex_colors=colors, process=False, validate=False
    )
    options = {}
    if kind == ".obj":
        largest = float(np.abs(vertices).max(initial=0)) or 1.0
        options = {"digits": max(0, 8 - math.floor(math.log10(largest))), "header": None}
    data = triangles.export(file_type=kind[1:], **options)
    try:
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    except OSError as error:
        raise OutputError(f"Cannot write the mesh to {path}: {error.strerror or error}") from error
    return path


def unlit_glb(path: str | Path) -> bytes:
    """A mesh file that :func:`save_mesh` wrote, as glTF binary that is drawn in its own colours: the light of the scene
    is in them already, and glTF's default is a metal. Raises OutputError for a file that cannot be read."""
    import trimesh

    path = Path(path)
    try:
        mesh = trimesh.load(path, force="mesh", process=False)
    except Exception as error:  # whatever trimesh's readers raise
        raise OutputError(f"{path}: is no mesh that can be read ({error}); export it again") from error
    if path.suffix.lower() != ".glb":
        mesh.visual.vertex_colors = np.rint(_linear(mesh.visual.vertex_colors[:, :3] / 255) * 255).astype(np.uint8)

    def take_the_light_away(tree: dict) -> None:
        tree["materials"] = [{"extensions": {"KHR_materials_unlit": {}}}]
        tree["extensionsUsed"] = ["KHR_materials_unlit"]
        tree["meshes"][0]["primitives"][0]["material"] = 0

    return mesh.export(file_type="glb", tree_postprocessor=take_the_light_away)


def _linear(srgb: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values in [0, 1] (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
