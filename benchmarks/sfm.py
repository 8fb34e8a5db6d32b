"""Are cameras found where they are?  python benchmarks/sfm.py FOLDER [--threads 2] [--train-minutes M] [--json FILE]

FOLDER holds the scene ``fox``. Its photographs alone go through ``nerfcore process``; cameras are compared with the
given ones after the similarity that brings their centres together, as shares of the diagonal of the box of the given
centres. With --train-minutes both sets of cameras are trained on, for so long and with each of --seeds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import digest, header, require_kernels, run, training_digest, write_json

import nerfcore
from nerfcore.cameras.alignment import Similarity
from nerfcore.cameras.poses import rotation_angle
from nerfcore.data.capture import Capture
from nerfcore.data.formats import read_capture
from nerfcore.errors import OutputError

SCENE, DOWNSCALE = "fox", 4
MOST_SECONDS, MOST_CENTRE_SHARE, MOST_LOST_DB = 900, 0.01, 0.7  # what is asked


def poses_by_name(capture: Capture) -> dict[str, torch.Tensor]:
    return {entry.path.name: entry.pose for entry in capture.entries}


def differences(found: dict[str, torch.Tensor], given: dict[str, torch.Tensor]) -> dict[str, float]:
    """Of centres, as shares of the given ones' extent, and of directions, in degrees; found: [3, 4] by name."""
    ours, theirs = torch.stack(list(found.values())), torch.stack([given[name] for name in found])
    centres = theirs[:, :, 3]
    ours = Similarity.between(ours[:, :, 3], centres).poses(ours)
    share = (ours[:, :, 3] - centres).norm(dim=1) / (centres.amax(0) - centres.amin(0)).norm()
    degrees = rotation_angle(ours[:, :, :3], theirs[:, :, :3]).rad2deg()
    return {
        "centre_share": share.mean().item(), "worst_centre_share": share.max().item(),
        "degrees": degrees.mean().item(), "worst_degrees": degrees.max().item(),
    }


def find_cameras(scene: Path, out: Path, threads: int) -> dict:
    """The row of the JSON about cameras."""
    stages: dict[str, float] = {}
    begun, busy = time.monotonic(), time.process_time()

    def note(stage: str, done: int, total: int) -> None:
        stages[stage] = time.monotonic() - begun

    given = read_capture(scene)
    photos = {entry.path.parent for entry in given.entries}
    result = nerfcore.process(photos.pop(), out, threads=threads, on_progress=note)
    found = differences(poses_by_name(read_capture(out)), poses_by_name(given))
    return {
        "row": f"{SCENE} cameras", "digest": row_digest(), "threads": threads, "photographs": result.photographs,
        "registered": result.registered, "matching": result.matching, "points": result.points,
        "reprojection_error": result.reprojection_error, "seconds": result.seconds,
        "cpu_seconds": time.process_time() - busy, "stages_end": stages, **found,
        "met": result.registered == result.photographs and result.seconds <= MOST_SECONDS
        and found["centre_share"] <= MOST_CENTRE_SHARE,
    }


def train_on(scene: Path, out: Path, minutes: float, seeds: list[int]) -> dict:
    """The row about what is lost by cameras that were found; seeds take turns between the two."""
    psnr: dict[str, list[float]] = {"given": [], "found": []}
    for seed in seeds:
        for name, path in (("given", scene), ("found", out)):
            metrics = nerfcore.train(path, minutes=minutes, downscale=DOWNSCALE, seed=seed).metrics
            psnr[name].append(metrics["psnr"])
            print(f"{name} cameras, seed {seed}: {metrics['psnr']:.2f} dB, {metrics['steps']} steps", flush=True)
    lost = mean(psnr["given"]) - mean(psnr["found"])
    return {
        "row": f"{SCENE}@{minutes * 60:g} on found cameras", "digest": row_digest(), "seeds": seeds, "psnr": psnr,
        "lost_db": lost, "met": lost <= MOST_LOST_DB,
    }


def row_digest() -> str:
    return digest([Path(__file__)], training_digest("nerfcore.sfm.process"))


def print_rows(rows: list[dict]) -> None:
    table = Table("row", "figure", "found", "asked")
    for row in rows:
        if "psnr" in row:
            table.add_row(row["row"], "lost", f"{row['lost_db']:.2f} dB", f"≤ {MOST_LOST_DB} dB")
            continue
        table.add_row(row["row"], "registered", f"{row['registered']} of {row['photographs']}", "all")
        table.add_row("", "seconds", f"{row['seconds']:.0f} ({row['cpu_seconds']:.0f} of CPU)", f"≤ {MOST_SECONDS}")
        centres = f"{row['centre_share']:.3%}, worst {row['worst_centre_share']:.3%}"
        table.add_row("", "centres off by", centres, f"≤ {MOST_CENTRE_SHARE:.0%} of the extent")
        table.add_row("", "turned by", f"{row['degrees']:.2f}°, worst {row['worst_degrees']:.2f}°", "")
    Console(width=None if sys.stdout.isatty() else 130).print(table)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Finds the cameras of photographs and compares them with given ones.")
    parser.add_argument("folder", type=Path, help=f"where the scene {SCENE} is")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="keep the capture in this folder, which must be new")
    parser.add_argument("--train-minutes", type=float, help="also train on both sets of cameras, for so long each")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(argv)
    if options.train_minutes:
        require_kernels()
    if options.out and options.out.exists():
        raise OutputError(f"{options.out}: exists, and the time of what is in it would not count; choose a new folder")
    head = header()
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder, "out")
        rows = [find_cameras(options.folder / SCENE, out, options.threads)]
        if options.json:
            write_json(options.json, head | {"rows": rows})
        if options.train_minutes:
            rows.append(train_on(options.folder / SCENE, out, options.train_minutes, options.seeds))
    if options.json:
        write_json(options.json, head | {"rows": rows})
    print_rows(rows)


if __name__ == "__main__":
    run(main)
