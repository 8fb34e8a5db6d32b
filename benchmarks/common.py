"""What the benchmarks share: interleaved timing, the header of their JSON, and points as a training step meets them."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nerfcore import _extension
from nerfcore.errors import NerfcoreError, OutputError

SCHEMA = 1
SHORTEST_MEASUREMENT = 2e-4  # seconds; a faster call is repeated within one measurement
LONG_CALL = 0.5  # seconds


@dataclass(frozen=True)
class Timing:
    """Seconds of one call. The median is what it took on this machine as busy as it was, the fastest what it takes when
    no other program interrupts it: on busy cores a short parallel call mostly waits for its own threads."""

    median: float
    fastest: float


def interleaved(
    arms: dict[str, Callable[[], object]], seconds: float, rounds: int = 5, turn: float = SHORTEST_MEASUREMENT
) -> dict[str, Timing]:
    """Times every arm. They take turns, so that whatever else the machine does meets them alike: at least ``rounds``
    turns each, more while ``seconds`` last. Each arm is called before; a turn is as many calls as last ``turn``
    seconds."""
    calls, times = dict.fromkeys(arms, 1), {name: [] for name in arms}
    for name, arm in arms.items():
        if _seconds(arm, 1) < LONG_CALL:  # else the first call stands for the next
            calls[name] = max(1, round(turn / max(_seconds(arm, 1), 1e-7)))
    end = time.perf_counter() + seconds
    while len(next(iter(times.values()))) < rounds or time.perf_counter() < end:
        for name, arm in arms.items():
            times[name].append(_seconds(arm, calls[name]))
    return {name: Timing(statistics.median(t), min(t)) for name, t in times.items()}


def _seconds(arm: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        arm()
    return (time.perf_counter() - start) / calls


def run(main: Callable[[], None]) -> None:
    """Runs a benchmark's main; an error of ours is one sentence and a non-zero exit."""
    try:
        main()
    except NerfcoreError as error:
        sys.exit(str(error))


def require_kernels() -> None:
    """Raises NerfcoreError where there is nothing to compare the reference with."""
    if problem := _extension.unavailable("cpu"):
        raise NerfcoreError(f"the benchmark needs the compiled kernels: {problem}")


def header() -> dict:
    """When, where and of which sources the figures are."""
    return {
        "schema": SCHEMA,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _cpu_model(),
            "threads": torch.get_num_threads(),
            "simd": _extension.load().build_info()["simd"],
            "load": round(os.getloadavg()[0], 2),
        },
        "torch": torch.__version__,
        "sources": package_digest(),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def package_digest() -> str:
    """Of all of the package and of its kernels."""
    package = Path(_extension.__file__).parent
    return digest([*package.rglob("*.py"), *(p for p in _extension.source_dir().rglob("*") if p.is_file())])


def op_digest(op: str) -> str:
    """Of what the figures of one operation depend on: its sources and the benchmark."""
    package, native = Path(_extension.__file__).parent, _extension.source_dir()
    python = [package / "types.py", package / "ops" / "_dispatch.py", package / "ops" / f"{op}.py"]
    benchmark = [Path(__file__), Path(__file__).with_name("ops.py")]
    return digest([*python, *benchmark, *native.glob("core/*"), *native.glob(f"*/{op}.*"), *native.glob(f"*/{op}_*")])


def digest(paths: Iterable[Path]) -> str:
    parts = ((path.name, path.read_bytes()) for path in sorted(paths))
    return hashlib.sha256(repr(list(parts)).encode()).hexdigest()[:16]


def write_json(path: Path, result: dict) -> None:
    """Raises OutputError where the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); choose another --json") from error


def points_on_rays(count: int, per_ray: int = 32) -> Tensor:
    """[count, 3] in [0, 1]³: runs of consecutive samples, a 1024th of the diagonal apart, on random rays."""
    origin = torch.rand(-(-count // per_ray), 1, 3)
    direction = torch.nn.functional.normalize(torch.randn_like(origin), dim=-1)
    distance = torch.arange(per_ray)[:, None] * (3**0.5 / 1024)
    return (origin + distance * direction).view(-1, 3)[:count].clamp(0, 1)
