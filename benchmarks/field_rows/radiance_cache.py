"""Does a learned cache of light pay?  Three rooms, against plain path tracing for as long.

Relative squared errors are against a picture of the plain path tracer with many samples of every pixel: (picture -
converged)² / (converged² + 0.01), mean over pixels and colours. The bias of the cache is what is left of its error in
blocks of 16 x 16 pixels, over which noise averages out: the mean of |picture - converged| / (converged + 0.01) there,
and the same of the plain picture beside it, which has none but noise.
"""

from __future__ import annotations

from statistics import mean

import torch
from torch.nn.functional import avg_pool2d

from nerfcore.applications.radiance_cache import render
from nerfcore.data.triangles import load_triangles
from nerfcore.synthetic.rooms import door_ajar, polished, upward_lamp, view

MODULES = ("nerfcore.applications.radiance_cache", "nerfcore.synthetic.rooms", "nerfcore.data.triangles")
TARGET = dict(error_ratio=0.5)
SIDE, SECONDS, CONVERGED_SECONDS, BLOCK = 128, 30.0, 240.0, 16
NEARLY_BLACK = 0.01


def measure(options) -> dict:
    """The row: for every room the error of the cache over that of plain path tracing."""
    camera, pose = view(SIDE)
    rooms = {}
    for name, world in worlds(options).items():
        converged = render(world, camera, pose, options.share * CONVERGED_SECONDS, cached=False, seed=999)
        arms: dict[str, list] = {"cached": [], "plain": []}
        for seed in options.seeds:
            for arm, cached in (("cached", True), ("plain", False)):
                arms[arm].append(render(world, camera, pose, options.share * SECONDS, cached, seed))
        found = {
            f"{arm}_{key}": mean(score(p.rgb, converged.rgb) for p in pictures)
            for arm, pictures in arms.items() for key, score in (("error", relative_error), ("bias", bias))
        }
        passes = {f"{arm}_passes": mean(p.passes for p in pictures) for arm, pictures in arms.items()}
        ratio = found["cached_error"] / found["plain_error"]
        rooms[name] = dict(error_ratio=ratio, **found, **passes, converged_passes=converged.passes)
    holds = all(room["error_ratio"] <= TARGET["error_ratio"] for room in rooms.values())
    return dict(holds=holds, seconds=SECONDS, seeds=options.seeds, **rooms)


def worlds(options) -> dict:
    path = options.folder / "meshes" / "spot.obj"
    mesh = None
    if path.is_file():
        triangles = load_triangles(path)
        mesh = ((triangles.vertices - triangles.box.mean(0)) / (0.5 * triangles.diagonal)).float(), triangles.faces
    return {"upward lamp": upward_lamp(), "door ajar": door_ajar(), "polished": polished(mesh)}


def relative_error(picture: torch.Tensor, converged: torch.Tensor) -> float:
    return ((picture - converged).square() / (converged.square() + NEARLY_BLACK)).mean().item()


def bias(picture: torch.Tensor, converged: torch.Tensor) -> float:
    blocks = (avg_pool2d(p.permute(2, 0, 1), BLOCK) for p in (picture, converged))
    found, true = blocks
    return ((found - true).abs() / (true + NEARLY_BLACK)).mean().item()
