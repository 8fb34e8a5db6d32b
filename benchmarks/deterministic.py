"""What do repeatable bits cost?  python benchmarks/deterministic.py [--steps N] [--json FILE]

Trains the built-in scene for so many steps, with ``deterministic=True`` three times on all threads and once on one, and
without it; the runs take turns. The parameters of all deterministic runs must agree to the bit.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import time
from pathlib import Path

import torch

import nerfcore

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import header, require_kernels, run, write_json

from nerfcore.training.config import TrainConfig
from nerfcore.training.trainer import Trainer

MOST_PRICE = 1.3


def trained(scene, steps: int, threads: int, deterministic: bool) -> tuple[str, float]:
    """A digest of the parameters, and the seconds that the steps took."""
    torch.set_num_threads(threads)
    trainer = Trainer(scene, TrainConfig(steps=steps, deterministic=deterministic))
    start = time.perf_counter()
    while trainer.steps < steps:
        trainer.step()
    seconds = time.perf_counter() - start
    bits = b"".join(p.detach().numpy().tobytes() for p in trainer.field.parameters())
    return hashlib.sha256(bits).hexdigest()[:16], seconds


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Trains with and without repeatable bits.")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(argv)
    require_kernels()
    threads, scene, seconds = torch.get_num_threads(), nerfcore.load_scene(), {True: [], False: []}
    digests = [trained(scene, options.steps, 1, True)[0]]
    for _ in range(3):
        for deterministic, times in seconds.items():
            digest, spent = trained(scene, options.steps, threads, deterministic)
            times.append(spent)
            digests += [digest] if deterministic else []
    price = statistics.median(seconds[True]) / statistics.median(seconds[False])
    equal = len(set(digests)) == 1
    row = {
        "row": f"{options.steps} steps of the built-in scene", "threads": [1, threads], "runs": 3, "equal": equal,
        "price": price, "target": MOST_PRICE, "met": equal and price <= MOST_PRICE,
    }
    if options.json:
        write_json(options.json, header() | {"rows": [row]})
    print(f"parameters of 3 runs on {threads} threads and of one on 1: {'equal to the bit' if equal else 'DIFFERENT'}")
    print(f"time with deterministic=True over time without: {price:.2f} (target ≤ {MOST_PRICE:g})")


if __name__ == "__main__":
    run(main)
