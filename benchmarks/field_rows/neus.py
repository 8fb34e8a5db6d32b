"""Is the surface of a signed distance better than that of a density?  On the built-in scene, whose surface is known.

``neus`` and ``ngp`` train for as long; both meshes are exported in the same way, at the same resolution, and compared
with the true one by ``benchmarks/mesh.py``. Normals are those of pictures, over the pixels of all held-out views at
which a solid is traced and the model stops half of the light.
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path

import torch

import nerfcore
from nerfcore.cameras import camera_rays
from nerfcore.synthetic.builtin import trace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from mesh import TRUTH as TRUE_MESH
from mesh import compare, load_mesh, topology

MODULES = ("nerfcore.fields.neus", "nerfcore.applications.export", "nerfcore.synthetic.builtin")
TARGET = dict(chamfer_share=0.005, normal_degrees=8.0, cpu_minutes=20.0)
CPU_MINUTES, RESOLUTION, POINTS = 16.0, 256, 100_000


def measure(options) -> dict:
    """The row: neus within the bounds, and better than ngp by both."""
    minutes = options.share * CPU_MINUTES / torch.get_num_threads()
    scene = nerfcore.load_scene()
    found = {name: surface_of(scene, name, minutes, options.seeds[0]) for name in ("neus", "ngp")}
    ours, theirs = found.values()
    bounds = "chamfer_share", "normal_degrees"
    holds = all(ours[name] <= TARGET[name] and ours[name] < theirs[name] for name in bounds)
    return dict(holds=holds, cpu_minutes=CPU_MINUTES, **found)


def surface_of(scene, name: str, minutes: float, seed: int) -> dict:
    """How far the mesh of a field is from the true one, and its normals from the true ones."""
    run = nerfcore.train(scene, field=name, minutes=minutes, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mesh.ply")
        nerfcore.export_mesh(run.model, path, RESOLUTION)
        mesh = load_mesh(path)
    low, high = run.model.world_box
    diagonal = (high - low).norm().item()
    surface = {k: float(v) for k, v in compare(mesh, load_mesh(TRUE_MESH), POINTS, diagonal, seed).items()}
    surface |= {k: run.metrics[k] for k in ("psnr", "ssim", "steps", "train_seconds")}
    components = topology(mesh)["components"]
    return dict(**surface, normal_degrees=normal_degrees(run.model, scene), components=components)


def normal_degrees(model, scene) -> float:
    """The mean angle between normals of pictures and traced ones."""
    angles = []
    for frame in scene.test.frames:
        truth = trace(camera_rays(frame.camera, frame.pose))
        image = model.render_image(frame.camera, frame.pose, normals=True)
        both = (truth.opacity > 0) & (image["opacity"].flatten() > 0.5)
        cosine = (image["normal"].view(-1, 3)[both] * truth.normal[both]).sum(1)
        angles.append(torch.arccos(cosine.clamp(-1, 1)))
    return math.degrees(torch.cat(angles).mean().item())
