"""What does contraction gain where a scene has no end?  python benchmarks/unbounded.py [--arms ...] [--json FILE]

Every arm trains for as many steps on the photographs of ``nerfcore.synthetic.unbounded``, whose objects lie out to 100
times the ring of cameras: contracted, in the box that its files state and that holds the ring, and in boxes so many
times as large, also before a sphere that is learned. A row is the mean over the seeds, with every run beside it: PSNR
over the held-out views.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table

import nerfcore
from nerfcore.synthetic.unbounded import write_scene

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import digest, earlier_rows, header, require_kernels, run, training_digest, write_json

ARMS = {
    "contracted": dict(bounds="contracted"),
    "box": dict(bounds="box"),
    **{f"box x{scale}": dict(bounds="box", scale=scale) for scale in (4, 16, 64)},
    "box, sphere": dict(bounds="box", background="learned"),
    "box x16, sphere": dict(bounds="box", background="learned", scale=16),
}
TARGET, MORE_THAN_BOX = 27.0, 3.0  # dB, of contraction


def measure(arm: str, folder: Path, steps: int, seeds: list[int]) -> dict:
    """One row of the JSON."""
    kept = "psnr ssim train_seconds rays_per_second peak_rss_bytes num_eval_images".split()
    runs = []
    for seed in seeds:
        result = nerfcore.train(folder, steps=steps, seed=seed, **ARMS[arm]).metrics
        runs.append({"seed": seed} | {name: result[name] for name in kept})
    psnr = [r["psnr"] for r in runs]
    return {
        "row": arm, "steps": steps, "seeds": seeds, "digest": row_digest(arm), "psnr": mean(psnr), "worst": min(psnr),
        "runs": runs,
    }


def row_digest(arm: str) -> str:
    return digest([Path(__file__)], training_digest("nerfcore.synthetic.unbounded"), arm)


def judge(rows: list[dict]) -> None:
    """Adds what is asked of contraction, and of its lead over the box of the files, where both were measured."""
    psnr = {row["row"]: row["psnr"] for row in rows}
    for row in rows:
        if row["row"] == "contracted":
            row |= {"target": TARGET, "met": row["psnr"] >= TARGET}
        elif "contracted" in psnr:
            row["contracted_gains"] = psnr["contracted"] - row["psnr"]
            if row["row"] == "box":
                row |= {"target": MORE_THAN_BOX, "met": row["contracted_gains"] >= MORE_THAN_BOX}


def print_rows(rows: list[dict]) -> None:
    table = Table(title=f"PSNR over the held-out views after {rows[0]['steps']} steps" if rows else "Nothing measured")
    for column in ("arm", "mean", "worst", "contracted gains", "target", "met", "seconds"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for row in rows:
        gain = f"{row['contracted_gains']:+.2f}" if "contracted_gains" in row else "–"
        target, met = (f"{row['target']:g}", str(row["met"])) if "target" in row else ("–", "–")
        seconds = mean(r["train_seconds"] for r in row["runs"])
        table.add_row(row["row"], f"{row['psnr']:.2f}", f"{row['worst']:.2f}", gain, target, met, f"{seconds:.0f}")
    Console(width=None if sys.stdout.isatty() else 130).print(table)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Trains a scene without an end, contracted and in boxes.")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM", help=", ".join(ARMS))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="also write the figures to this file, after every row")
    parser.add_argument("--resume", action="store_true", help="keep rows of the file whose sources have not changed")
    options = parser.parse_args(argv)
    require_kernels()
    kept, rows = earlier_rows(options), []
    with tempfile.TemporaryDirectory() as folder:
        write_scene(Path(folder))
        for arm in options.arms:
            row = kept.pop(arm, None)
            asked = row_digest(arm), options.steps, options.seeds
            if row is None or (row["digest"], row["steps"], row["seeds"]) != asked:
                row = measure(arm, Path(folder), options.steps, options.seeds)
            rows.append(row)
            judge(rows)
            if options.json:
                write_json(options.json, header() | {"rows": [*rows, *kept.values()]})
    print_rows(rows)


if __name__ == "__main__":
    run(main)
