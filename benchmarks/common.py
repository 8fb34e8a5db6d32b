"""What the benchmarks share: interleaved timing, the header of their JSON, and points as a training step meets them."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import platform
import re
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from nerfcore import _extension
from nerfcore.errors import NerfcoreError, OutputError

SCHEMA = 1
SHORTEST_MEASUREMENT = 2e-4  # seconds; a faster call is repeated within one measurement
LONG_CALL = 0.5  # seconds
TASKS = Path("/proc/self/task")


@dataclass(frozen=True)
class Timing:
    """Seconds of one call. The median is what it took on this machine as busy as it was, the fastest what it takes when
    no other program interrupts it: on busy cores a short parallel call mostly waits for its own threads. busy (median)
    is what it kept the cores busy, see :func:`busy_seconds`: about the wall time on idle cores."""

    median: float
    fastest: float
    busy: float


class Turn(NamedTuple):
    """Seconds of one call, averaged over those of one turn."""

    wall: float
    busy: float


def interleaved(
    arms: dict[str, Callable[[], object]], seconds: float, rounds: int = 5, turn: float = SHORTEST_MEASUREMENT
) -> dict[str, Timing]:
    """Times every arm in this process, see :func:`take_turns`."""
    threads = torch.get_num_threads()
    return take_turns({name: partial(one_turn, arm, threads) for name, arm in arms.items()}, seconds, rounds, turn)


def take_turns(
    arms: dict[str, Callable[[int], Turn]], seconds: float, rounds: int = 5, turn: float = SHORTEST_MEASUREMENT
) -> dict[str, Timing]:
    """Times every arm, a function of the number of calls. They take turns, so that whatever else the machine does meets
    them alike: at least ``rounds`` turns each, more while ``seconds`` last. Each arm is called before; a turn is as
    many calls as last ``turn`` seconds."""
    calls, turns = dict.fromkeys(arms, 1), {name: [] for name in arms}
    for name, arm in arms.items():
        if arm(1).wall < LONG_CALL:  # else the first call stands for the next
            calls[name] = max(1, round(turn / max(arm(1).wall, 1e-7)))
    end = time.perf_counter() + seconds
    while len(next(iter(turns.values()))) < rounds or time.perf_counter() < end:
        for name, arm in arms.items():
            turns[name].append(arm(calls[name]))
    return {
        name: Timing(statistics.median(x.wall for x in t), min(x.wall for x in t), statistics.median(x.busy for x in t))
        for name, t in turns.items()
    }


def one_turn(arm: Callable[[], object], threads: int, calls: int) -> Turn:
    """Calls an arm that runs on so many threads of this process."""
    before, start = thread_seconds(), time.perf_counter()
    for _ in range(calls):
        arm()
    wall, after = time.perf_counter() - start, thread_seconds()
    return Turn(wall / calls, (busy_seconds(before, after, threads) if before else wall) / calls)


def thread_seconds() -> dict[str, float]:
    """CPU time of every thread of this process by its number, and under "all" theirs together with that of threads that
    have ended. Empty where the system does not tell; then wall time stands for busy time."""
    seconds = {}
    for thread in TASKS.iterdir() if TASKS.is_dir() else ():
        with contextlib.suppress(OSError):  # it ended meanwhile
            seconds[thread.name] = int((thread / "schedstat").read_text().split()[0]) * 1e-9
    if seconds:  # the system brings the figures of threads that run up to date only when it asks the clock
        seconds[str(threading.get_native_id())] = time.thread_time()
        seconds["all"] = time.process_time()
    return seconds


def busy_seconds(before: dict[str, float], after: dict[str, float], threads: int) -> float:
    """The CPU time of the busiest thread, or all CPU time divided by the number of threads, whichever is larger.

    Other programs on the cores do not count. Threads must sleep while they wait (OMP_WAIT_POLICY=PASSIVE). A serial
    part on a thread of its own is understated.
    """
    spent = {thread: seconds - before.get(thread, 0.0) for thread, seconds in after.items()}
    together = spent.pop("all")
    return max([together / threads, *spent.values()])


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


def op_digest(op: str, *benchmark: Path) -> str:
    """Of what the figures of one operation depend on: its sources, with all that they include, and the benchmark."""
    package, native = Path(_extension.__file__).parent, _extension.source_dir()
    python = [package / "types.py", package / "ops" / "_dispatch.py", package / "ops" / f"{op}.py"]
    units = [*native.glob(f"kernels/{op}.cpp"), *native.glob(f"kernels/{op}_*.cpp"), *native.glob(f"bindings/{op}.h")]
    return digest([*python, Path(__file__), *benchmark, *included(units, native)])


def included(files: Iterable[Path], root: Path) -> set[Path]:
    """The files, and those under root that they include."""
    found, todo = set(), list(files)
    while todo:
        if (file := todo.pop()) not in found:
            found.add(file)
            names = re.findall(r'^#include "(.+)"', file.read_text(encoding="utf-8"), re.MULTILINE)
            todo += [root / name for name in names if (root / name).is_file()]
    return found


def digest(paths: Iterable[Path], *words: str) -> str:
    """Of the names and contents of files, and of words."""
    parts = [(path.name, path.read_bytes()) for path in sorted(paths)]
    return hashlib.sha256(repr([*parts, *words]).encode()).hexdigest()[:16]


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
