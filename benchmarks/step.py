"""How fast is a training step?  NERFCORE_PEERS=FOLDER python benchmarks/step.py [--json FILE] [--seconds S] [--quick]

One step takes a batch of uniform samples on random rays through the density and colour networks, composites them,
compares with random colours, goes backward and moves the parameters by Adam. It is timed with the fused kernels and,
for the same model, with the kernels of the single operations ("modular") and with the plain-PyTorch reference; at the
larger size also beside the fastest step that an independent script gets out of stock PyTorch operations
(``ngp("tuned")`` of ``step.py`` in the folder that NERFCORE_PEERS names). All take turns; the figures are medians. The
floor is what the step must do at the limits of the machine (limits.py), measured in the same run.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from nerfcore._extension import use_huge_pages
from nerfcore.errors import NerfcoreError
from nerfcore.fields.ngp import CHUNK_SAMPLES, EMBEDDING, NGPField
from nerfcore.ops.hash_grid import HashGridLevels
from nerfcore.ops.ngp import ngp_loss
from nerfcore.renderer.volume import render_samples
from nerfcore.training.optimizer import Adam
from nerfcore.types import SampleLattice, Samples, TouchedGradient

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import header, require_kernels, run, write_json
from limits import Limits, measure_limits
from timing import interleaved

TURN = 0.2  # seconds: training steps follow each other, each finds in the cache what the last one left
LENGTH = 0.4  # of the sampled part of a ray; all of it lies in the box
KERNEL_TARGET, REFERENCE_TARGET = 14.0, 0.9  # kernel / reference, reference / tuned peer
MODULAR_TARGET, FLOOR_TARGET = 1.4, 1.5  # kernel / modular; time of the kernel / floor
CORNERS = 8
PEER = "stock PyTorch, tuned"
PEER_LOOP = "import sys; sys.path.insert(0, '.'); from step import ngp; step, _, _ = ngp('tuned', {rays}, {per_ray})\n"
PEER_LOOP += "print('ready', flush=True)\nfor _ in sys.stdin: step(); print('done', flush=True)"


@dataclass(frozen=True)
class Size:
    """A field and a batch: rays x samples per ray."""

    name: str
    field: dict
    rays: int
    per_ray: int
    has_peer: bool = False

    @property
    def samples(self) -> int:
        return self.rays * self.per_ray


PAPER = dict(num_levels=16, features=2, log2_table=19, coarsest=16, finest=2048, hidden=64)
DEFAULT = dict(num_levels=8, features=4, log2_table=17, coarsest=16, finest=512, hidden=64)


def sizes(paper_rays: int, quick: bool) -> list[Size]:
    return [
        Size("default", DEFAULT, *((16, 8) if quick else (512, 32))),
        Size("paper", PAPER, *((16, 8) if quick else (paper_rays, 128)), has_peer=True),
    ]


def training_step(size: Size, arm: str) -> Callable[[], int]:
    """One step of our own on a batch that is drawn anew each time, as the independent script does: "kernel", "modular"
    or "reference". It returns how many entries of the table it touched, if "kernel".

    The kernels march through a full grid to find the samples; the other two are given them.
    """
    backend = "reference" if arm == "reference" else "cpu"
    field = NGPField(**size.field, backend=backend)
    field.initialise(torch.Generator().manual_seed(0))
    optimizer = Adam(field.named_parameters(), backend)
    offsets = torch.arange(size.rays + 1) * size.per_ray
    step_length, black = LENGTH / size.per_ray, torch.zeros(size.rays, 3)
    lattice = SampleLattice(torch.full((8,), 255, dtype=torch.uint8), 4, 1, step_length, max_samples=size.per_ray)

    def step(count: bool = False) -> int:
        origin = torch.rand(size.rays, 3) * 0.2 + 0.4
        direction = torch.nn.functional.normalize(torch.randn(size.rays, 3), dim=-1)
        jitter, truth, touched = torch.rand(size.rays), torch.rand(size.rays, 3), 0
        if arm == "kernel":
            rays_per_chunk = max(CHUNK_SAMPLES // size.per_ray, 1)
            _, samples, _, gradients = ngp_loss(
                field.networks(), origin, direction, lattice, black, truth, gradient, jitter, 0.0,
                rays_per_chunk=rays_per_chunk, backend=backend,
            )
            assert len(samples) == size.samples
            touched = int(gradient.touched.count_nonzero()) if count else 0
            named = {f"density_mlp.{i}": g for i, g in enumerate(gradients.density)} | {"table": gradient}
            optimizer.begin_step(1e-2)
            optimizer.step(named | {f"color_mlp.{i}": g for i, g in enumerate(gradients.color)})
        else:
            start = ((torch.arange(size.per_ray) + jitter[:, None]) * step_length).view(-1)
            samples = Samples(start, start + step_length, offsets)
            rgb, *_ = render_samples(field, origin, direction, samples, backend)
            names, parameters = zip(*field.named_parameters(), strict=True)
            gradients = torch.autograd.grad(torch.nn.functional.mse_loss(rgb, truth), parameters)
            optimizer.begin_step(1e-2)
            optimizer.step(dict(zip(names, gradients, strict=True)))
        return touched

    gradient = TouchedGradient.zeros_like(field.table.detach())
    use_huge_pages(gradient.values)
    return step


def floor(size: Size, limits: Limits, touched: int) -> dict[str, float]:
    """Seconds of each part of a step that no implementation can avoid on this machine: three passes of multiply-adds
    through both networks (the direction's share is a ray's, not a sample's, and left out); eight random reads a sample
    and level, and as many additions, at the rate of a table of the size of the level; parameter, gradient and both
    moments of the touched entries, read and written."""
    shape = size.field
    levels = HashGridLevels(3, *(shape[k] for k in ("num_levels", "features", "log2_table", "coarsest", "finest")))
    entry = 4 * levels.features
    sizes = [(b - a) * entry for a, b in itertools.pairwise((*levels.offset, levels.num_entries))]
    h, out, accesses = shape["hidden"], levels.out_features, size.samples * CORNERS
    products = out * h + h * EMBEDDING + EMBEDDING * h + h * h + h * 3
    return {
        "networks": limits.multiply_add_seconds(3 * 2 * products * size.samples),
        "reads": sum(limits.gather_seconds(accesses, entry, n) for n in sizes),
        "additions": sum(limits.scatter_seconds(accesses, entry, n) for n in sizes),
        "Adam": limits.copy_seconds(8 * entry * touched),
    }


@contextmanager
def peer_step(size: Size) -> Iterator[tuple[Callable[[], None] | None, str]]:
    """A call that runs one step of the independent script in a process of its own, or None and the reason."""
    folder = os.environ.get("NERFCORE_PEERS")
    if not size.has_peer:
        yield None, "its shape is fixed to the paper's"
    elif not folder or not (Path(folder) / "step.py").is_file():
        yield None, "NERFCORE_PEERS names no folder with a step.py" if folder else "NERFCORE_PEERS is not set"
    else:
        code = PEER_LOOP.format(rays=size.rays, per_ray=size.per_ray)
        environment = os.environ | {"PEER_THREADS": str(torch.get_num_threads())}
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )

        def wait(word: str) -> None:
            if (line := process.stdout.readline()).strip() != word:
                raise NerfcoreError(f"{folder}/step.py ended or said {line!r}; run it by hand to see why")

        def step() -> None:
            process.stdin.write("\n")
            process.stdin.flush()
            wait("done")

        try:
            wait("ready")
            yield step, ""
        finally:
            process.stdin.close()
            process.wait()


def measure(size: Size, seconds: float) -> dict:
    """One row of the JSON."""
    torch.manual_seed(0)
    arms = {arm: training_step(size, arm) for arm in ("kernel", "modular", "reference")}
    touched = arms["kernel"](count=True)
    parts = floor(size, measure_limits(torch.get_num_threads(), quick=seconds == 0), touched)
    with peer_step(size) as (peer, no_peer):
        turn = 0.0 if seconds == 0 else TURN
        times = interleaved(arms | ({"peer": peer} if peer else {}), torch.get_num_threads(), seconds, 3, turn)
    rate = {name: size.samples / t.median for name, t in times.items()}
    return {
        "size": size.name, "field": size.field, "rays": size.rays, "samples": size.samples, "touched": touched,
        "seconds": {name: {"median": t.median, "fastest": t.fastest, "busy": t.busy} for name, t in times.items()},
        "samples_per_second": rate,
        "floor": parts,
        "kernel_over_floor": times["kernel"].busy / sum(parts.values()),
        "no_peer": no_peer or None,
        "kernel_over_modular": rate["kernel"] / rate["modular"],
        "kernel_over_reference": rate["kernel"] / rate["reference"],
        "reference_over_peer": rate["reference"] / rate["peer"] if peer else None,
        "kernel_over_peer": rate["kernel"] / rate["peer"] if peer else None,
    }


def print_rows(rows: list[dict]) -> None:
    table = Table(title="Training step: thousand samples/s, medians; ratios; ns/sample at the least")
    table.add_column("size", overflow="fold")
    ratios = "kernel/modular", "kernel/reference", "reference/tuned"
    for column in ("kernel", "modular", "reference", "tuned", *ratios, "floor", "kernel's time/floor"):
        table.add_column(column, justify="right")
    for row in rows:
        rates = (row["samples_per_second"].get(name) for name in ("kernel", "modular", "reference", "peer"))
        ratio = row["reference_over_peer"]
        table.add_row(
            f"{row['size']}: {row['rays']} rays, {row['samples']} samples",
            *(f"{rate / 1e3:.1f}" if rate else "–" for rate in rates),
            f"{row['kernel_over_modular']:.2f} (≥ {MODULAR_TARGET:g})",
            f"{row['kernel_over_reference']:.1f} (≥ {KERNEL_TARGET:g})",
            f"{ratio:.2f} (≥ {REFERENCE_TARGET:g})" if ratio else "–",
            f"{sum(row['floor'].values()) / row['samples'] * 1e9:.0f} ns",
            f"{row['kernel_over_floor']:.2f} (≤ {FLOOR_TARGET:g})",
        )
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for row in rows:
        parts = ", ".join(f"{name} {s / row['samples'] * 1e9:.0f}" for name, s in row["floor"].items())
        console.print(f"{row['size']}: ns of the floor: {parts}", highlight=False)
        if row["no_peer"]:
            console.print(f"{row['size']}: no {PEER}, because {row['no_peer']}", highlight=False)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Times a training step: kernels, reference, stock PyTorch.")
    parser.add_argument("--json", type=Path, help="also write the figures to this file, after every size")
    parser.add_argument("--seconds", type=float, default=20.0, help="to spend on each size, at least three turns")
    parser.add_argument("--rays", type=int, default=4096, help="in the batch of the paper's size")
    parser.add_argument("--quick", action="store_true", help="a tiny batch: to see that it works")
    options = parser.parse_args(argv)
    require_kernels()
    rows = []
    for size in sizes(options.rays, options.quick):
        rows.append(measure(size, 0.0 if options.quick else options.seconds))
        if options.json:
            write_json(options.json, header() | {"quick": options.quick, "rows": rows})
    print_rows(rows)


if __name__ == "__main__":
    run(main)
