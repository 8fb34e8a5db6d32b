"""Renders the built-in scene into a folder, in the form of NeRF-synthetic: ``python assets/make_scene.py OUT``.

Writes train/, val/ and test/ pictures with their transforms_*.json, distance and normal maps of the test views, the
true mesh, and digest.json with the SHA-256 of every file. The same bytes each time on one machine. Needs scikit-image.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
import trimesh
from torch import Tensor

from nerfcore.cameras import Camera, camera_rays, look_at
from nerfcore.synthetic import SOLIDS, Solid, trace

SIZE = 200  # pixels
FIELD_OF_VIEW = 0.70  # radians
CAMERA_RADIUS = 4.0  # world units
SUPERSAMPLING = 4  # rays along each side of a pixel
DISTANCE_STEP = 1e-4  # world units for one count of the 16-bit distance maps
VIEWS = {"train": (60, 0.25, 1), "val": (10, 0.5, 25), "test": (20, 0.5, 33)}  # count, jitter, seed
VOXEL = {"ball": 0.042, "tunnel box": 0.028, "ring": 0.036, "wheel": 0.019, "capsule": 0.036}  # world units
NEWTON_STEPS = 8


def camera(supersampling: int = 1) -> Camera:
    size = SIZE * supersampling
    focal = 0.5 * size / math.tan(0.5 * FIELD_OF_VIEW)
    return Camera(size, size, focal, focal, 0.5 * size, 0.5 * size)


def view_poses(count: int, jitter: float, seed: int) -> Tensor:
    """Camera-to-world poses [count, 3, 4] all around the scene, looking at its centre.

    A Fibonacci lattice on the sphere, turned about z by a random angle, each point moved at random by up to ``jitter``
    of the mean spacing in height and in longitude.
    """
    random = torch.Generator().manual_seed(seed)
    index = torch.arange(count, dtype=torch.float64) + 0.5
    offset = jitter * (2 * torch.rand(2, count, generator=random, dtype=torch.float64) - 1)
    height = (1 - 2 * (index + offset[0]) / count).clamp(-0.99, 0.99)
    spacing = math.sqrt(4 * math.pi / count)
    turn = index * math.pi * (3 - math.sqrt(5)) + offset[1] * spacing / (1 - height**2).sqrt()
    turn = turn + 2 * math.pi * torch.rand(1, generator=random, dtype=torch.float64)
    level = (1 - height**2).sqrt()
    eye = CAMERA_RADIUS * torch.stack([level * turn.cos(), level * turn.sin(), height], dim=-1)
    return look_at(eye, (0.0, 0.0, 0.0))


def picture(pose: Tensor) -> np.ndarray:
    """[H, W, 4] uint8: straight sRGB colour and coverage, means over the rays of each pixel."""
    render = trace(camera_rays(camera(SUPERSAMPLING), pose.double()), background=(0.0, 0.0, 0.0))
    rgba = torch.cat([render.rgb, render.opacity[:, None]], dim=-1)
    mean = rgba.reshape(SIZE, SUPERSAMPLING, SIZE, SUPERSAMPLING, 4).mean(dim=(1, 3))
    mean[..., :3] /= mean[..., 3:].clamp(min=SUPERSAMPLING**-2)
    return (mean * 255).round().byte().numpy()


def geometry(pose: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What the pixel centres see: distances [H, W] uint16 in steps of DISTANCE_STEP, 0 where there is nothing, and
    world normals [H, W, 3] uint8, from -1 at 0 to 1 at 255, and 0, 0, 0 where there is nothing."""
    render = trace(camera_rays(camera(), pose.double()))
    normal = (127.5 * (render.normal + render.opacity[:, None])).round().byte()
    distance = (render.distance / DISTANCE_STEP).round().reshape(SIZE, SIZE)
    return distance.numpy().astype(np.uint16), normal.reshape(SIZE, SIZE, 3).numpy()


def write_view(job: tuple[Path, str, int, Tensor]) -> None:
    out, split, index, pose = job
    torch.set_num_threads(1)
    stem = f"{out}/{split}/r_{index}"
    iio.imwrite(f"{stem}.png", picture(pose), plugin="pillow", optimize=True)
    if split == "test":
        distance, normal = geometry(pose)
        iio.imwrite(f"{stem}_distance.png", distance, plugin="pillow", optimize=True)
        iio.imwrite(f"{stem}_normal.png", normal, plugin="pillow", optimize=True)


def solid_mesh(solid: Solid, voxel: float) -> trimesh.Trimesh:
    """The surface of one solid: marching cubes, then vertices moved onto it by Newton's method in float64."""
    from skimage.measure import marching_cubes

    side = math.ceil(2 * solid.radius / voxel) + 4
    axis = voxel * (torch.arange(side, dtype=torch.float64) - 0.5 * (side - 1) + 0.0173)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    values = solid.sdf(grid.reshape(-1, 3)).reshape(side, side, side)
    vertices, faces, _, _ = marching_cubes(values.numpy(), level=0.0)
    points = solid.to_world(axis[0] + voxel * torch.tensor(vertices.astype(np.float64)))
    for _ in range(NEWTON_STEPS):
        gradient = solid.gradient(points)
        points = points - solid.distance(points)[:, None] * gradient / gradient.square().sum(-1, keepdim=True)
    return trimesh.Trimesh(points.numpy(), faces, process=False)


def transforms(split: str, poses: Tensor) -> dict:
    rows = torch.cat([poses, torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(len(poses), 1, 4)], dim=1).double()
    frames = [{"file_path": f"./{split}/r_{i}", "transform_matrix": row.tolist()} for i, row in enumerate(rows)]
    extra = {"distance_step": DISTANCE_STEP} if split == "test" else {}
    return {"camera_angle_x": FIELD_OF_VIEW, **extra, "frames": frames}


def make_scene(out: Path) -> None:
    jobs = []
    for split, (count, jitter, seed) in VIEWS.items():
        (out / split).mkdir(parents=True, exist_ok=True)
        poses = view_poses(count, jitter, seed)
        (out / f"transforms_{split}.json").write_text(json.dumps(transforms(split, poses), indent=1) + "\n")
        jobs += [(out, split, index, pose) for index, pose in enumerate(poses)]
    with multiprocessing.get_context("spawn").Pool() as pool:
        pool.map(write_view, jobs, chunksize=1)
    meshes = [solid_mesh(solid, VOXEL[solid.name]) for solid in SOLIDS]
    trimesh.util.concatenate(meshes).export(out / "mesh.ply")
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != "digest.json")
    digest = {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    (out / "digest.json").write_text(json.dumps({"schema": 1, "sha256": digest}, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python assets/make_scene.py OUT")
    make_scene(Path(sys.argv[1]))
