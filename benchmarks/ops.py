"""How fast is each operation?  python benchmarks/ops.py [--ops NAME ...] [--json FILE [--resume]] [--quick]

Each row times the C++ kernel, the plain-PyTorch reference, and the reference under torch.compile, taking turns in one
process, on tensors of the size of a training step. The throughput counts the bytes that an operation must read and
write once (cached or not), or its samples; never what an implementation moves besides.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from nerfcore.ops.adam import adam_scales, adam_step, adam_step_reference
from nerfcore.ops.bvh import (
    any_hit,
    build_bvh,
    first_hit,
    first_hit_reference,
    nearest_point,
    nearest_point_reference,
    winding_number,
    winding_number_reference,
)
from nerfcore.ops.composite import composite, composite_reference
from nerfcore.ops.distortion import distortion, distortion_reference
from nerfcore.ops.hash_grid import HashGridLevels, hash_grid, hash_grid_reference
from nerfcore.ops.interlevel import interlevel, interlevel_reference
from nerfcore.ops.intersect import intersect_box, intersect_box_reference
from nerfcore.ops.march import march_rays
from nerfcore.ops.marching_cubes import marching_cubes
from nerfcore.ops.mlp import mlp, mlp_reference
from nerfcore.ops.multilinear import multilinear, multilinear_reference
from nerfcore.ops.ngp import NgpNetworks, ngp_density, ngp_render
from nerfcore.ops.occupancy import (
    occupancy_pack,
    occupancy_pack_reference,
    occupancy_update,
    occupancy_update_reference,
)
from nerfcore.ops.pdf import sample_pdf, sample_pdf_reference
from nerfcore.ops.spherical_harmonics import spherical_harmonics, spherical_harmonics_reference
from nerfcore.types import SampleLattice, Samples

sys.path.insert(0, str(Path(__file__).resolve().parent))  # `nerfcore bench` runs this file from elsewhere
from common import earlier_rows, header, op_digest, require_kernels, run, write_json
from timing import interleaved

HERE = Path(__file__)
COMPILE_SECONDS = 40  # the most that torch.compile may take for one row
ARMS = ("kernel", "eager", "compile")
LOOPS = "n/a: the reference loops or allocates as its data demand"


@dataclass(frozen=True)
class Case:
    """One row. ``kernel`` and ``reference`` take ``inputs``; ``leaves`` of them get gradients from the first
    ``differentiated`` outputs."""

    op: str
    row: str
    size: str
    work: float  # bytes or samples, by unit
    unit: str  # GB/s, Gsamples/s or Grays/s
    inputs: tuple
    kernel: Callable
    reference: Callable
    leaves: tuple[Tensor, ...] = ()
    differentiated: int = 1
    not_compiled: str = ""

    def arm(self, function: Callable) -> Callable[[], object]:
        """The call to time: ``function`` alone, or with its backward pass."""
        if not self.leaves:
            return lambda: function(*self.inputs)
        grads = [torch.randn_like(out) for out in self._outputs(function)]
        return lambda: torch.autograd.grad(self._outputs(function), self.leaves, grads)

    def _outputs(self, function: Callable) -> tuple[Tensor, ...]:
        out = function(*self.inputs)
        return (out,) if isinstance(out, Tensor) else out[: self.differentiated]


def cases(quick: bool) -> dict[str, Callable[[], Iterator[Case]]]:
    """The rows of each operation; the tensors are made only when they are asked for."""
    shrink = 16 if quick else 1
    samples = 2**16 // shrink

    def intersect():
        origin = torch.rand(samples, 3) * 3 - 1
        direction = torch.nn.functional.normalize(torch.rand(samples, 3) - origin, dim=-1)
        yield Case(
            "intersect", "intersect", f"{samples} rays", samples * 32, "GB/s",
            (origin, direction, torch.zeros(3), torch.ones(3)), intersect_box, intersect_box_reference,
        )

    def bvh():
        axis = torch.linspace(-1, 1, 12 if quick else 48)
        ball = 0.7 - (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt() + 0.05 * torch.sin(20 * axis)
        vertices, faces = marching_cubes(ball, 0.0)
        tree, queries = build_bvh(vertices, faces), samples // 16
        near = vertices[torch.randint(len(vertices), (queries,))] + 0.5 * torch.randn(queries, 3)
        size = f"{queries} points near {len(faces)} triangles"
        for name, functions in (
            ("nearest point", (nearest_point, nearest_point_reference)),
            ("winding number", (winding_number, winding_number_reference)),
        ):
            yield Case(
                "bvh", f"bvh {name}", size, queries, "Gsamples/s", (tree, near), *functions, not_compiled=LOOPS
            )
        origin = 100 * torch.nn.functional.normalize(torch.randn(queries, 3), dim=-1)
        rays = tree, origin, near - origin, torch.full((queries,), math.inf)
        for name, kernel in (("first hit", first_hit), ("any hit", any_hit)):
            yield Case(
                "bvh", f"bvh {name}", f"{queries} rays at {len(faces)} triangles", queries, "Grays/s", rays, kernel,
                first_hit_reference, not_compiled=LOOPS,
            )

    def march():
        resolution, rays = 128, 4096 // shrink
        axis = (torch.arange(resolution) + 0.5) / resolution - 0.5
        radius = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt()
        bits = occupancy_pack(((radius - 0.3).abs() < 0.05).float().flatten(), 0.5)
        target = 0.5 + 0.2 * torch.randn(rays, 3)
        origin = 0.5 + 2 * torch.nn.functional.normalize(torch.randn(rays, 3), dim=-1)
        direction = torch.nn.functional.normalize(target - origin, dim=-1)
        near, far = intersect_box(origin, direction, torch.zeros(3), torch.ones(3))
        inputs = (origin, direction, near, far, bits, resolution, 1, 3**0.5 / 1024)
        kept = len(march_rays(*inputs))
        yield Case(
            "march", "march", f"{rays} rays, {kept} samples kept", kept, "Gsamples/s", inputs, march_rays,
            lambda *inputs: march_rays(*inputs, backend="reference"), not_compiled=LOOPS,
        )

    def occupancy():
        cells = 128**3 // shrink
        grid, looked_at = torch.rand(cells), cells // 4
        index, density = torch.randperm(cells)[:looked_at], torch.rand(looked_at)

        def both(update, pack):
            def run(grid, index, density):
                update(grid, index, density)
                return pack(grid, 0.5)

            return run

        yield Case(
            "occupancy", "occupancy update, pack", f"{cells} cells, {looked_at} updated",
            looked_at * (8 + 4 + 4 + 4) + cells * (4 + 1 / 8), "GB/s", (grid, index, density),
            both(occupancy_update, occupancy_pack), both(occupancy_update_reference, occupancy_pack_reference),
        )

    def pdf():
        rays, bins, drawn = 4096 // shrink, 64, 128
        borders = (torch.rand(rays, bins + 1) + 0.1).cumsum(1)
        yield Case(
            "pdf", "pdf", f"{rays} rays, {bins} bins, {drawn} samples", rays * 4 * (2 * bins + 1 + 2 * drawn), "GB/s",
            (borders, torch.rand(rays, bins) ** 4, drawn, torch.rand(rays, drawn)), sample_pdf, sample_pdf_reference,
        )

    def evenly_cut(rays: int, per_ray: int) -> Samples:
        border = torch.linspace(0, 1, per_ray + 1).repeat(rays, 1)
        return Samples(border[:, :-1].reshape(-1), border[:, 1:].reshape(-1), torch.arange(rays + 1) * per_ray)

    def distortion_row():
        rays, weights = samples // 32, torch.rand(samples).requires_grad_()
        yield Case(
            "distortion", "distortion forward+backward", f"{rays} rays x 32 samples", samples * 28 + rays * 16, "GB/s",
            (weights, evenly_cut(rays, 32)), distortion, distortion_reference, leaves=(weights,),
        )

    def interlevel_row():
        rays, weights, proposed = samples // 32, torch.rand(samples), torch.rand(2 * samples).requires_grad_()
        yield Case(
            "interlevel", "interlevel forward+backward", f"{rays} rays x 32 samples, 64 proposed",
            samples * (24 + 2 * 28) + rays * 24, "GB/s",
            (weights, evenly_cut(rays, 32), proposed, evenly_cut(rays, 64)), interlevel, interlevel_reference,
            leaves=(proposed,),
        )

    def composite_rows():
        per_ray = 32
        rays = samples // per_ray
        packed = evenly_cut(rays, per_ray)
        sigma, rgb = 4 * torch.rand(samples), torch.rand(samples, 3)
        size = f"{rays} rays x {per_ray} samples"
        forward, backward = samples * (4 + 12 + 8 + 4), samples * (12 + 8 + 4 + 16)
        yield Case(
            "composite", "composite forward", size, forward + rays * 28, "GB/s", (sigma, rgb, packed),
            composite, composite_reference,
        )
        sigma, rgb = sigma.requires_grad_(), rgb.requires_grad_()
        yield Case(
            "composite", "composite forward+backward", size, forward + backward + rays * 44, "GB/s",
            (sigma, rgb, packed), composite, composite_reference, leaves=(sigma, rgb), differentiated=2,
        )

    def hash_grid_rows():
        for levels in (
            HashGridLevels(num_levels=8, features=4, log2_table=17, finest=512),
            HashGridLevels(num_levels=16, features=2, log2_table=19, finest=2048),
        ):
            x, table = points_on_rays(samples), torch.rand(levels.num_entries, levels.features)
            name = f"hash_grid L={levels.num_levels} F={levels.features} T=2^{levels.log2_table}"
            read = samples * (12 + 4 * levels.out_features * (8 + 1))
            size, functions = f"{samples} samples", (hash_grid, hash_grid_reference)
            yield Case("hash_grid", f"{name} forward", size, read, "GB/s", (x, table, levels), *functions)
            table = table.requires_grad_()
            written = samples * (12 + 4 * levels.out_features * (1 + 2 * 8)) + 4 * table.numel()
            yield Case(
                "hash_grid", f"{name} forward+backward", size, read + written, "GB/s", (x, table, levels), *functions,
                leaves=(table,),
            )

    def harmonics():
        direction = torch.nn.functional.normalize(torch.randn(samples, 3), dim=-1)
        yield Case(
            "spherical_harmonics", "spherical_harmonics", f"{samples} directions, degree 4", samples * (12 + 64),
            "GB/s", (direction, 4), spherical_harmonics, spherical_harmonics_reference,
        )

    def mlp_rows():
        widths = (32, 64, 64, 3)
        x = torch.rand(samples, widths[0])
        weights = [torch.randn(i, o) / i**0.5 for i, o in zip(widths[:-1], widths[1:], strict=True)]
        size = f"{samples} samples, {'-'.join(map(str, widths))}"
        for grad in (False, True):
            inputs = tuple(t.clone().requires_grad_(grad) for t in (x, *weights))
            yield Case(
                "mlp", "mlp forward+backward" if grad else "mlp forward", size, samples, "Gsamples/s", inputs,
                lambda x, *w: mlp(x, w), lambda x, *w: mlp_reference(x, w), leaves=inputs if grad else (),
            )

    def multilinear_rows():
        def reference(x, values, rows):
            return multilinear_reference(x if x.ndim == 3 else x[None], values, rows)

        side, channels = 128 // (4 if quick else 1), 27
        axis = torch.arange(side) / (side - 1) - 0.5
        shell = ((axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt() - 0.35).abs() < 0.05
        links = torch.where(shell, shell.flatten().cumsum(0).view_as(shell) - 1, -1).int()
        planes = torch.rand(3, 256, 256, 24)
        on_planes = points_on_rays(samples)[:, [[0, 1], [0, 2], [1, 2]]].transpose(0, 1).contiguous()
        for name, x, values, rows, corners in (
            ("voxels", points_on_rays(samples), torch.rand(int(shell.sum()), channels), links, 8),
            ("planes", on_planes, planes, None, 4),
        ):
            points = x.shape[:-1].numel()
            read = points * 4 * (x.shape[-1] + values.shape[-1] * (corners + 1))
            size = f"{points} points, {values.shape[-1]} channels"
            yield Case(
                "multilinear", f"multilinear {name} forward", size, read, "GB/s", (x, values, rows), multilinear,
                reference,
            )
            values = values.requires_grad_()
            written = points * 4 * (x.shape[-1] + values.shape[-1] * (2 * corners + 1)) + 4 * values.numel()
            yield Case(
                "multilinear", f"multilinear {name} forward+backward", size, read + written, "GB/s",
                (x, values, rows), multilinear, reference, leaves=(values,),
            )

    def cubes():
        side = 128 // (4 if quick else 1)
        axis = torch.linspace(-1, 1, side)
        volume = 0.7 - (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt() + 0.05 * torch.sin(20 * axis)
        yield Case(
            "marching_cubes", "marching_cubes", f"{side}^3 samples", side**3, "Gsamples/s", (volume, 0.0),
            marching_cubes, lambda volume, iso: marching_cubes(volume, iso, backend="reference"), not_compiled=LOOPS,
        )

    def adam():
        size = 2**22 // shrink
        inputs = tuple(torch.rand(size) for _ in range(4))
        scales = adam_scales(10, 1e-2)
        yield Case(
            "adam", "adam", f"{size} parameters, all met", size * 28, "GB/s", inputs,
            lambda *tensors: adam_step(*tensors, scales),
            lambda *tensors: adam_step_reference(*tensors, scales, (0.9, 0.99), 1e-15),
        )

    def ngp():
        levels = HashGridLevels(num_levels=8, features=4, log2_table=17, finest=512)

        def matrices(*widths: int) -> list[Tensor]:
            return [torch.randn(i, o) * (2 / i) ** 0.5 for i, o in zip(widths[:-1], widths[1:], strict=True)]

        table = torch.rand(levels.num_entries, levels.features)
        networks = NgpNetworks(levels, table, matrices(32, 64, 16), matrices(32, 64, 64, 3), 4, 15.0)
        yield Case(
            "ngp", "ngp density", f"{samples} samples", samples, "Gsamples/s", (networks, points_on_rays(samples)),
            ngp_density, lambda *inputs: ngp_density(*inputs, backend="reference"),
        )
        rays, resolution = 4096 // shrink, 32
        axis = (torch.arange(resolution) + 0.5) / resolution - 0.5
        radius = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt()
        bits = occupancy_pack(((radius - 0.3).abs() < 0.05).float().flatten(), 0.5)
        origin = 0.5 + 2 * torch.nn.functional.normalize(torch.randn(rays, 3), dim=-1)
        direction = torch.nn.functional.normalize(0.5 + 0.2 * torch.randn(rays, 3) - origin, dim=-1)
        lattice = SampleLattice(bits, resolution, 1, 3**0.5 / 512)
        yield Case(
            "ngp", "ngp picture", f"{rays} rays", rays, "Grays/s", (networks, origin, direction, lattice),
            ngp_render, lambda *inputs: ngp_render(*inputs, backend="reference"), not_compiled=LOOPS,
        )

    return {
        "intersect": intersect, "bvh": bvh, "march": march, "occupancy": occupancy, "pdf": pdf,
        "composite": composite_rows, "distortion": distortion_row, "interlevel": interlevel_row,
        "hash_grid": hash_grid_rows, "spherical_harmonics": harmonics, "mlp": mlp_rows,
        "multilinear": multilinear_rows, "marching_cubes": cubes, "adam": adam, "ngp": ngp,
    }


def points_on_rays(count: int, per_ray: int = 32) -> Tensor:
    """[count, 3] in [0, 1]³: runs of consecutive samples, a 1024th of the diagonal apart, on random rays."""
    origin = torch.rand(-(-count // per_ray), 1, 3)
    direction = torch.nn.functional.normalize(torch.randn_like(origin), dim=-1)
    distance = torch.arange(per_ray)[:, None] * (3**0.5 / 1024)
    return (origin + distance * direction).view(-1, 3)[:count].clamp(0, 1)


def measure(case: Case, quick: bool) -> dict:
    """One row of the JSON. Throughput and ratios are of the fastest calls; the medians stand beside them."""
    arms = {"kernel": case.arm(case.kernel), "eager": case.arm(case.reference)}
    reason, compile_seconds = case.not_compiled or ("n/a: --quick compiles nothing" if quick else ""), None
    if not reason:
        start = time.perf_counter()
        torch.compiler.reset()
        try:
            with time_limit(COMPILE_SECONDS), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                arms["compile"] = case.arm(torch.compile(case.reference, dynamic=False))
                arms["compile"]()
            compile_seconds = round(time.perf_counter() - start, 1)
        except Exception as error:  # whatever the compiler raises is the finding
            arms.pop("compile", None)
            reason = f"failed: {type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error) else ''}"
    times = interleaved(arms, torch.get_num_threads(), 0.1 if quick else 3.0, 3)
    kernel, eager, compiled = times["kernel"], times["eager"], times.get("compile")
    return {
        "op": case.op, "row": case.row, "size": case.size, "digest": op_digest(case.op, HERE), "quick": quick,
        "ms": {name: {"median": t.median * 1e3, "fastest": t.fastest * 1e3} for name, t in times.items()},
        "no_compile": reason or None,
        "compile_seconds": compile_seconds,
        "work": case.work,
        "throughput": case.work / kernel.fastest * 1e-9,
        "unit": case.unit,
        "eager_ratio": eager.fastest / kernel.fastest,
        "compile_ratio": compiled.fastest / kernel.fastest if compiled else None,
        "eager_ratio_of_medians": eager.median / kernel.median,
        "compile_ratio_of_medians": compiled.median / kernel.median if compiled else None,
    }


@contextmanager
def time_limit(seconds: int):
    """Raises TimeoutError inside the block once the time is over; without effect where there is no SIGALRM."""

    def expire(*_):
        raise TimeoutError(f"took longer than {seconds} s")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def print_rows(rows: list[dict]) -> None:
    """The table: ms of each arm, throughput of the kernel, and how many times longer the reference takes."""
    table = Table(title="ms per call, fastest (median); throughput and ratios are of the fastest calls")
    for column in ("operation", "size"):
        table.add_column(column, overflow="fold")
    for column in ("kernel", "eager", "compile", "throughput", "eager/kernel", "compile/kernel"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        absent = "n/a" if (row["no_compile"] or "").startswith("n/a") else "–"
        cells = [f"{t['fastest']:.3g} ({t['median']:.3g})" if t else absent for t in map(row["ms"].get, ARMS)]
        ratios = [f"{r:.1f}" if r else absent for r in (row["eager_ratio"], row["compile_ratio"])]
        table.add_row(row["row"], row["size"], *cells, f"{row['throughput']:.3g} {row['unit']}", *ratios)
    Console(width=None if sys.stdout.isatty() else 170).print(table)


def main(argv: list[str] | None = None) -> None:
    names = list(cases(quick=True))
    parser = argparse.ArgumentParser(description="Times each operation: kernel, reference, compiled reference.")
    parser.add_argument("--ops", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--json", type=Path, help="also write the figures to this file, after every row")
    parser.add_argument("--resume", action="store_true", help="keep rows of the file whose sources have not changed")
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing compiled: to see that it works")
    options = parser.parse_args(argv)
    require_kernels()
    makers, kept, rows = cases(options.quick), earlier_rows(options), []
    for op in options.ops:
        torch.manual_seed(0)
        for case in makers[op]():
            row = kept.get(case.row)
            if row is None or (row["digest"], row["quick"]) != (op_digest(op, HERE), options.quick):
                row = measure(case, options.quick)
            rows.append(row)
            if options.json:
                write_json(options.json, header() | {"rows": rows})
    print_rows(rows)


if __name__ == "__main__":
    run(main)
