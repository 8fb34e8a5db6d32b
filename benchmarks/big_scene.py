"""What takes training on more photographs than memory holds?  python benchmarks/big_scene.py [--photos N] [--json FILE]

Writes N photographs of 12 megapixels into a temporary folder, trains on them in a process of its own, and reads what
the system counted of that process: the most memory that it had, what of it was its own, and what were pages of files
(the program, and the pool, which the system may take back at any time). Photographs are a few pictures under N names
(hard links): decoding them costs what N pictures cost, and they take the disk of a few. The one that is held out has a
sixteenth of the width, because pictures of such nonsense, fog all over, take long. Their quality means nothing;
tests/training/test_pooled_training.py looks at that. The pool needs its space in --folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import header, require_kernels, run, write_json

from nerfcore.cameras import look_at

WIDTH, HEIGHT, DISTINCT = 4000, 3000, 8
LIMIT, POOL_LIMIT = 8 * 2**30, 16 * 2**30  # bytes that are asked for: of memory, of the pool
LOOK_EVERY = 0.1  # seconds
COUNTERS = {"private": "RssAnon", "mapped": "RssFile", "shared": "RssShmem"}  # names in /proc/PID/status


def write_photos(folder: Path, count: int, shape: tuple[int, int]) -> None:
    """``count`` cameras on a sphere, each with a focal length of its own, and one that is held out."""
    random = np.random.default_rng(0)
    for i in range(DISTINCT):
        tiles = random.integers(0, 192, (*(side // 16 + 1 for side in shape), 3), dtype=np.uint8)
        tiles = tiles.repeat(16, axis=0).repeat(16, axis=1)[: shape[0], : shape[1]]
        iio.imwrite(folder / f"noise_{i}.jpg", tiles + random.integers(0, 32, (*shape, 1), dtype=np.uint8), quality=90)
    towards = torch.nn.functional.normalize(torch.from_numpy(random.normal(size=(count, 3))), dim=-1)
    poses = torch.nn.functional.pad(look_at(4 * towards, (0.0, 0.0, 0.0)).double(), (0, 0, 0, 1))
    poses[:, 3, 3] = 1
    names = [f"{i:05}.jpg" for i in range(count)]
    for i, name in enumerate(names):
        os.link(folder / f"noise_{i % DISTINCT}.jpg", folder / name)
    iio.imwrite(folder / "held_out.jpg", iio.imread(folder / names[-1])[::16, ::16])
    frames = [
        dict(file_path=name, transform_matrix=pose.tolist(), fl_x=0.9 * shape[1] + 1e-3 * i, k1=0.02, k2=-0.01)
        for i, (name, pose) in enumerate(zip(names, poses, strict=True))
    ]
    frames.append(frames[-1] | dict(file_path="held_out.jpg", fl_x=0.9 * shape[1] / 16))
    listed = dict(camera_model="OPENCV", frames=frames, train_filenames=names, test_filenames=["held_out.jpg"])
    (folder / "transforms.json").write_text(json.dumps(listed))


def watch(process: subprocess.Popen, peaks: dict[str, int]) -> None:
    """Until the process ends, notes the most bytes of each of COUNTERS."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        for name, counter in COUNTERS.items():
            if counter in lines:
                peaks[name] = max(peaks[name], 1024 * int(lines[counter].split()[0]))
        time.sleep(LOOK_EVERY)


def train_once(scene: Path, out: Path, settings: dict) -> None:
    """In this process: training alone, or with its evaluation. Prints what it found as JSON."""
    import resource

    import nerfcore

    peak, stages = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, {}

    def note(progress) -> None:
        stages.setdefault(progress.stage, dict(seconds=time.perf_counter() - began, peak_bytes=peak()))

    began = time.perf_counter()
    run = nerfcore.train(scene, out, on_progress=note, **settings)
    kept = "steps train_seconds rays_per_second memory_limit_bytes pool_bytes num_eval_images".split()
    total = dict(total_seconds=time.perf_counter() - began, peak_bytes=peak())
    print(json.dumps({name: run.metrics[name] for name in kept} | dict(stages=stages, **total)))


def measure(options: argparse.Namespace) -> dict:
    shape = (HEIGHT, WIDTH) if not options.quick else (HEIGHT // 16, WIDTH // 16)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="big-scene-") as name:
        folder = Path(name)
        write_photos(folder, options.photos, shape)
        budget = dict(steps=3, memory=1e-4) if options.quick else dict(minutes=options.minutes)
        settings = dict(budget, pool=options.pool, device="cpu")
        words = [sys.executable, __file__, "--one", name, json.dumps(settings)]
        process, peaks = subprocess.Popen(words, stdout=subprocess.PIPE, text=True), dict.fromkeys(COUNTERS, 0)
        watcher = threading.Thread(target=watch, args=(process, peaks))
        watcher.start()
        said, _ = process.communicate()
        watcher.join()
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, words)
        found = json.loads(said.splitlines()[-1])
    pixels = options.photos * shape[0] * shape[1]
    return dict(
        photos=options.photos, width=shape[1], height=shape[0], bytes_of_pixels=3 * pixels, quick=options.quick,
        settings=settings, **{f"peak_{name}_bytes": value for name, value in peaks.items()}, **found,
        met=found["peak_bytes"] <= LIMIT and 0 < found["pool_bytes"] <= POOL_LIMIT,
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Trains on more photographs than memory holds.")
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--pool", type=float, default=8.0, help="GiB")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for photographs and pool")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--quick", action="store_true", help="small photographs and three steps: to see that it works")
    parser.add_argument("--one", nargs=2, metavar=("SCENE", "SETTINGS"), help="one run in this process, as JSON")
    options = parser.parse_args(argv)
    if options.one:
        scene = Path(options.one[0])
        train_once(scene, scene / "run", json.loads(options.one[1]))
        return
    require_kernels()
    figures = measure(options)
    if options.json:
        write_json(options.json, header() | dict(rows=[figures]))
    gib = {name: figures[name] / 2**30 for name in figures if name.endswith("_bytes") or name == "bytes_of_pixels"}
    for name, value in gib.items():
        print(f"{name:22} {value:8.2f} GiB")
    print(f"{figures['steps']} steps, {figures['rays_per_second']:.0f} rays/s; {'met' if figures['met'] else 'missed'}")


if __name__ == "__main__":
    run(main)
