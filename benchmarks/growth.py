"""How does cost grow?  python benchmarks/growth.py [--curves WORD ...] [--json FILE [--resume]] [--quick]

Time of the hash grid, the MLP, compositing and the fused training step against samples, levels, size of the table and
threads, and of a picture against its size. The points of a curve take turns. Cost should be proportional to samples:
the target is a sample of 2^22 at no more than 1.25 times the price of one of 2^17.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from nerfcore._extension import use_huge_pages
from nerfcore.errors import NerfcoreError
from nerfcore.ops.hash_grid import HashGridLevels
from nerfcore.ops.ngp import NgpNetworks, ngp_loss, ngp_render
from nerfcore.ops.occupancy import occupancy_pack
from nerfcore.types import SampleLattice, TouchedGradient

sys.path.insert(0, str(Path(__file__).resolve().parent))
from arms import composite, hash_grid, mlp
from common import header, op_digest, require_kernels, run, write_json
from timing import one_turn, take_turns

HERE = Path(__file__).resolve().parent
TURN = 0.05  # seconds
PER_RAY, CHUNK_SAMPLES = 32, 1024
SAMPLES = tuple(2**k for k in (12, 14, 16, 17, 18, 20, 22))
FROM, TO, MOST_GROWTH = 2**17, 2**22, 1.25  # samples, and the price of one at TO over that at FROM
MANY = 2**18  # samples, where another size grows


@dataclass(frozen=True)
class Curve:
    """at(x, threads) is the step to time at x, or, where threads are what grows, on x threads. samples(x): how many it
    works on, or rays for a picture."""

    name: str
    op: str
    against: str
    xs: tuple[int, ...]
    at: Callable[[int, int], Callable[[], object]]
    samples: Callable[[int], int]
    has_target: bool = False

    def digest(self) -> str:
        names = [f"arms/{self.op}.py", "arms/__init__.py", "growth.py"]
        return op_digest(self.op, *(HERE / name for name in names if (HERE / name).is_file()))


def curves(threads: int, quick: bool) -> list[Curve]:
    shrink = 2**8 if quick else 1
    many, counts = MANY // shrink, tuple(n // shrink for n in SAMPLES if n // shrink >= 16)
    sides = (16, 32) if quick else (64, 128, 256, 512)

    def grid(points: int, threads: int, backward: bool, **shape):
        return hash_grid.nerfcore_arm(hash_grid.Work(points, "random", backward, **shape), threads).step

    def compositing(samples: int, threads: int):
        return composite.nerfcore_arm(composite.Work(max(samples // composite.MEAN_SAMPLES, 1)), threads).step

    def network(rows: int, threads: int):
        return mlp.nerfcore_arm(mlp.Work(rows), threads).step

    works = {
        "hash grid forward": ("hash_grid", partial(grid, backward=False)),
        "hash grid forward+backward": ("hash_grid", partial(grid, backward=True)),
        "MLP forward+backward": ("mlp", network),
        "compositing forward+backward": ("composite", compositing),
        "fused training step": ("ngp", training_step),
    }
    found = []
    for name, (op, at) in works.items():
        targeted = name != "fused training step"
        found.append(Curve(f"{name} against samples", op, "samples", counts, at, lambda n: n, targeted))
    for name in ("hash grid forward+backward", "fused training step"):
        op, at = works[name]
        for against, option, xs in (
            ("levels", "num_levels", (4, 8, 12, 16)), ("log2 of the table", "log2_table", (13, 15, 17, 19, 21)),
        ):
            found.append(Curve(
                f"{name} against {against}", op, against, xs,
                lambda x, threads, at=at, option=option: at(many, threads, **{option: x}), lambda _: many,
            ))
    for name, (op, at) in works.items():
        found.append(Curve(
            f"{name} against threads", op, "threads", tuple(sorted({1, threads})),
            lambda x, _, at=at: at(many, x), lambda _: many,
        ))
    found.append(Curve("picture against its size", "ngp", "pixels on a side", sides, picture, lambda side: side**2))
    return found


def networks_of(num_levels: int = 8, log2_table: int = 17) -> NgpNetworks:
    """Of the default field, but for the levels and the table that are asked for."""
    levels = HashGridLevels(num_levels=num_levels, features=4, log2_table=log2_table, coarsest=16, finest=512)
    generator = torch.Generator().manual_seed(0)

    def matrices(*widths: int) -> list[torch.Tensor]:
        pairs = zip(widths[:-1], widths[1:], strict=True)
        return [torch.randn(i, o, generator=generator) * (2 / i) ** 0.5 for i, o in pairs]

    table = torch.rand(levels.num_entries, levels.features, generator=generator) * 2e-4 - 1e-4
    use_huge_pages(table)
    return NgpNetworks(levels, table, matrices(levels.out_features, 64, 16), matrices(32, 64, 64, 3), 4, 15.0)


def training_step(samples: int, threads: int, **shape) -> Callable[[], object]:
    """Of rays with 32 samples each, all of which count."""
    torch.set_num_threads(threads)
    generator, rays = torch.Generator().manual_seed(0), max(samples // PER_RAY, 1)
    networks = networks_of(**shape)
    origin = torch.rand(rays, 3, generator=generator) * 0.2 + 0.4
    direction = torch.nn.functional.normalize(torch.randn(rays, 3, generator=generator), dim=-1)
    jitter, truth = torch.rand(rays, generator=generator), torch.rand(rays, 3, generator=generator)
    full = SampleLattice(torch.full((8,), 255, dtype=torch.uint8), 4, 1, 0.4 / PER_RAY)
    gradient, black = TouchedGradient.zeros_like(networks.table), torch.zeros(rays, 3)
    use_huge_pages(gradient.values)
    return lambda: ngp_loss(
        networks, origin, direction, full, black, truth, gradient, jitter, 0.0, max_samples_per_ray=PER_RAY,
        rays_per_chunk=CHUNK_SAMPLES // PER_RAY,
    )


def picture(side: int, threads: int) -> Callable[[], object]:
    """Of side² rays from a pinhole towards a thick shell."""
    torch.set_num_threads(threads)
    networks, resolution = networks_of(), 32
    axis = (torch.arange(resolution) + 0.5) / resolution - 0.5
    radius = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt()
    bits = occupancy_pack(((radius - 0.3).abs() < 0.05).float().flatten(), 0.5)
    pixel = (torch.arange(side) + 0.5) / side - 0.5
    y, x = torch.meshgrid(pixel, pixel, indexing="ij")
    direction = torch.nn.functional.normalize(torch.stack((x, -y, -torch.ones_like(x)), -1).view(-1, 3), dim=-1)
    origin = torch.tensor([0.5, 0.5, 2.0]).expand(side**2, 3).contiguous()
    lattice = SampleLattice(bits, resolution, 1, 3**0.5 / 512)
    return lambda: ngp_render(networks, origin, direction, lattice)


def measure(curve: Curve, threads: int, quick: bool) -> dict:
    """One curve of the JSON. Times are in milliseconds, prices in nanoseconds of busy time for a sample or ray."""
    arms = {}
    for x in curve.xs:
        used = x if curve.against == "threads" else threads
        step = curve.at(x, threads)

        def turn(calls: int, step=step, used=used):
            torch.set_num_threads(used)
            return one_turn(step, used, calls)

        arms[str(x)] = turn
    times = take_turns(arms, 0.0 if quick else 1.0, 3, 0.0 if quick else TURN)
    torch.set_num_threads(threads)
    price = [t.busy / curve.samples(x) * 1e9 for x, t in zip(curve.xs, times.values(), strict=True)]
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
    kept = {}
    if options.resume and options.json and options.json.is_file():
        kept = {r["curve"]: r for r in json.loads(options.json.read_text(encoding="utf-8"))["rows"]}
    results = []
    for curve in chosen:
        result = kept.get(curve.name)
        now = curve.digest(), threads, options.quick, list(curve.xs)
        if result is None or tuple(result[key] for key in ("digest", "threads", "quick", "x")) != now:
            result = measure(curve, threads, options.quick)
        results.append(result)
        if options.json:
            write_json(options.json, header() | {"rows": results})
    print_curves(results)


if __name__ == "__main__":
    run(main)
