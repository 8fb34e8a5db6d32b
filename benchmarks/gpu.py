"""Everything that wants to be known on a machine with a GPU; gpu_check.sh calls it.

    benchmarks/gpu_check.sh [build|tests|sanitize|ops|peers|scenes ...] [--scenes FOLDER] [--resume] [--limit SECONDS]

Without a part, all of them one after another, each in a process of its own; then what misses its target. A part writes
what it found to benchmarks/results/GPU.json as soon as it has it, and leaves the other parts there as they are. It
stops at its limit, so that all together take less than 10 minutes; --resume goes on with what is missing, and keeps
what was found with the same sources on the same machine.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

import nerfcore
from nerfcore import _extension, _toolchain
from nerfcore.errors import NerfcoreError
from nerfcore.training.config import TrainConfig
from nerfcore.training.trainer import Trainer

sys.path.insert(0, str(Path(__file__).resolve().parent))
import gpu_rows
from common import SCHEMA, digest, package_digest, run, write_json
from gpu_rows import CACHES, KINDS, PASSES, RENDERING, STORAGES, Clock, device_turn, grid_name, mlp_name, sentence

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {"build": None, "tests": 120.0, "sanitize": 90.0, "ops": 50.0, "peers": 60.0, "scenes": 150.0}
"""Seconds that each part may take, by the name of the part. A build cannot go on where it was stopped."""
SANITIZERS = "memcheck", "racecheck"
PICTURE = 800  # pixels on a side
VIEWS = 8  # that are rendered in turn
STEPS_BEFORE, STEPS_WATCHED = 320, 32  # of training; the first ones are unlike the others
HOST_WAITS = "cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy"
WARNED = "called a synchronizing CUDA operation"
KERNELS_NAMED = 12
LARGEST_ERROR = 0.05  # of a peer in half precision; a gradient flips where a hidden unit passes zero
STEPS_AHEAD = 32  # that the host may be before the GPU


class Target(NamedTuple):
    """least or most: of a figure of a row of a part, on an H200."""

    part: str
    row: str
    figure: str
    least: float | None = None
    most: float | None = None

    def verdict(self, parts: dict) -> dict:
        """What was found and whether it is enough; where nothing was, ``why``."""
        row = next((r for r in parts.get(self.part, {}).get("rows", ()) if r["row"] == self.row), {})
        found = row.get("figures", {}).get(self.figure)
        verdict = {"work": self.row, "asks": str(self), "found": found}
        if found is None:
            why = row.get("failed") or row.get("absent", {}).get(self.figure.removeprefix("x "), "not measured")
            return verdict | {"met": None, "why": why}
        return verdict | {"met": found >= self.least if self.most is None else found <= self.most}

    def __str__(self) -> str:
        return f"≥ {self.least:g} {self.figure}" if self.most is None else f"≤ {self.most:g} {self.figure}"


@dataclass(frozen=True)
class Mark:
    """A scene that is trained for so many seconds. Reading it, compiling and the evaluation do not count."""

    scene: str
    seconds: int
    downscale: int = 1

    @property
    def row(self) -> str:
        return f"{self.scene}@{self.seconds}"


CAPTURES = Mark("chair", 5), Mark("fox", 5, downscale=4), Mark("chair", 30)
BUILTIN = Mark("builtin", 5), Mark("builtin", 30)
RENDERED, STEPPED = f"render {PICTURE}x{PICTURE} of ", "training step"  # of the last mark's scene

TARGETS = [
    *(
        Target("peers", grid_name(way, kind, storage), "x tinycudann", least=1.2)
        for way in gpu_rows.GRID_PASSES for storage in STORAGES for kind in KINDS
    ),
    *(
        Target("peers", mlp_name(way), f"x {library}", least=times)
        for way in PASSES for library, times in (("tinycudann", 1.2), ("torch", 5))
    ),
    Target("peers", RENDERING, "x nerfacc", least=2),
    *(Target("scenes", row, "dB", least=n) for row, n in (("chair@5", 30), ("chair@30", 33), ("fox@5", 28))),
    Target("scenes", RENDERED + "chair", "frames/s", least=60),
    Target("scenes", STEPPED, "host waits", most=0),
]


def part_digest(part: str) -> str:
    """Of what the rows of a part depend on that have no digest of their own."""
    files = {"tests": (ROOT / "tests").rglob("*.py"), "sanitize": [Path(gpu_rows.__file__)]}
    return digest([Path(__file__), *files.get(part, ())], package_digest())


class Results:
    """The file of a GPU: what each part found, under the name of the part."""

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> dict[str, dict]:
        return json.loads(self.path.read_text(encoding="utf-8"))["parts"] if self.path.is_file() else {}

    def write(self, part: str, found: dict) -> None:
        """Replaces one part; others may have been written meanwhile."""
        new = self.path.with_suffix(".new")
        write_json(new, {"schema": SCHEMA, "gpu": found["machine"]["gpu"], "parts": self.read() | {part: found}})
        new.replace(self.path)  # whole at any moment


@dataclass
class Session:
    """One part at work. kept: its rows of an earlier run on this machine, by name, if they are to be kept."""

    part: str
    results: Results
    header: dict
    kept: dict[str, dict]
    limit: float | None = None
    scenes: Path | None = None
    device: torch.device = torch.device("cuda")
    clock: Clock = device_turn

    def __post_init__(self):
        self.started, self.rows = time.perf_counter(), []

    @property
    def left(self) -> float | None:
        """Seconds until the limit."""
        return None if self.limit is None else self.limit - (time.perf_counter() - self.started)

    def add(self, name: str, source: str, measure: Callable[[], dict], **facts) -> None:
        """Measures a row, unless one of the same sources is there or the time is over, and writes it down. facts: of
        the part, beside its rows."""
        row = self.kept.pop(name, None)
        if row is None or row["digest"] != source or "failed" in row:
            if self.left is not None and self.left <= 0:
                row = {"failed": f"the {self.limit:g} s of this part were over; --resume goes on"}
            else:
                try:
                    row = measure()
                except Exception as error:  # what one row raises must not keep the others from being measured
                    row = {"failed": sentence(error)}
            row = {"row": name, "digest": source} | row
        self.rows.append(row)
        print(f"{self.part}: {name}: {row.get('failed') or summary(row)}", flush=True)
        seconds = time.perf_counter() - self.started
        rows = [*self.rows, *self.kept.values()]  # a part that is stopped loses nothing that it was to keep
        self.results.write(self.part, self.header | {"seconds": round(seconds, 1)} | facts | {"rows": rows})

    @property
    def failed(self) -> bool:
        return any("failed" in row for row in self.rows)


def summary(row: dict) -> str:
    """Of a row that did not fail, in a few words."""
    words = [row["said"]] if "said" in row else []
    words += [f"{row['ms']:.4g} ms"] if "ms" in row else []
    words += [f"{value:.4g} {figure}" for figure, value in row.get("figures", {}).items()]
    words += [f"{share:.0%} of a {name}" for name, share in row.get("share_of", {}).items() if share >= 0.005]
    return ", ".join([*words, *row.get("absent", {}).values(), *differing(row)])


def differing(row: dict) -> list[str]:
    """Which libraries computed something else."""
    errors = row.get("error", {}).items()
    return [f"{name} differs from ours by {e:.0%}" for name, e in errors if e is not None and not e <= LARGEST_ERROR]


def build(session: Session) -> None:
    def measure() -> dict:
        cached, start = _extension.status()["compiled"], time.perf_counter()
        if problem := _extension.unavailable("cuda"):
            return {"failed": problem}
        said = "found in the cache" if cached else f"compiled in {time.perf_counter() - start:.0f} s"
        return {"said": said, "flags": " ".join(_toolchain.cuda_flags())}

    session.add("kernels", part_digest("build"), measure)


def tests(session: Session) -> None:
    """Whatever has "cuda" in its name, as the tests of the CUDA backend have."""
    words = ["-m", "pytest", "-q", "-k", "cuda and not test_cuda_compiles", "--continue-on-collection-errors", "tests"]

    def measure() -> dict:
        code, lines = finished([sys.executable, *words], {"NERFCORE_REQUIRE": "cpu,cuda"}, session.left)
        return of_pytest(code, lines)

    session.add("pytest", part_digest("tests"), measure)


def of_pytest(code: int, lines: list[str]) -> dict:
    """What its last lines say. A file that wants a package which this machine lacks is named and fails nothing."""
    said = lines[-1].strip("= ") if lines else "no output"
    errors = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    unread = [line for line in errors if "::" not in line.split(" - ")[0] and "ModuleNotFoundError" in line]
    if code == 0 or (code == 1 and errors == unread):
        return {"said": said, "unread": unread}
    return {"failed": said, "failures": errors}


def sanitize(session: Session) -> None:
    """Every row of the operations once, on hardly any data."""
    tool = compute_sanitizer()
    # torch's own cache of memory would hide where a tensor ends
    environment = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "CUDA_MODULE_LOADING": "LAZY"}

    def measure(name: str, share: float) -> dict:
        if tool is None:
            return {"said": "skipped, because compute-sanitizer was not found; it is part of the CUDA toolkit"}
        words = [tool, "--tool", name, "--error-exitcode", "9", sys.executable, gpu_rows.__file__]
        code, lines = finished(words, environment, session.left and session.left * share)
        said = next((line for line in reversed(lines) if "SUMMARY" in line), lines[-1] if lines else "no output")
        said = said.strip("= ")
        return {"said": said} if code == 0 else {"failed": said, "output": lines[:200]}

    for i, name in enumerate(SANITIZERS):
        session.add(name, part_digest("sanitize"), partial(measure, name, 1 / (len(SANITIZERS) - i)))


def compute_sanitizer() -> str | None:
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda"
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=os.path.join(home, "bin"))


def finished(words: list[str], environment: dict[str, str], seconds: float | None) -> tuple[int, list[str]]:
    """Exit code and lines of a program in the checkout; -1 and a sentence where it was stopped at the limit."""
    try:
        done = subprocess.run(
            words, cwd=ROOT, env=os.environ | environment, timeout=seconds, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
    except subprocess.TimeoutExpired:
        return -1, [f"stopped after {seconds:.0f} s; --limit gives it more"]
    return done.returncode, [line for line in done.stdout.splitlines() if line.strip()]


def ops(session: Session) -> None:
    rates = gpu_rows.ceilings(session.device, session.clock)
    for row in gpu_rows.op_rows():
        measure = partial(gpu_rows.time_alone, row, row.work, session.device, session.clock, rates)
        session.add(row.name, row.digest(), measure, ceilings=rates, caches=CACHES)


def peers(session: Session) -> None:
    for row in gpu_rows.peer_rows():
        measure = partial(gpu_rows.time_beside_peers, row, row.work, session.device, session.clock)
        session.add(row.name, row.digest(), measure)


def scenes(session: Session) -> None:
    """Quality by seconds of training, pictures, and what a step waits for."""
    folder, marks = session.scenes, BUILTIN
    if folder is not None:
        marks = [mark for mark in CAPTURES if (folder / mark.scene).is_dir()]
        for name in sorted({mark.scene for mark in CAPTURES} - {mark.scene for mark in marks}):
            print(f"scenes: {name} is skipped, because {folder} has no folder of that name")
    source, loaded, trainers = part_digest("scenes"), {}, {}

    def train(mark: Mark) -> dict:
        if mark.scene not in loaded:
            path = None if mark.scene == "builtin" else folder / mark.scene
            loaded[mark.scene] = nerfcore.load_scene(path, downscale=mark.downscale)
            trained(loaded[mark.scene], session.device, steps=STEPS_BEFORE)  # what a process does once does not count
        trainer, seconds = trained(loaded[mark.scene], session.device, minutes=mark.seconds / 60)
        trainers[mark] = trainer
        metrics = nerfcore.evaluate(trainer.model({}), trainer.scene).metrics
        return {
            "figures": {"dB": metrics["psnr"]}, "ssim": metrics["ssim"], "views": metrics["num_eval_images"],
            "seconds": seconds, "steps": trainer.steps, "rays": trainer.rays, "samples": trainer.samples,
        }

    def trainer_of(mark: Mark) -> Trainer:
        if mark not in trainers:  # its row was kept
            train(mark)
        return trainers[mark]

    def render(mark: Mark) -> dict:
        return frame_rate(trainer_of(mark).model({}), session.device, session.clock)

    def watch(mark: Mark) -> dict:
        trainer, _ = trained(trainer_of(mark).scene, session.device, steps=STEPS_BEFORE)
        return host_waits(trainer.step)

    for mark in marks:
        session.add(mark.row, source, partial(train, mark))
    for mark in marks[-1:]:
        session.add(RENDERED + mark.scene, source, partial(render, mark))
        session.add(STEPPED, source, partial(watch, mark))


def trained(scene: nerfcore.Scene, device: torch.device, **budget) -> tuple[Trainer, float]:
    """From a cold optimiser; and the seconds until the GPU had done it."""
    trainer = Trainer(scene, TrainConfig(device=device.type, **budget), device.type)
    trainer.started = time.perf_counter()
    while trainer.fraction < 1:
        trainer.step()
        if trainer.steps % STEPS_AHEAD == 0:
            trainer.loss.item()  # waits for the GPU, so that the clock is that of work done
    trainer.check_finite()
    return trainer, trainer.seconds


def frame_rate(model: nerfcore.Model, device: torch.device, clock: Clock, side: int = PICTURE) -> dict:
    """Of pictures of training views in turn, their rays included; they stay on the GPU."""
    cameras = model.cameras[:VIEWS]
    views = itertools.cycle((camera.resized(side, side), pose.to(device)) for _, camera, pose in cameras)
    frame = partial(clock, lambda: model.render(nerfcore.camera_rays(*next(views))))
    seconds = gpu_rows.timed({"frame": frame})["frame"].median
    return {"ms": seconds * 1e3, "figures": {"frames/s": 1 / seconds}}


def host_waits(step: Callable[[], None], steps: int = STEPS_WATCHED) -> dict:
    """How often the host waits for the GPU in a training step, where torch says that it does, and the kernels that
    take longest."""
    kinds = torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA
    with torch.profiler.profile(activities=kinds) as profile, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        with torch.profiler.record_function("watched steps"):
            for _ in range(steps):
                step()
        torch.cuda.set_sync_debug_mode("default")
    places = Counter(
        f"{Path(warning.filename).name}:{warning.lineno}" for warning in said if WARNED in str(warning.message)
    )
    averages = profile.key_averages()
    kernels = sorted(averages, key=lambda event: event.self_device_time_total, reverse=True)[:KERNELS_NAMED]
    return {
        "figures": {"host waits": count_waits(profile.events(), sum(places.values())) / steps},
        "steps": steps, "places": dict(places.most_common()),
        "kernels": [{"name": k.key[:80], "ms": k.self_device_time_total / 1e3, "calls": k.count} for k in kernels],
    }


def count_waits(events: Iterable, warned: int) -> int:
    """The calls of CUDA that wait within the watched steps; where the profiler saw no call of CUDA at all, as in
    containers that forbid it, those that torch warned of."""
    host = [event for event in events if event.device_type == torch.autograd.DeviceType.CPU]
    span = next(event.time_range for event in host if event.name == "watched steps")
    names = [event.name for event in host if span.start <= event.time_range.start <= span.end]
    if not any("Launch" in name for name in names):
        return warned
    return sum(name in HOST_WAITS for name in names)


PARTS: dict[str, Callable[[Session], None]] = {
    "build": build, "tests": tests, "sanitize": sanitize, "ops": ops, "peers": peers, "scenes": scenes,
}


def header() -> dict:
    """When, where and of which sources the figures are."""
    properties, nvcc = torch.cuda.get_device_properties(0), _toolchain.nvcc_version()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            "gpu": properties.name, "capability": f"{properties.major}.{properties.minor}",
            "memory_gib": round(properties.total_memory / 2**30, 1), "driver": driver(),
            "cuda": torch.version.cuda, "nvcc": next(iter(re.findall(r"release ([\d.]+)", nvcc)), "unknown"),
            "cpus": os.cpu_count(),
        },
        "torch": torch.__version__,
        "sources": package_digest(),
    }


def driver() -> str:
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def file_name(gpu: str) -> str:
    """nvidia-h200.json of an "NVIDIA H200"."""
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-") + ".json"


def run_part(part: str, results: Results, options: argparse.Namespace) -> bool:
    """Whether all of it could be done."""
    now, before = header(), results.read().get(part, {}) if options.resume else {}
    here = all(before.get(name) == now[name] for name in ("machine", "torch"))
    kept = {row["row"]: row for row in before["rows"]} if here else {}
    if part != "build" and (problem := _extension.unavailable("cuda")):
        raise NerfcoreError(f"{part} needs the compiled kernels: {problem}")
    session = Session(part, results, now, kept, options.limit or LIMITS[part], options.scenes)
    PARTS[part](session)
    return not session.failed


def print_verdicts(parts: dict, of: list[str]) -> None:
    """What misses its target, and what is not known yet. Targets are for an H200."""
    verdicts = [target.verdict(parts) for target in TARGETS if target.part in of]
    if not verdicts:
        return
    table = Table(title=f"{sum(v['met'] is True for v in verdicts)} of {len(verdicts)} targets are met; the others:")
    for column in ("work", "asked", "found"):
        table.add_column(column, overflow="fold")
    for v in verdicts:
        if not v["met"]:
            table.add_row(v["work"], v["asks"], v["why"] if v["met"] is None else f"missed: {v['found']:.3g}")
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="gpu_check.sh", description="Builds, tests and times nerfcore on a GPU.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; without any, all of them")
    parser.add_argument("--scenes", type=Path, metavar="FOLDER", help="that holds chair and fox; else built in")
    parser.add_argument("--resume", action="store_true", help="keep what was found with the same sources")
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="for each part, instead of its own")
    options = parser.parse_args(argv)
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"there is no part {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    if options.scenes is not None and not options.scenes.is_dir():
        parser.error(f"there is no folder {options.scenes}")
    if problem := _toolchain.cuda_missing():
        sys.exit(f"There is no GPU to check: {problem}.")
    results = Results(ROOT / "benchmarks" / "results" / file_name(torch.cuda.get_device_name(0)))
    chosen = options.parts or list(PARTS)
    done = run_part(*chosen, results, options) if len(chosen) == 1 else run_alone(chosen, options)
    print_verdicts(results.read(), chosen)
    print(f"The figures are in {results.path}.")
    if not done:
        sys.exit("Not all of it could be done; see above.")


def run_alone(parts: list[str], options: argparse.Namespace) -> bool:
    """Each part in a process of its own, so that one that drives the GPU into an error ends alone; without a build,
    there is nothing to run. Whether all of it could be done."""
    words, done = ["--resume"] if options.resume else [], []
    words += [f"--{name}={value}" for name in ("scenes", "limit") if (value := getattr(options, name)) is not None]
    for part in parts:
        done.append(subprocess.run([sys.executable, __file__, part, *words]).returncode == 0)
        if part == "build" and not done[-1]:
            break
    return all(done)


if __name__ == "__main__":
    run(main)
