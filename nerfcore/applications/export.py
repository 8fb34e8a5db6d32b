"""From a trained model to a mesh file in the scene's own coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from nerfcore.mesh import Mesh, View, extract_mesh, save_mesh
from nerfcore.renderer.model import Model

MAX_VIEWS = 64
VIEW_PIXELS = 256  # longer side of the distance maps that tell seen space from hidden


def export_mesh(
    model: Model, path: str | Path, resolution: int = 256, iso: float | None = None,
    box: Sequence[float] | None = None,
) -> Mesh:
    """Writes the surface of a model as ``.glb``, ``.obj`` or ``.ply`` by marching cubes, in world coordinates and
    units.

    resolution: samples along the longest side of the box. box: its lower corner, then its upper one, world
    coordinates; None takes the model's. iso: density per world unit; None takes the one that the field has on its
    surface, or else the one at which a cell is half opaque (in the returned ``mesh.iso``). Space that no training
    camera saw is filled or carved before marching cubes, floaters are dropped, vertices carry the colour seen from
    outside. Raises OutputError for a path that cannot be written, NerfcoreError where there is no surface.
    """
    if iso is None and model.field.surface_density is not None:
        iso = model.field.surface_density * model.transform.scale
    mesh = extract_mesh(
        model.density,
        *(model.world_box if box is None else model.world_box.new_tensor(box).reshape(2, 3)),
        resolution=resolution,
        iso=iso,
        views=seen_by_the_cameras(model),
        color=lambda points, normals: model.color(points, -normals),
        backend=model.backend,
    )
    save_mesh(mesh, path)
    return mesh


def seen_by_the_cameras(model: Model) -> list[View]:
    """What (at most 64, evenly chosen) training cameras see of the model."""
    views = []
    for _, camera, pose in model.cameras[:: max(1, math.ceil(len(model.cameras) / MAX_VIEWS))]:
        camera = camera.downscaled(max(1, max(camera.width, camera.height) // VIEW_PIXELS))
        image = model.render_image(camera, pose)

        def project(points: Tensor, camera=camera, pose=pose) -> tuple[Tensor, Tensor, Tensor]:
            local = (points - pose[:, 3].to(points)) @ pose[:, :3].to(points)
            pixel, valid = camera.project(local)
            inside = ((pixel >= 0) & (pixel < pixel.new_tensor([camera.width, camera.height]))).all(-1)
            return pixel, camera.distance(local), valid & inside

        views.append(View(project, image["distance"], image["opacity"]))
    return views
