"""How does cost grow?  python benchmarks/growth.py [--curves WORD ...] [--json FILE [--resume]] [--quick]

Time of the hash grid, the MLP, compositing and the fused training step against samples, levels, size of the table and
threads, and of a picture against its size. The points of a curve take turns. Prices are of busy time, see timing.py,
as that of peers.py is. Cost should be proportional to samples: the target is a sample of 2^22 at no more than 1.25
times the price of one of 2^17.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from nerfcore.errors import NerfcoreError

sys.path.insert(0, str(Path(__file__).resolve().parent))
from arms import composite, hash_grid, mlp, ngp
from common import earlier_rows, header, op_digest, require_kernels, run, write_json
from timing import take_turns
from worker import Worker

HERE = Path(__file__).resolve().parent
TURN = 0.05  # seconds
SAMPLES = tuple(2**k for k in (12, 14, 16, 17, 18, 20, 22))
FROM, TO, MOST_GROWTH = 2**17, 2**22, 1.25  # samples, and the price of one at TO over that at FROM
MANY = 2**18  # samples, where something else grows


@dataclass(frozen=True)
class Curve:
    """op: a module of arms/ and a file of nerfcore/ops. work(x) is what is timed at x; a sample (a ray of a picture)
    costs a share of 1 / count(x) of it. Where threads grow, x is their number."""

    name: str
    op: str
    against: str
    xs: tuple[int, ...]
    work: Callable[[int], object]
    count: Callable[[int], int]
    has_target: bool = False

    def digest(self) -> str:
        """Of all sources that the figures depend on."""
        return op_digest(self.op, *(HERE / name for name in (f"arms/{self.op}.py", "arms/__init__.py", "worker.py")))


def curves(threads: int, quick: bool) -> list[Curve]:
    shrink = 2**8 if quick else 1
    many, counts = MANY // shrink, tuple(n // shrink for n in SAMPLES if n // shrink >= 2**6)

    def grid(points: int, backward: bool, **shape: int) -> hash_grid.Work:
        return hash_grid.Work(points, "random", backward, **shape)

    def compositing(samples: int) -> composite.Work:
        return composite.Work(samples // composite.MEAN_SAMPLES)

    works = {
        "hash grid forward": ("hash_grid", partial(grid, backward=False)),
        "hash grid forward+backward": ("hash_grid", partial(grid, backward=True)),
        "MLP forward+backward": ("mlp", mlp.Work),
        "compositing forward+backward": ("composite", compositing),
        "fused training step": ("ngp", partial(ngp.Work, "step")),
    }
    found = [
        Curve(f"{name} against samples", op, "samples", counts, work, lambda n: n, has_target=op != "ngp")
        for name, (op, work) in works.items()
    ]
    for name in ("hash grid forward", "hash grid forward+backward", "fused training step"):
        op, work = works[name]
        for against, option, xs in (
            ("levels", "num_levels", (4, 8, 12, 16)), ("log2 of the table", "log2_table", (13, 15, 17, 19, 21)),
        ):
            at = partial(lambda x, work, option: work(many, **{option: x}), work=work, option=option)
            found.append(Curve(f"{name} against {against}", op, against, xs, at, lambda _: many))
    for name, (op, work) in works.items():
        at = partial(lambda _, work: work(many), work=work)
        found.append(Curve(f"{name} against threads", op, "threads", tuple(sorted({1, threads})), at, lambda _: many))
    sides = (16, 32) if quick else (64, 128, 256, 512)
    picture = partial(ngp.Work, "picture")
    found.append(Curve("picture against its size", "ngp", "pixels on a side", sides, picture, lambda side: side**2))
    return found


def measure(curve: Curve, workers: dict[int, Worker], threads: int, quick: bool) -> dict:
    """One curve of the JSON. Times are in milliseconds, prices in nanoseconds of busy time for a sample or ray."""
    arms = {}
    for x in curve.xs:
        worker = workers[x if curve.against == "threads" else threads]
        worker.prepare(curve.op, curve.work(x), str(x))
        worker.settle(str(x))
        arms[str(x)] = partial(worker.turn, name=str(x))
    times = take_turns(arms, 0.0 if quick else 1.0, 3, 0.0 if quick else TURN)
    for worker in workers.values():
        worker.rest()
    price = [t.busy / curve.count(x) * 1e9 for x, t in zip(curve.xs, times.values(), strict=True)]
    growth = None
    if curve.has_target and {FROM, TO} <= set(curve.xs):
        growth = price[curve.xs.index(TO)] / price[curve.xs.index(FROM)]
    return {
        "curve": curve.name, "op": curve.op, "against": curve.against, "threads": threads, "digest": curve.digest(),
        "quick": quick, "x": list(curve.xs), "ns": price,
        "ms": {key: [asdict(t)[key] * 1e3 for t in times.values()] for key in ("median", "fastest", "busy")},
        "growth": growth,
        "target": f"≤ {MOST_GROWTH} from 2^17 to 2^22" if growth else None,
        "met": growth <= MOST_GROWTH if growth else None,
    }


def print_curves(results: list[dict]) -> None:
    table = Table(title="ns of busy time for a sample (for a ray of a picture)")
    for column in ("curve", "at", "ns", "growth"):
        table.add_column(column, overflow="fold")
    for r in results:
        growth = f"{r['growth']:.2f} ({'met' if r['met'] else 'missed'}: {r['target']})" if r["growth"] else "–"
        table.add_row(r["curve"], " ".join(map(str, r["x"])), " ".join(f"{ns:.3g}" for ns in r["ns"]), growth)
    Console(width=None if sys.stdout.isatty() else 170).print(table)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Times operations against their size.")
    parser.add_argument("--curves", nargs="+", default=[""], metavar="WORD", help="only those that hold a word")
    parser.add_argument("--json", type=Path, help="also write the figures to this file, after every curve")
    parser.add_argument("--resume", action="store_true", help="keep curves of the file whose sources have not changed")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that it works")
    options = parser.parse_args(argv)
    require_kernels()
    threads = torch.get_num_threads()
    every = curves(threads, options.quick)
    chosen = [curve for curve in every if any(word in curve.name for word in options.curves)]
    if not chosen:
        names = "; ".join(curve.name for curve in every)
        raise NerfcoreError(f"no curve holds {' or '.join(options.curves)}; there are: {names}")
    kept = earlier_rows(options, "curve")
    workers, results = {n: Worker("nerfcore", n) for n in {1, threads}}, []
    try:
        for curve in chosen:
            result = kept.get(curve.name)
            now = curve.digest(), threads, options.quick, list(curve.xs)
            if result is None or tuple(result[key] for key in ("digest", "threads", "quick", "x")) != now:
                result = measure(curve, workers, threads, options.quick)
            results.append(result)
            if options.json:
                write_json(options.json, header() | {"rows": results})
    finally:
        for worker in workers.values():
            worker.close()
    print_curves(results)


if __name__ == "__main__":
    run(main)
