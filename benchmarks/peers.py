"""What could a user pick instead, and how far are we from what the machine allows?

python benchmarks/peers.py [--rows WORD ...] [--json FILE [--resume]] [--quick]

Each row times our kernel beside every library that is installed and can do the same work (arms/ has them; one that
cannot take part is named with the reason), each in a process of its own. They take turns, after each has shown on less
data that it computes the right result. Targets are of busy time, see timing.py; wall time stands beside it. The limits
of the machine are measured in the same run. Every process keeps the memory that it has freed, as peers keep
the arrays that they write into.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from nerfcore.errors import NerfcoreError

sys.path.insert(0, str(Path(__file__).resolve().parent))
from arms import composite, eager, hash_grid, marching_cubes, mlp
from common import earlier_rows, header, op_digest, require_kernels, run, write_json
from limits import Limits, measure_limits
from timing import Timing, take_turns
from worker import PACKAGES, PeerError, Worker, absence

HERE = Path(__file__).resolve().parent
OURS = "nerfcore"
LARGEST_ERROR = 1e-3  # of a peer, over the largest value of the truth: positions on fine levels round in float32
TURN = 0.05  # seconds; the system counts CPU time of other threads in steps of some milliseconds


@dataclass(frozen=True)
class Target:
    """times: of the strongest peer's time over ours, at least. over_limit: of our time over the limit, at most. Where
    ``either`` is set, one of the two is enough."""

    times: float | None = None
    over_limit: float | None = None
    either: bool = False

    def met(self, times: float | None, over_limit: float) -> bool | None:
        """None where a ratio that it asks for is not known, and the other does not decide."""
        checks = []
        if self.times is not None:
            checks.append(None if times is None else times >= self.times)
        if self.over_limit is not None:
            checks.append(over_limit <= self.over_limit)
        decisive = self.either  # one success decides, or else one failure
        if decisive in checks:
            return decisive
        return None if None in checks else not decisive

    def __str__(self) -> str:
        parts = [f"≥ {self.times:g} × the strongest"] if self.times is not None else []
        parts += [f"≤ {self.over_limit:.3g} × the limit"] if self.over_limit is not None else []
        return (" or " if self.either else " and ").join(parts)


@dataclass(frozen=True)
class Row:
    """op: the file of nerfcore/ops that is timed, part of the digest. arms: a module of arms/. without: libraries that
    cannot do this size. threads 0: all that torch uses."""

    name: str
    op: str
    arms: ModuleType
    work: object
    target: Target | None = None
    without: tuple[str, ...] = ()
    threads: int = 0

    @property
    def libraries(self) -> list[str]:
        return [name for name in self.arms.ARMS if name not in self.without]

    def digest(self) -> str:
        """Of all sources that the figures depend on."""
        shared = ("worker.py", "limits.py", "limits.cpp", "arms/__init__.py", "arms/drjit_llvm.py")
        return op_digest(self.op, *(HERE / name for name in shared), Path(self.arms.__file__))


def rows() -> list[Row]:
    """Those with a target first."""
    grid, to_table = "hash grid L16 F2 T2^19", "forward+backward"
    half_or_more = Target(times=10, over_limit=1 / 0.6, either=True)

    def grid_row(name: str, target: Target | None = None, threads: int = 0, **work) -> Row:
        return Row(name, "hash_grid", hash_grid, hash_grid.Work(**work), target, threads=threads)

    def eager_row(name: str, operation: str, size: int) -> Row:
        return Row(name, operation, eager, eager.Work(operation, size), half_or_more)

    def random(backward: bool, points: int = 2**18) -> dict:
        return {"points": points, "kind": "random", "backward": backward}

    def rays(backward: bool, points: int = 2**18) -> dict:
        return {"points": points, "kind": "rays", "backward": backward}

    small_grid = {"num_levels": 8, "features": 4, "log2_table": 17, "finest": 512}
    return [
        grid_row(f"{grid} forward, 2^18 random points", Target(times=2.5, over_limit=1.6), **random(False)),
        grid_row(f"{grid} forward, 2^18 points on rays", Target(times=2, over_limit=1.6), **rays(False)),
        grid_row(f"{grid} {to_table}, 2^18 random points", Target(3, 1.5, either=True), **random(True)),
        grid_row(f"{grid} {to_table}, 2^18 points on rays", Target(2, 1.5, either=True), **rays(True)),
        Row("compositing forward+backward, 2^16 rays", "composite", composite, composite.Work(2**16), Target(3, 2.5)),
        Row("MLP 32-64-64-16 forward+backward, 2^18 rows", "mlp", mlp, mlp.Work(2**18), Target(None, 1 / 0.7)),
        eager_row("spherical harmonics of degree 4, 2^18 directions", "spherical_harmonics", 2**18),
        eager_row("march through 128^3 cells, 2^12 rays", "march", 2**12),
        eager_row("occupancy update without the field, 128^3 cells", "occupancy", 2**21),
        eager_row("pdf, 2^12 rays of 64 bins, 128 samples", "pdf", 2**12),
        Row("marching cubes, 256^3", "marching_cubes", marching_cubes, marching_cubes.Work(256), Target(1.2)),
        Row(
            "marching cubes, 512^3", "marching_cubes", marching_cubes, marching_cubes.Work(512), Target(1.2),
            without=("torch",),  # its masks would need tens of gigabytes
        ),
        grid_row(f"hash grid L8 F4 T2^17 {to_table}, 2^18 points on rays", **rays(True), **small_grid),
        grid_row(f"{grid} {to_table}, 2^12 points on rays", **rays(True, 2**12)),
        Row("compositing forward+backward, 2^7 rays", "composite", composite, composite.Work(2**7)),
        Row("MLP 32-64-64-16 forward+backward, 2^12 rows", "mlp", mlp, mlp.Work(2**12)),
        grid_row(f"{grid} forward, 2^18 random points, 1 thread", threads=1, **random(False)),
        grid_row(f"{grid} {to_table}, 2^18 points on rays, 1 thread", threads=1, **rays(True)),
        Row(
            "compositing forward+backward, 2^16 rays, 1 thread", "composite", composite, composite.Work(2**16),
            threads=1,
        ),
        Row("MLP 32-64-64-16 forward+backward, 2^18 rows, 1 thread", "mlp", mlp, mlp.Work(2**18), threads=1),
        Row("marching cubes, 256^3, 1 thread", "marching_cubes", marching_cubes, marching_cubes.Work(256), threads=1),
    ]


class Crew:
    """The processes of the libraries, all on so many threads; started when first asked for."""

    def __init__(self, threads: int):
        self.threads = threads
        self.workers: dict[str, Worker] = {}

    def prepared(self, library: str, row: Row, work: object, truth: dict[str, np.ndarray]) -> tuple[Worker, float]:
        """A worker that has done the row's small work right and is ready for ``work``, and its largest error there.
        Raises PeerError."""
        if library not in self.workers:
            self.workers[library] = Worker(library, self.threads)
        worker, name = self.workers[library], row.arms.__name__.removeprefix("arms.")
        try:
            worker.prepare(name, row.work.small())
            error = largest_error(worker.result(), truth)
            if not error <= LARGEST_ERROR:
                raise PeerError(library, f"{library} computes something else: largest relative error {error:.2g}")
            worker.prepare(name, work)
            worker.settle()
        except PeerError:
            self.dismiss(library)
            raise
        return worker, error

    def dismiss(self, library: str) -> None:
        self.workers.pop(library).close()

    def rest(self) -> None:
        for worker in self.workers.values():
            worker.rest()

    def close(self) -> None:
        for library in list(self.workers):
            self.dismiss(library)


def largest_error(result: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> float:
    """Over the largest magnitude of each array; infinite where shapes differ or the first array is absent. A peer may
    leave out others, which it does not give in a form that can be compared."""
    if next(iter(truth)) not in result or any(value.shape != truth[name].shape for name, value in result.items()):
        return np.inf
    errors = []
    for name, value in result.items():
        true = truth[name].astype(np.float64)
        errors.append(np.abs(value - true).max(initial=0) / max(np.abs(true).max(initial=0), 1e-30))
    return float(np.max(errors))  # NaN if one of them is


def measure(row: Row, crew: Crew, limits: Limits, quick: bool) -> dict:
    """One row of the JSON. Times are in milliseconds; ratios are of busy times."""
    truth = row.arms.truth(row.work.small())
    work = row.work.small() if quick else row.work
    workers, errors, absent = {}, {}, {}
    for library in row.libraries:
        try:
            workers[library], errors[library] = crew.prepared(library, row, work, truth)
        except PeerError as error:
            absent[library] = str(error)
        if OURS in absent:
            raise NerfcoreError(f"{row.name}: {absent[OURS]}")
    times = timed(workers, absent, crew, quick)
    crew.rest()
    ours, cost = times[OURS], row.arms.cost(work)
    peers = {name: t for name, t in times.items() if name != OURS}
    strongest = min(peers, key=lambda name: peers[name].busy, default=None)
    limit = cost.seconds(limits)
    ratio = peers[strongest].busy / ours.busy if strongest else None
    return {
        "row": row.name, "op": row.op, "work": asdict(work), "threads": crew.threads, "digest": row.digest(),
        "quick": quick, "libraries": versions(row.libraries),
        "ms": {
            name: {key: value * 1e3 for key, value in asdict(t).items()} | {"error": errors[name]}
            for name, t in times.items()
        },
        "absent": absent,
        "strongest": strongest,
        "ratio": ratio,
        "ratio_of_medians": peers[strongest].median / ours.median if strongest else None,
        "limit_ms": limit * 1e3,
        "limit_counted": cost.counted,
        "over_limit": ours.busy / limit,
        "bytes": cost.bytes,
        "flops": cost.flops,
        "random_accesses": cost.random_accesses,
        "share_of": {
            "copy bandwidth": cost.bytes / ours.busy / limits.copy_bytes,
            "sgemm": cost.flops / ours.busy / max(limits.sgemm_flops.values()),
            "random reads from 4 MiB": cost.random_accesses / ours.busy / limits.gather_8[2**22],
        },
        "target": str(row.target) if row.target else None,
        "met": row.target.met(ratio, ours.busy / limit) if row.target else None,
    }


def timed(workers: dict[str, Worker], absent: dict[str, str], crew: Crew, quick: bool) -> dict[str, Timing]:
    """Of all workers that hold out; the others join the absent ones."""
    while True:
        arms = {library: worker.turn for library, worker in workers.items()}
        try:
            return take_turns(arms, 0.0 if quick else 2.0, 3, 0.0 if quick else TURN)
        except PeerError as error:
            if error.library == OURS:
                raise NerfcoreError(str(error)) from error
            absent[error.library] = str(error)
            workers.pop(error.library)
            crew.dismiss(error.library)


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """Of those that are installed; ours is in the digest."""
    installed = (name for name in libraries if name != OURS and not absence(name))
    return {name: importlib.metadata.version(PACKAGES[name]) for name in installed}


def is_fresh(kept: dict | None, row: Row, threads: int, quick: bool) -> bool:
    """Whether a row of an earlier run would come out alike."""
    if kept is None:
        return False
    work = row.work.small() if quick else row.work
    now = [row.digest(), json.loads(json.dumps(asdict(work))), threads, quick, versions(row.libraries)]
    return now == [kept[key] for key in ("digest", "work", "threads", "quick", "libraries")]


def print_rows(results: list[dict]) -> None:
    table = Table(title="ms busy (wall, median); ratios are of busy time")
    table.add_column("work", overflow="fold")
    for column in ("threads", "ours", "strongest peer", "times", "limit", "over limit"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("target")
    for r in results:
        peer = r["strongest"]
        cells = [f"{r['ms'][name]['busy']:.3g} ({r['ms'][name]['median']:.3g})" for name in (OURS, peer) if name]
        verdict = {True: "met: ", False: "missed: ", None: ""}[r["met"]] + (r["target"] or "–")
        table.add_row(
            r["row"], str(r["threads"]), cells[0], f"{peer} {cells[1]}" if peer else "–",
            f"{r['ratio']:.2f}" if peer else "–", f"{r['limit_ms']:.3g}", f"{r['over_limit']:.2f}", verdict,
        )
    console = Console(width=None if sys.stdout.isatty() else 170)
    console.print(table)
    for sentence in sorted({sentence for r in results for sentence in r["absent"].values()}):
        console.print(f"Left out: {sentence}.", highlight=False)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Times the kernels beside other libraries and the machine's limits.")
    parser.add_argument("--rows", nargs="+", default=[""], metavar="WORD", help="only rows that hold one of the words")
    parser.add_argument("--json", type=Path, help="also write the figures to this file, after every row")
    parser.add_argument("--resume", action="store_true", help="keep rows of the file whose sources have not changed")
    parser.add_argument("--quick", action="store_true", help="hardly any data: to see that it works")
    options = parser.parse_args(argv)
    require_kernels()
    chosen = [row for row in rows() if any(word in row.name for word in options.rows)]
    if not chosen:
        raise NerfcoreError(f"no row holds {' or '.join(options.rows)}; there are: {'; '.join(r.name for r in rows())}")
    kept = earlier_rows(options)
    everything, limits, results = torch.get_num_threads(), {}, []
    crew = Crew(everything)
    try:
        for row in chosen:
            threads = row.threads or everything
            if threads != crew.threads:
                crew.close()
                crew = Crew(threads)
            result = kept.get(row.name)
            if not is_fresh(result, row, threads, options.quick):
                if threads not in limits:
                    limits[threads] = measure_limits(threads, options.quick)
                result = measure(row, crew, limits[threads], options.quick)
            results.append(result)
            if options.json:
                measured = [asdict(x) for x in limits.values()]
                write_json(options.json, header() | {"limits": measured, "rows": results})
    finally:
        crew.close()
    print_rows(results)


if __name__ == "__main__":
    run(main)
