"""What is a wrong pose worth, and what of it does refinement regain?
python benchmarks/poses.py FOLDER [--scenes chair fox] [--minutes 5 | --steps N] [--downscale K] [--json FILE]

Every run is a process of its own. On the built-in scene and on ``chair``, whose poses are exact: with the poses as they
are (arm "given"), with every camera turned by 2 degrees and moved by 2 % of its distance, in random directions
("disturbed"), and the same with refinement ("recovered"). On ``fox``, whose poses are those of a structure from motion:
as they are, and with poses ("poses") or intrinsics as well ("cameras") refined. Held-out views follow the similarity
between the true (or given) training cameras and the ones that training ended with, which takes no photograph; after it
rotation errors are counted, too. Steps instead of minutes make figures that do not depend on the load of the machine.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import digest, earlier_rows, header, require_kernels, run, training_digest, write_json

import nerfcore
from nerfcore.cameras import rotation_angle, rotation_exp
from nerfcore.data import Scene
from nerfcore.training.config import Refine, TrainConfig
from nerfcore.training.evaluate import correction_in_common, evaluate
from nerfcore.training.loop import pick_device
from nerfcore.training.trainer import Trainer

DEGREES, SHARE = 2.0, 0.02
SHARE_TARGET, ROTATION_TARGET, GAIN_TARGET = 0.9, 0.3, 0.3  # of lost PSNR, degrees, dB


@dataclass(frozen=True)
class Arm:
    refine: Refine
    disturbed: bool = False


ARMS = {
    "given": Arm("none"),
    "disturbed": Arm("none", disturbed=True),
    "recovered": Arm("poses", disturbed=True),
    "poses": Arm("poses"),
    "cameras": Arm("cameras"),
}
EXACT, ESTIMATED = ("given", "disturbed", "recovered"), ("given", "poses", "cameras")
ARMS_OF = {"builtin": EXACT, "chair": EXACT, "fox": ESTIMATED}
DOWNSCALE = {"fox": 4}


@dataclass(frozen=True)
class Budget:
    minutes: float | None
    steps: int | None
    downscale: int | None

    def settings(self, scene: str) -> dict:
        downscale = self.downscale or DOWNSCALE.get(scene, 1)
        return dict(minutes=self.minutes, steps=self.steps, downscale=downscale)

    def __str__(self) -> str:
        size = "" if self.downscale is None else f" at 1/{self.downscale}"
        return (f"{self.minutes:g} min" if self.steps is None else f"{self.steps} steps") + size


def disturbed(scene: Scene, seed: int, degrees: float = DEGREES, share: float = SHARE) -> Scene:
    """The scene with every training camera turned by an angle and moved by a share of its distance to the middle, in
    random directions."""
    generator, count = torch.Generator().manual_seed(seed), len(scene.train)
    axis, way = torch.nn.functional.normalize(torch.randn(2, count, 3, generator=generator), dim=-1)
    poses = scene.train.poses
    distance = (poses[:, :, 3] - scene.transform.world_box.mean(0)).norm(dim=-1, keepdim=True)
    centre = poses[:, :, 3] + share * distance * way
    poses = torch.cat([rotation_exp(math.radians(degrees) * axis) @ poses[:, :, :3], centre[:, :, None]], dim=-1)
    frames = [replace(frame, pose=pose) for frame, pose in zip(scene.train.frames, poses, strict=True)]
    return replace(scene, train=replace(scene.train, frames=frames))


def train_once(folder: Path | None, name: str, arm: Arm, budget: Budget, seed: int, settle: bool) -> dict:
    """One run in this process."""
    config = TrainConfig(refine=arm.refine, seed=seed, **budget.settings(name))
    scene = nerfcore.load_scene(None if name == "builtin" else folder / name, downscale=config.downscale)
    trainer = Trainer(disturbed(scene, seed) if arm.disturbed else scene, config, pick_device(config.device))
    while trainer.fraction < 1:
        trainer.step()
    seconds = trainer.seconds
    # as if refined in every arm: held-out views follow what the training cameras' errors have in common
    model = trainer.model(dict(config=dict(refine="cameras")))
    common = correction_in_common(model, {frame.name: frame.pose for frame in scene.train.frames})
    found, true = torch.stack([pose for _, _, pose in model.cameras]), common.poses(scene.train.poses)
    angles = torch.rad2deg(rotation_angle(found[:, :, :3], true[:, :, :3]))
    scores = evaluate(model, scene).metrics
    settled = evaluate(model, scene, settle=True).metrics["psnr"] if settle else None
    return dict(
        seed=seed, psnr=scores["psnr"], ssim=scores["ssim"], settled=settled, rotation=angles.mean().item(),
        worst_rotation=angles.max().item(), steps=trainer.steps, seconds=seconds, rays=trainer.rays,
    )


def measure(folder: Path | None, name: str, arm: str, budget: Budget, seeds: list[int], settle: bool) -> dict:
    """One row of the JSON."""
    runs = []
    for seed in seeds:
        words = [sys.executable, __file__, *([str(folder)] if folder else []), "--scenes", name, "--arms", arm]
        given = dict(minutes=budget.minutes, steps=budget.steps, downscale=budget.downscale, one=seed)
        words += [word for option, value in given.items() if value is not None for word in (f"--{option}", str(value))]
        words += ["--settle"] * settle
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    means = {key: mean(run[key] for run in runs) for key in ("psnr", "rotation", *(["settled"] if settle else []))}
    row = row_name(name, arm, budget)
    return dict(
        row=row, scene=name, arm=arm, seeds=seeds, digest=row_digest(row), **means, runs=runs, **budget.settings(name)
    )


def row_name(scene: str, arm: str, budget: Budget) -> str:
    return f"{scene} {arm}, {budget}"


def row_digest(row: str) -> str:
    return digest([Path(__file__)], training_digest(), row)


def print_rows(rows: list[dict]) -> None:
    table = Table(title="Poses: held-out PSNR")
    for column in ("row", "PSNR", "settled", "rotation off, degrees", "steps", "seconds"):
        table.add_column(column, justify="left" if column == "row" else "right")
    for row in rows:
        steps, seconds = (mean(run[key] for run in row["runs"]) for key in ("steps", "seconds"))
        settled = f"{row['settled']:.2f}" if "settled" in row else "–"
        figures = f"{row['psnr']:.2f}", settled, f"{row['rotation']:.3f}"
        table.add_row(row["row"], *figures, f"{steps:.0f}", f"{seconds:.0f}")
    Console(width=None if sys.stdout.isatty() else 130).print(table)
    for name in dict.fromkeys(row["scene"] for row in rows):
        print(*verdicts({row["arm"]: row for row in rows if row["scene"] == name}), sep="\n")


def verdicts(of: dict[str, dict]) -> list[str]:
    """What the arms of a scene say of the targets."""
    lines = []
    if set(EXACT) <= set(of):
        lost, regained = (of[arm]["psnr"] - of["disturbed"]["psnr"] for arm in ("given", "recovered"))
        lines.append(
            f"{of['given']['scene']}: {100 * regained / lost:.1f} % of {lost:.2f} dB recovered "
            f"(asked: {100 * SHARE_TARGET:.0f} %), rotations off by {of['recovered']['rotation']:.3f} degrees "
            f"(asked: below {ROTATION_TARGET:g})"
        )
    for arm in set(ESTIMATED[1:]) & set(of) if "given" in of else ():
        gain = of[arm]["psnr"] - of["given"]["psnr"]
        lines.append(f"{of[arm]['scene']}: refining {arm} gains {gain:+.2f} dB (asked: {GAIN_TARGET:g})")
    return lines


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Trains with wrong poses, with and without refining them.")
    parser.add_argument("folder", nargs="?", type=Path, help="where the scenes chair and fox are")
    parser.add_argument("--scenes", nargs="+", choices=list(ARMS_OF), default=list(ARMS_OF))
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float)
    budget.add_argument("--steps", type=int)
    parser.add_argument("--downscale", type=int, help="of the photographs; default: 4 for fox, else 1")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--settle", action="store_true", help="also score held-out views after their cameras settled")
    parser.add_argument("--json", type=Path, help="also write the figures to this file, after every row")
    parser.add_argument("--resume", action="store_true", help="keep rows of the file whose sources have not changed")
    parser.add_argument("--one", type=int, metavar="SEED", help="one run in this process, as JSON")
    options = parser.parse_args(argv)
    require_kernels()
    minutes = 5.0 if options.minutes is None and options.steps is None else options.minutes
    budget = Budget(minutes, options.steps, options.downscale)
    if options.one is not None:
        (name,), (arm,) = options.scenes, options.arms
        print(json.dumps(train_once(options.folder, name, ARMS[arm], budget, options.one, options.settle)))
        return
    kept, rows = earlier_rows(options), []
    for name in options.scenes:
        if name != "builtin" and not (options.folder and (options.folder / name).is_dir()):
            print(f"{name}: skipped, because FOLDER has no {name}")
            continue
        for arm in (arm for arm in ARMS_OF[name] if arm in options.arms):
            row = kept.pop(row_name(name, arm, budget), None)
            wanted = row_digest(row_name(name, arm, budget)), options.seeds, options.settle
            if row is None or (row["digest"], row["seeds"], "settled" in row) != wanted:
                row = measure(options.folder, name, arm, budget, options.seeds, options.settle)
            rows.append(row)
            if options.json:
                write_json(options.json, header() | {"rows": [*rows, *kept.values()]})
    print_rows(rows)


if __name__ == "__main__":
    run(main)
