"""How good are pictures after so many seconds?  python benchmarks/quality.py FOLDER [--rows fox@15 ...] [--json FILE]

Every mark is a run of its own with that budget, from an empty process: loading photographs, setting up occupancy and
training count, importing, compiling and the final evaluation do not. FOLDER holds the scenes ``fox``, ``chair`` and
``fern``; the built-in scene needs none. A row is the mean over the seeds, with every run beside it: PSNR over all
held-out views, the wall time of training and the time that it kept the cores busy. Models of the built-in scene then
render larger pictures, in the same way as those that were scored; a picture counts from the camera to the pixels.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import mean

import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import digest, earlier_rows, header, require_kernels, run, training_digest, write_json
from timing import busy_seconds, one_turn, take_turns, thread_seconds


@dataclass(frozen=True)
class Mark:
    """A budget in seconds for a scene, and the PSNR that is asked of it."""

    scene: str
    seconds: int
    target: float | None  # dB
    preset: str = "default"

    @property
    def row(self) -> str:
        return f"{self.scene}@{self.seconds}" + ("" if self.preset == "default" else f" {self.preset}")


MARKS = [
    *(Mark("builtin", seconds, target) for seconds, target in ((15, 28.0), (60, 31.0))),
    *(Mark("fox", seconds, target) for seconds, target in ((15, 27.0), (60, 29.5), (120, 30.5), (300, 31.0))),
    *(Mark("chair", seconds, target) for seconds, target in ((60, 30.5), (300, 32.5))),
    Mark("fern", 300, 23.5),  # 10 minutes of two cores
    *(Mark("fox", seconds, None, preset) for preset in ("fast", "best") for seconds in (15, 60, 300)),
]
DOWNSCALE = {"fox": 4}
PICTURES = {800: 0.3, 400: 1 / 12}
"""Pixels on a side, and the seconds that a picture of the built-in scene may take."""


def train_once(mark: Mark, folder: Path | None, seed: int) -> dict:
    """One run in this process."""
    import nerfcore

    cores: dict[str, dict[str, float]] = {}

    def note(progress) -> None:
        cores.setdefault(progress.stage, thread_seconds())

    trained = nerfcore.train(
        None if mark.scene == "builtin" else folder / mark.scene, on_progress=note, seed=seed,
        minutes=mark.seconds / 60, downscale=DOWNSCALE.get(mark.scene, 1), preset=mark.preset,
    )
    result = trained.metrics
    busy = busy_seconds(cores["loading"], cores["evaluating"], torch.get_num_threads())
    kept = "psnr ssim steps rays_per_second samples_per_second peak_rss_bytes num_eval_images".split()
    pictures = picture_seconds(trained.model) if mark.scene == "builtin" else {}
    return {"seed": seed, "wall": result["train_seconds"], "busy": busy, **pictures} | {k: result[k] for k in kept}


def picture_seconds(model) -> dict[str, dict]:
    """Of pictures of the training views, every fifth, in turn: busy time and wall time, medians."""
    arms = {}
    for side in PICTURES:
        views = cycle([(camera.resized(side, side), pose) for _, camera, pose in model.cameras[::5]])
        arms[side] = partial(one_turn, lambda views=views: model.render_image(*next(views)), torch.get_num_threads())
    timings = take_turns(arms, 0.0, rounds=len(model.cameras[::5]))
    return {"pictures": {side: {"busy": t.busy, "wall": t.median} for side, t in timings.items()}}


def measure(mark: Mark, folder: Path | None, seeds: list[int]) -> dict:
    """One row of the JSON; every run in a process of its own."""
    runs = []
    for seed in seeds:
        words = [sys.executable, __file__, *([str(folder)] if folder else []), "--rows", mark.row, "--one", str(seed)]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    psnr = [r["psnr"] for r in runs]
    return {
        "row": mark.row, "scene": mark.scene, "seconds": mark.seconds, "preset": mark.preset, "seeds": seeds,
        "digest": row_digest(mark), "psnr": mean(psnr), "worst": min(psnr), "spread": max(psnr) - min(psnr),
        "target": mark.target, "met": None if mark.target is None else mean(psnr) >= mark.target, "runs": runs,
    }


def row_digest(mark: Mark) -> str:
    return digest([Path(__file__)], training_digest(), mark.row)


def print_rows(rows: list[dict]) -> None:
    table = Table(title="PSNR over the held-out views")
    for column in ("row", "mean", "worst", "target", "busy s", "wall s", "steps"):
        table.add_column(column, justify="left" if column == "row" else "right")
    for row in rows:
        busy, wall, steps = (mean(r[name] for r in row["runs"]) for name in ("busy", "wall", "steps"))
        target = "–" if row["target"] is None else f"{row['target']:g}"
        figures = f"{row['psnr']:.2f}", f"{row['worst']:.2f}", target, f"{busy:.1f}", f"{wall:.1f}", f"{steps:.0f}"
        table.add_row(row["row"], *figures)
    Console(width=None if sys.stdout.isatty() else 130).print(table)


def main(argv: list[str] | None = None) -> None:
    names = [mark.row for mark in MARKS]
    parser = argparse.ArgumentParser(description="Trains for so many seconds and says how good the pictures are.")
    parser.add_argument("folder", nargs="?", type=Path, help="where the scenes fox, chair and fern are")
    parser.add_argument("--rows", nargs="+", choices=names, metavar="SCENE@SECONDS", help=", ".join(names))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="also write the figures to this file, after every row")
    parser.add_argument("--resume", action="store_true", help="keep rows of the file whose sources have not changed")
    parser.add_argument("--one", type=int, metavar="SEED", help="one run in this process, as JSON")
    options = parser.parse_args(argv)
    require_kernels()
    marks = [mark for mark in MARKS if options.rows is None or mark.row in options.rows]
    if options.one is not None:
        print(json.dumps(train_once(marks[0], options.folder, options.one)))
        return
    kept, rows = earlier_rows(options), []
    for mark in marks:
        if mark.scene != "builtin" and not (options.folder and (options.folder / mark.scene).is_dir()):
            print(f"{mark.row}: skipped, because FOLDER has no {mark.scene}")
            continue
        row = kept.pop(mark.row, None)
        if row is None or (row["digest"], row["seeds"]) != (row_digest(mark), options.seeds):
            row = measure(mark, options.folder, options.seeds)
        rows.append(row)
        if options.json:
            write_json(options.json, header() | {"rows": [*rows, *kept.values()]})
    print_rows(rows)


if __name__ == "__main__":
    run(main)
