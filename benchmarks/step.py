"""How fast is a training step?  NERFCORE_PEERS=FOLDER python benchmarks/step.py [--json FILE] [--seconds S] [--quick]

One step takes a batch of uniform samples on random rays through the density and colour networks, composites them,
compares with random colours, goes backward and moves the parameters by Adam. It is timed with the kernels and, for the
same model, with the plain-PyTorch reference; at the larger size also beside the fastest step that an independent script
gets out of stock PyTorch operations (``ngp("tuned")`` of ``step.py`` in the folder that NERFCORE_PEERS names). All take
turns; the figures are medians.
"""

from __future__ import annotations

import argparse
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
from nerfcore.fields import NGPField
from nerfcore.fields.ngp import CHUNK_SAMPLES
from nerfcore.ops.ngp import ngp_loss
from nerfcore.renderer.volume import render_samples
from nerfcore.training.optimizer import Adam
from nerfcore.types import SampleLattice, Samples, TouchedGradient

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import header, interleaved, require_kernels, run, write_json

TURN = 0.2  # seconds: training steps follow each other, each finds in the cache what the last one left
LENGTH = 0.4  # of the sampled part of a ray; all of it lies in the box
KERNEL_TARGET, REFERENCE_TARGET = 6.0, 0.9  # kernel / reference, reference / tuned peer
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


def training_step(size: Size, backend: str) -> Callable[[], None]:
    """One step of our own on a batch that is drawn anew each time, as the independent script does.

    The kernels march through a full grid to find the samples; the reference is given them.
    """
    field = NGPField(**size.field, backend=backend)
    field.initialise(torch.Generator().manual_seed(0))
    optimizer = Adam(field.named_parameters(), backend)
    offsets = torch.arange(size.rays + 1) * size.per_ray
    step_length, black = LENGTH / size.per_ray, torch.zeros(size.rays, 3)
    lattice = SampleLattice(torch.full((8,), 255, dtype=torch.uint8), 4, 1, step_length, max_samples=size.per_ray)

    def step() -> None:
        origin = torch.rand(size.rays, 3) * 0.2 + 0.4
        direction = torch.nn.functional.normalize(torch.randn(size.rays, 3), dim=-1)
        jitter, truth = torch.rand(size.rays), torch.rand(size.rays, 3)
        if backend == "reference":
            start = ((torch.arange(size.per_ray) + jitter[:, None]) * step_length).view(-1)
            samples = Samples(start, start + step_length, offsets)
            rgb, *_ = render_samples(field, origin, direction, samples, backend)
            names, parameters = zip(*field.named_parameters(), strict=True)
            gradients = torch.autograd.grad(torch.nn.functional.mse_loss(rgb, truth), parameters)
            optimizer.step(1e-2, dict(zip(names, gradients, strict=True)))
        else:
            rays_per_chunk = max(CHUNK_SAMPLES // size.per_ray, 1)
            _, samples, _, density, color = ngp_loss(
                field.networks(), origin, direction, lattice, black, truth, gradient, jitter, 0.0,
                rays_per_chunk=rays_per_chunk, backend=backend,
            )
            assert len(samples) == size.samples
            named = {f"density_mlp.{i}": g for i, g in enumerate(density)} | {"table": gradient}
            optimizer.step(1e-2, named | {f"color_mlp.{i}": g for i, g in enumerate(color)})

    gradient = TouchedGradient.zeros_like(field.table.detach())
    use_huge_pages(gradient.values)
    return step


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
    arms = {name: training_step(size, backend) for name, backend in (("kernel", "cpu"), ("reference", "reference"))}
    with peer_step(size) as (peer, no_peer):
        times = interleaved(arms | ({"peer": peer} if peer else {}), seconds, 3, 0.0 if seconds == 0 else TURN)
    rate = {name: size.samples / t.median for name, t in times.items()}
    return {
        "size": size.name, "field": size.field, "rays": size.rays, "samples": size.samples,
        "seconds": {name: {"median": t.median, "fastest": t.fastest} for name, t in times.items()},
        "samples_per_second": rate,
        "no_peer": no_peer or None,
        "kernel_over_reference": rate["kernel"] / rate["reference"],
        "reference_over_peer": rate["reference"] / rate["peer"] if peer else None,
        "kernel_over_peer": rate["kernel"] / rate["peer"] if peer else None,
    }


def print_rows(rows: list[dict]) -> None:
    table = Table(title="Training step: thousand samples/s, medians")
    table.add_column("size", overflow="fold")
    for column in ("kernel", "reference", PEER, "kernel/reference", "reference/tuned"):
        table.add_column(column, justify="right")
    for row in rows:
        rates = (row["samples_per_second"].get(name) for name in ("kernel", "reference", "peer"))
        ratio = row["reference_over_peer"]
        table.add_row(
            f"{row['size']}: {row['rays']} rays, {row['samples']} samples",
            *(f"{rate / 1e3:.1f}" if rate else "–" for rate in rates),
            f"{row['kernel_over_reference']:.1f} (target {KERNEL_TARGET:g})",
            f"{ratio:.2f} (target {REFERENCE_TARGET:g})" if ratio else "–",
        )
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(table)
    for row in rows:
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
