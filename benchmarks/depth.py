"""Do depth maps help where photographs are few?  python benchmarks/depth.py [--views 8] [--weights 0 0.1] [--json FILE]

Trains on a few views of the built-in scene, whose true depths along the camera axis lie beside them as 16-bit files,
with each weight of the depth term, 0 for none; all for as many steps. Means over the 20 held-out views are of PSNR,
and how far the rendered distance is from the true one, in world units, where rays meet a solid (a ray that the model
lets pass counts with its whole distance). Of time, the seconds that training kept processors busy are told.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

import imageio.v3 as iio
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import header, require_kernels, run, write_json

import nerfcore
from nerfcore.cameras import camera_rays
from nerfcore.data import builtin_scene_path
from nerfcore.synthetic import trace

UNIT = 1e-4  # world units


def write_scene(folder: Path, views: int) -> None:
    """The built-in scene with so many training views, evenly chosen, and their depths."""
    source = builtin_scene_path()
    shutil.copytree(source / "test", folder / "test")
    shutil.copy(source / "transforms_test.json", folder)
    table = json.loads((source / "transforms_train.json").read_text())
    chosen = np.linspace(0, len(table["frames"]) - 1, views).round().astype(int)
    full = nerfcore.load_scene().train
    (folder / "train").mkdir()
    frames = []
    for i in chosen.tolist():
        frame = table["frames"][i]
        name = Path(frame["file_path"]).name
        shutil.copy(source / "train" / f"{name}.png", folder / "train")
        camera, pose = full.frames[i].camera, full.frames[i].pose
        z_depth = trace(camera_rays(camera, pose.double())).z_depth.reshape(camera.height, camera.width)
        iio.imwrite(folder / "train" / f"{name}_z.png", (z_depth / UNIT).round().numpy().astype(np.uint16))
        frames.append(frame | dict(depth_file_path=f"train/{name}_z.png"))
    table = table | dict(depth_unit_scale_factor=UNIT, frames=frames)
    (folder / "transforms_train.json").write_text(json.dumps(table))


def distance_error(model: nerfcore.Model, folder: Path, downscale: int) -> float:
    """Mean over the held-out views."""
    scene, errors = nerfcore.load_scene(folder, downscale), []
    for frame in scene.test.frames:
        truth = trace(camera_rays(frame.camera, frame.pose.double())).distance.float()
        found = model.render_image(frame.camera, frame.pose)["distance"].reshape(-1)
        errors.append((found - truth)[truth > 0].abs().mean().item())
    return mean(errors)


def measure(folder: Path, weight: float, options: argparse.Namespace) -> dict:
    """One row of the JSON."""
    runs = []
    for seed in options.seeds:
        clock = {}
        done = nerfcore.train(
            folder, steps=options.steps, seed=seed, depth_weight=weight, preset="fast", device="cpu",
            downscale=options.downscale, on_progress=lambda p, c=clock: c.setdefault(p.stage, time.process_time()),
        )
        found = dict(
            psnr=done.metrics["psnr"], ssim=done.metrics["ssim"],
            distance_error=distance_error(done.model, folder, options.downscale),
            cpu_seconds=clock["evaluating"] - clock["ready"],
        )
        print(f"weight {weight:g}, seed {seed}: " + ", ".join(f"{k} {v:.4g}" for k, v in found.items()), flush=True)
        runs.append(dict(seed=seed, **found))
    settings = dict(views=options.views, steps=options.steps, downscale=options.downscale, weight=weight)
    return dict(**settings, **{name: mean(r[name] for r in runs) for name in found}, runs=runs)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Trains on a few photographs with and without their depth maps.")
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--downscale", type=int, default=1)
    parser.add_argument("--weights", nargs="+", type=float, default=[0.0, 0.1])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(argv)
    require_kernels()
    with tempfile.TemporaryDirectory() as name:
        write_scene(Path(name), options.views)
        rows = [measure(Path(name), weight, options) for weight in options.weights]
    if options.json:
        write_json(options.json, header() | dict(rows=rows))


if __name__ == "__main__":
    run(main)
