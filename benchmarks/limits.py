"""How fast can this machine be?  python benchmarks/limits.py [--threads N ...] [--json FILE] [--quick]

Copy bandwidth, random reads and read-add-writes by size of the table, and fp32 multiply-adds, by a small C++ program of
our own (limits.cpp says how each is taken); matrix products on the shapes of a small MLP by torch. The other benchmarks
measure these limits in their own run and set their figures beside them.
"""

from __future__ import annotations

import argparse
import bisect
import json
import math
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from nerfcore import _extension, _toolchain
from nerfcore.errors import BuildError

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import digest, header, run, write_json
from timing import interleaved

SOURCE = Path(__file__).with_name("limits.cpp")
FLAGS = ("-O3", "-std=c++17", "-march=native", "-fopenmp", "-ffp-contract=fast")
PRODUCTS = ((32, 64), (64, 64), (64, 16))  # [N, in] x [in, out]: the layers of the MLP that is compared

RANDOM_ACCESSES = {
    "gather_8": "8-byte reads", "gather_16": "16-byte reads", "scatter_8": "8-byte additions",
    "scatter_16": "16-byte additions",
}


@dataclass(frozen=True)
class Limits:
    """Rates of all threads together, per second: bytes read plus written, flops (two for a multiply-add), and accesses
    at random places by bytes of the table. sgemm_flops: by the shape "rows x in x out"."""

    threads: int
    copy_bytes: float
    multiply_add_flops: float
    gather_8: dict[int, float]
    gather_16: dict[int, float]
    scatter_8: dict[int, float]
    scatter_16: dict[int, float]
    sgemm_flops: dict[str, float]

    def copy_seconds(self, num_bytes: float) -> float:
        return num_bytes / self.copy_bytes

    def multiply_add_seconds(self, flops: float) -> float:
        return flops / self.multiply_add_flops

    def gather_seconds(self, accesses: float, entry_bytes: int, table_bytes: float) -> float:
        """Of reads of an entry each from a table; one of more than 16 bytes counts as one of 16."""
        return accesses / rate_at(self.gather_8 if entry_bytes <= 8 else self.gather_16, table_bytes)

    def scatter_seconds(self, accesses: float, entry_bytes: int, table_bytes: float) -> float:
        """Of additions to an entry each, where every thread has a table of its own."""
        return accesses / rate_at(self.scatter_8 if entry_bytes <= 8 else self.scatter_16, table_bytes)


def rate_at(curve: dict[int, float], table_bytes: float) -> float:
    """Between the measured sizes, time per access is linear in the logarithm of the size; outside it is constant."""
    sizes = sorted(curve)
    if table_bytes <= sizes[0]:
        return curve[sizes[0]]
    if table_bytes >= sizes[-1]:
        return curve[sizes[-1]]
    right = bisect.bisect_right(sizes, table_bytes)
    low, high = sizes[right - 1], sizes[right]
    share = math.log(table_bytes / low) / math.log(high / low)
    return 1 / ((1 - share) / curve[low] + share / curve[high])


def measure_limits(threads: int, quick: bool = False) -> Limits:
    """About two seconds. Raises BuildError where limits.cpp cannot be compiled."""
    words = [str(_program()), str(threads), *(["quick"] if quick else [])]
    rates = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    by_bytes = {name: {int(k): v for k, v in rate.items()} for name, rate in rates.items() if isinstance(rate, dict)}
    return Limits(threads=threads, **rates | by_bytes, sgemm_flops=_sgemm_flops(threads, 2**10 if quick else 2**13))


def _sgemm_flops(threads: int, rows: int) -> dict[str, float]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    arms, flops = {}, {}
    for width, out in PRODUCTS:
        a, b, product = torch.rand(rows, width), torch.rand(width, out), torch.empty(rows, out)
        name = f"{rows} x {width} x {out}"
        arms[name] = lambda a=a, b=b, product=product: torch.mm(a, b, out=product)
        flops[name] = 2 * rows * width * out
    times = interleaved(arms, torch.get_num_threads(), 0.2)
    torch.set_num_threads(before)
    return {name: flops[name] / t.fastest for name, t in times.items()}


def _program() -> Path:
    """limits.cpp, compiled for this machine; kept among the builds of the kernels under a digest of its source."""
    compiler, version = _toolchain.find_compiler()
    name = f"limits-{digest([SOURCE], compiler, version, *FLAGS)}"
    program = _extension.cache_dir() / name
    if not program.is_file():
        program.parent.mkdir(parents=True, exist_ok=True)
        words = [*shlex.split(compiler), *FLAGS, str(SOURCE), "-o", f"{program}.new"]
        result = subprocess.run(words, capture_output=True, text=True)
        if result.returncode:
            lines = result.stderr.splitlines()
            reason = next((line for line in lines if "error" in line), "no output")
            raise BuildError(f"{SOURCE.name} could not be compiled: {reason}")
        Path(f"{program}.new").replace(program)
    return program


def print_limits(limits: list[Limits]) -> None:
    table = Table(title="What this machine allows; rates of all threads together")
    for column in ("", *(f"{x.threads} threads" if x.threads > 1 else "1 thread" for x in limits)):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("copy, GB/s", *(f"{x.copy_bytes * 1e-9:.1f}" for x in limits))
    table.add_row("multiply-add, GFLOP/s", *(f"{x.multiply_add_flops * 1e-9:.0f}" for x in limits))
    for shape in limits[0].sgemm_flops:
        table.add_row(f"torch.mm {shape}, GFLOP/s", *(f"{x.sgemm_flops[shape] * 1e-9:.0f}" for x in limits))
    for name, what in RANDOM_ACCESSES.items():
        for size in getattr(limits[0], name):
            row = f"random {what} in {size // 1024} KiB, millions/s"
            table.add_row(row, *(f"{getattr(x, name)[size] * 1e-6:.0f}" for x in limits))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measures what the machine allows.")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, torch.get_num_threads()], metavar="N")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--quick", action="store_true", help="hardly any repeats: to see that it works")
    options = parser.parse_args(argv)
    limits = [measure_limits(threads, options.quick) for threads in sorted(set(options.threads))]
    if options.json:
        write_json(options.json, header() | {"limits": [asdict(x) for x in limits]})
    print_limits(limits)


if __name__ == "__main__":
    run(main)
