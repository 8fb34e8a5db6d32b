"""How near does a distance field come to a mesh?

Armadillo has 60 seconds: loading the mesh, building its tree, labelling points and training count, importing and the
final scoring do not. Other meshes have 15 seconds and no target.
"""

from __future__ import annotations

from statistics import mean

from nerfcore.applications.distance import train_distance

MODULES = ("nerfcore.applications.distance",)
SECONDS = {"armadillo": 60, "bunny": 15, "spot": 15, "rocker-arm": 15}
TARGET = {"iou": 0.995, "surface_error": 1e-3}
"""Of armadillo: at least, and at most, in parts of the diagonal of its box; `nerfcore.applications.distance.score`."""
KEPT = (
    "iou surface_error surface_error_there surface_error_back surface_worst steps train_seconds points_per_second "
    "parameters faces is_closed peak_rss_bytes seed"
).split()


def measure(options) -> dict:
    """The row: armadillo's figures are means over the seeds."""
    meshes, scenes = options.folder / "meshes", []
    for name, seconds in SECONDS.items():
        seeds = options.seeds if name == "armadillo" else options.seeds[:1]
        for seed in seeds:
            metrics = train_distance(meshes / f"{name}.obj", minutes=options.share * seconds / 60, seed=seed).metrics
            scenes.append(dict(mesh=name, seconds=seconds) | {key: metrics[key] for key in KEPT})
    of_target = [s for s in scenes if s["mesh"] == "armadillo"]
    holds = all(s["iou"] >= TARGET["iou"] and s["surface_error"] <= TARGET["surface_error"] for s in of_target)
    figures = {name: mean(s[name] for s in of_target) for name in TARGET}
    return dict(holds=holds, seeds=options.seeds, **figures, meshes=scenes)
