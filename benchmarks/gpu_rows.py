"""What gpu.py times, and how: rows of work, each with the bytes and flops that it needs at least.

``python benchmarks/gpu_rows.py`` does every row once on hardly any data: what compute-sanitizer watches.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from nerfcore import _extension
from nerfcore.errors import NerfcoreError
from nerfcore.ops.adam import adam_scales, adam_step
from nerfcore.ops.bvh import build_bvh, first_hit, nearest_point
from nerfcore.ops.composite import composite
from nerfcore.ops.distortion import distortion
from nerfcore.ops.hash_grid import hash_grid
from nerfcore.ops.interlevel import interlevel
from nerfcore.ops.intersect import intersect_box
from nerfcore.ops.march import march_rays
from nerfcore.ops.marching_cubes import marching_cubes
from nerfcore.ops.mlp import mlp, mlp_reference
from nerfcore.ops.multilinear import multilinear
from nerfcore.types import Samples

sys.path.insert(0, str(Path(__file__).resolve().parent))
from arms import composite as composite_arms
from arms import eager
from arms import hash_grid as grid_arms
from arms import marching_cubes as cubes_arms
from arms import mlp as mlp_arms
from common import digest, included
from timing import Timing, Turn, take_turns

Step = Callable[[], Tensor]  # does the work once; returns what can be compared with other libraries
Clock = Callable[[Callable[[], object], int], Turn]

OURS, COLD = "nerfcore", "nerfcore, cold caches"
FLUSHED = 2**28  # bytes, more than the second-level cache of any GPU
SECONDS, TURN = 0.4, 0.01  # for a row, at least; of a turn
CACHES = (
    f"warm: the calls of a turn follow each other on the same tensors; cold: {FLUSHED >> 20} MiB are written before "
    "every call"
)
SOURCES = {"tinycudann": "bindings/torch of github.com/NVlabs/tiny-cuda-nn", "nerfacc": "pip install nerfacc"}
"""Where to get the other libraries."""


class Ready(NamedTuple):
    """Work whose tensors are on a device. bytes: from and to memory at least, everything once; gathered: bytes of the
    reads and additions at random places, which caches are meant to serve. data: what peers need."""

    step: Step
    bytes: float
    flops: float = 0.0
    gathered: float = 0.0
    data: tuple = ()


@dataclass(frozen=True)
class Row:
    """ops: the files of nerfcore/ops that are timed. work: has ``small()``. peers: by the name that a library is
    imported by, what makes its step out of the work and the data."""

    name: str
    ops: tuple[str, ...]
    work: object
    make: Callable[[object, torch.device], Ready]
    peers: dict[str, Callable[[object, tuple], Step]] = field(default_factory=dict)

    def digest(self) -> str:
        """Of what the figures depend on: the operations' sources, with all that they include, and the benchmark."""
        package, native = Path(_extension.__file__).parent, _extension.source_dir()
        python = [package / "types.py", *(package / "ops" / f"{name}.py" for name in ("_dispatch", *self.ops))]
        patterns = (p for op in self.ops for p in (f"kernels/{op}.cu", f"kernels/{op}_*.cu", f"bindings/{op}.h"))
        units = [path for pattern in patterns for path in native.glob(pattern)]
        benchmark = {Path(__file__), Path(__file__).with_name("timing.py")}
        benchmark |= {Path(inspect.getfile(kind)) for kind in type(self.work).__mro__[:-1]}
        return digest([*python, *benchmark, *included(units, native)])


def device_turn(arm: Callable[[], object], calls: int, flush: Tensor | None = None) -> Turn:
    """Calls an arm that runs on the current GPU: ``wall`` is the time between two events on its stream, waits for the
    host included, ``busy`` what the host took to ask for it. flush: a tensor larger than the second-level cache, which
    is written before every call, outside the events."""
    pairs = [(_event(), _event()) for _ in range(calls if flush is not None else 1)]
    start = time.perf_counter()
    for before, after in pairs:
        if flush is not None:
            flush.zero_()
        before.record()
        for _ in range(calls // len(pairs)):
            arm()
        after.record()
    asked = time.perf_counter() - start
    torch.cuda.synchronize()
    return Turn(sum(before.elapsed_time(after) for before, after in pairs) * 1e-3 / calls, asked / calls)


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)


def timed(arms: dict[str, Callable[[int], Turn]]) -> dict[str, Timing]:
    return take_turns(arms, SECONDS, turn=TURN)


def ceilings(device: torch.device, clock: Clock, size: int = 2**13) -> dict[str, float]:
    """Rates a second: bytes, read plus written, of a plain copy of 4 x size² floats, and flops of a bfloat16 product of
    two matrices [size, size]."""
    source, target = (torch.zeros(4 * size**2, device=device) for _ in range(2))
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    arms = {"copy": lambda: target.copy_(source), "product": lambda: left @ right}
    times = timed({name: partial(clock, arm) for name, arm in arms.items()})
    return {
        "copy_bytes": 2 * source.nbytes / times["copy"].median,
        "product_flops": 2 * size**3 / times["product"].median,
    }


def time_alone(row: Row, work: object, device: torch.device, clock: Clock, rates: dict[str, float]) -> dict:
    """A row of the operations, in milliseconds of device time; ``host_ms`` is what it takes to ask for them."""
    ready = row.make(work, device)
    arms = {OURS: partial(clock, ready.step)}
    if device.type == "cuda":
        arms[COLD] = partial(clock, ready.step, flush=torch.empty(FLUSHED, dtype=torch.uint8, device=device))
    times = timed(arms)
    ours, cold = times[OURS], times.get(COLD)
    copied = rates["copy_bytes"] * ours.median
    asked = ready.bytes + ready.gathered
    return {
        "row": row.name, "digest": row.digest(), "ms": ours.median * 1e3, "fastest_ms": ours.fastest * 1e3,
        "cold_ms": cold.median * 1e3 if cold else None, "host_ms": ours.busy * 1e3,
        "bytes": ready.bytes, "gathered_bytes": ready.gathered, "flops": ready.flops,
        "share_of": {
            "copy": ready.bytes / copied, "product": ready.flops / ours.median / rates["product_flops"],
        },
        "cached_share": max(0.0, 1 - copied / asked),  # of the bytes that it asked for; memory had no time for more
    }


def time_beside_peers(row: Row, work: object, device: torch.device, clock: Clock) -> dict:
    """A row that other libraries can do too, all in turns, in milliseconds of device time. figures: how many times as
    long a library takes. error: of its result against ours, root mean squares of the difference and of ours."""
    ready = row.make(work, device)
    arms, errors, absent = {OURS: partial(clock, ready.step)}, {}, {}
    result = ready.step()
    for library, make in row.peers.items():
        try:
            importlib.import_module(library)
            step = make(work, ready.data)
            errors[library] = relative_error(step(), result)
            arms[library] = partial(clock, step)
        except ModuleNotFoundError as error:
            absent[library] = f"{library} is left out: {error} ({SOURCES.get(library, 'see its own pages')})"
        except Exception as error:  # whatever a library raises is the finding
            absent[library] = f"{library} raised {sentence(error)}"
    times = timed(arms)
    ours = times.pop(OURS)
    return {
        "row": row.name, "digest": row.digest(), "ms": ours.median * 1e3, "fastest_ms": ours.fastest * 1e3,
        "peers_ms": {name: t.median * 1e3 for name, t in times.items()},
        "figures": {f"x {name}": t.median / ours.median for name, t in times.items()},
        "error": errors, "absent": absent,
    }


def relative_error(result: Tensor, ours: Tensor) -> float | None:
    """None where the two have not as many values."""
    if result.numel() != ours.numel():
        return None
    result, ours = result.detach().double().flatten(), ours.detach().double().flatten()
    return float((result - ours).norm() / ours.norm().clamp(min=1e-30))


def sentence(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


@dataclass(frozen=True)
class Size:
    """Of work that has no more to say."""

    size: int

    def small(self) -> Size:
        return Size(2**10)


@dataclass(frozen=True)
class GridWork(grid_arms.Work):
    """backward: that pass alone, to the table or, with ``to_positions``, to the points. storage: of the table."""

    storage: str = "float32"
    to_positions: bool = False


def grid(work: GridWork, device: torch.device) -> Ready:
    """From memory come points, rows and the table, which the backward pass to it clears instead; every corner of every
    level is gathered."""
    x, table, grad_out = _on(device, grid_arms.inputs(work))
    levels, stored = work.levels, table.to(getattr(torch, work.storage))
    leaf = (x if work.to_positions else table).requires_grad_(work.backward)
    rows, numbers = x.nbytes + grad_out.nbytes, work.points * grid_arms.CORNERS * levels.out_features
    if leaf is table and work.backward:
        moved, entry = table.nbytes, table.element_size()
    else:
        entry = stored.element_size()
        moved = entry * min(table.numel(), numbers) + x.nbytes * work.to_positions
    step = _pass(lambda: hash_grid(x, stored, levels, master=table), leaf, grad_out, work.backward)
    return Ready(step, float(rows + moved), 2.0 * numbers, float(entry * numbers), (x, table, grad_out))


def grid_by_tinycudann(work: GridWork, data: tuple) -> Step:
    """Its encoding as torch calls it, in the type of our table."""
    import tinycudann

    x, table, grad_out = data
    config = {"otype": "Grid", "type": "Hash", "n_levels": work.num_levels, "n_features_per_level": work.features}
    config |= {"log2_hashmap_size": work.log2_table, "base_resolution": work.coarsest}
    config |= {"per_level_scale": (work.finest / work.coarsest) ** (1 / max(work.num_levels - 1, 1))}
    encoding = tinycudann.Encoding(3, config, dtype=getattr(torch, work.storage))
    _give(encoding.params, table)
    return _pass(partial(encoding, x), encoding.params, grad_out, work.backward)


@dataclass(frozen=True)
class MlpWork(mlp_arms.Work):
    """backward: after the forward pass. precision: what we multiply in."""

    precision: str = "bf16"


def network(work: MlpWork, device: torch.device) -> Ready:
    x, grad_out, *weights = _on(device, mlp_arms.inputs(work))
    leaves, cost = [leaf.requires_grad_(work.backward) for leaf in (x, *weights)], mlp_arms.cost(work)
    step = _both(lambda: mlp(x, weights, precision=work.precision), leaves, grad_out, work.backward)
    return Ready(step, cost.bytes, cost.flops, data=(x, grad_out, *weights))


def network_by_torch(work: MlpWork, data: tuple) -> Step:
    """Matrix products and activations one after another, all in bfloat16."""
    x, grad_out, *weights = (v.detach().bfloat16() for v in data)
    leaves = [leaf.requires_grad_(work.backward) for leaf in (x, *weights)]
    return _both(lambda: mlp_reference(x, weights), leaves, grad_out, work.backward)


def network_by_tinycudann(work: MlpWork, data: tuple) -> Step:
    """FullyFusedMLP as torch calls it, in its half precision."""
    import tinycudann

    x, grad_out, *weights = (v.detach() for v in data)
    config = {"otype": "FullyFusedMLP", "activation": "ReLU", "output_activation": "None"}
    config |= {"n_neurons": work.widths[1], "n_hidden_layers": len(work.widths) - 2}
    fused = tinycudann.Network(work.widths[0], work.widths[-1], config)
    _give(fused.params, torch.cat([w.t().flatten() for w in weights]))
    return _both(lambda: fused(x), [x.requires_grad_(work.backward), fused.params], grad_out, work.backward)


def compositing(work: composite_arms.Work, device: torch.device) -> Ready:
    offsets, sigma, t_start, t_end, rgb, grad_out = _on(device, composite_arms.inputs(work))
    samples, cost = Samples(t_start, t_end, offsets), composite_arms.cost(work)
    leaves = [v.requires_grad_(work.backward) for v in (sigma, rgb)]
    cotangents = [v.contiguous() for v in (grad_out[:, :3], grad_out[:, 3], grad_out[:, 4])]
    step = _both(lambda: composite(sigma, rgb, samples, stop_below=0.0)[:3], leaves, cotangents, work.backward)
    return Ready(step, cost.bytes, cost.flops)


def operation(work: eager.Work, device: torch.device) -> Ready:
    """One of arms/eager.py."""
    case = eager.OPERATIONS[work.operation](work)
    inputs = [v.to(device) if isinstance(v, Tensor) else v for v in case.inputs]
    out = case.kernel(*inputs)
    return Ready(lambda: _several(case.kernel(*inputs))[0], case.moved(_several(out)))


def rendering(work: eager.Work, device: torch.device) -> Ready:
    """Marching, and compositing of what it found, forward and backward; all samples are alike."""
    case = eager.OPERATIONS["march"](work)
    inputs = [v.to(device) if isinstance(v, Tensor) else v for v in case.inputs]
    samples = march_rays(*inputs)
    sigma, rgb, *cotangents = _alike(len(samples), work.size, device)

    def compose() -> tuple[Tensor, ...]:
        rgb_out, opacity, *_ = composite(sigma, rgb, march_rays(*inputs), stop_below=0.0)
        return opacity, rgb_out

    moved = case.moved((samples.t_start,)) + len(samples) * (2.0 * composite_arms.READ + composite_arms.WRITTEN)
    return Ready(_both(compose, [sigma, rgb], cotangents, True), moved, 60.0 * len(samples), data=tuple(inputs))


def rendering_by_nerfacc(work: eager.Work, data: tuple) -> Step:
    """traverse_grids, then weights and sums; its samples lie elsewhere on the ray than ours, about as many."""
    import nerfacc
    from nerfacc.grid import traverse_grids

    origin, direction, _, _, bits, side, _, length = data
    occupied = (bits[:, None] >> torch.arange(8, device=bits.device) & 1).bool().view(1, side, side, side)
    box = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]], device=bits.device)

    def traverse() -> tuple[Tensor, Tensor, Tensor]:
        intervals, samples, _ = traverse_grids(origin, direction, occupied, box, step_size=length)
        return intervals.vals[intervals.is_left], intervals.vals[intervals.is_right], samples.ray_indices

    sigma, rgb, *cotangents = _alike(len(traverse()[0]), work.size, bits.device)

    def compose() -> tuple[Tensor, ...]:
        start, end, ray = traverse()
        weights, _, _ = nerfacc.render_weight_from_density(start, end, sigma, ray_indices=ray, n_rays=work.size)
        opacity = nerfacc.accumulate_along_rays(weights, None, ray, work.size)[:, 0]
        return opacity, nerfacc.accumulate_along_rays(weights, rgb, ray, work.size)

    return _both(compose, [sigma, rgb], cotangents, True)


def cubes(work: cubes_arms.Work, device: torch.device) -> Ready:
    (volume,) = _on(device, cubes_arms.inputs(work))
    return Ready(lambda: marching_cubes(volume, 0.0)[0], cubes_arms.cost(work).bytes)


def intersection(work: Size, device: torch.device) -> Ready:
    """24 bytes of a ray read, 8 written."""
    origin = torch.rand(work.size, 3, device=device) * 3 - 1
    direction = torch.nn.functional.normalize(torch.rand(work.size, 3, device=device) - origin, dim=-1)
    box = torch.zeros(3, device=device), torch.ones(3, device=device)
    return Ready(lambda: intersect_box(origin, direction, *box)[0], 32.0 * work.size)


def even(rays: int, per_ray: int, device: torch.device) -> tuple[Tensor, Samples]:
    """Random weights of rays that are cut evenly."""
    border = torch.linspace(0, 1, per_ray + 1, device=device).repeat(rays, 1)
    offsets = torch.arange(rays + 1, device=device) * per_ray
    samples = Samples(border[:, :-1].reshape(-1), border[:, 1:].reshape(-1), offsets)
    return torch.rand(rays * per_ray, device=device) / per_ray, samples


def distorting(work: Size, device: torch.device) -> Ready:
    """12 bytes of a sample read by each pass, 4 written."""
    weights, samples = even(work.size, 32, device)
    grad = torch.rand(work.size, device=device)
    step = _both(lambda: distortion(weights, samples), [weights.requires_grad_()], grad, True)
    return Ready(step, 28.0 * len(samples) + 16.0 * work.size)


def explaining(work: Size, device: torch.device) -> Ready:
    """12 bytes of a sample and of a proposal read by each pass, 4 of a proposal written."""
    (weights, samples), (proposed, bins) = even(work.size, 32, device), even(work.size, 64, device)
    grad = torch.rand(work.size, device=device)
    step = _both(lambda: interlevel(weights, samples, proposed, bins), [proposed.requires_grad_()], grad, True)
    return Ready(step, 24.0 * len(samples) + 28.0 * len(bins) + 24.0 * work.size)


def planes(work: Size, device: torch.device) -> Ready:
    """Points on three planes of 256 x 256 corners and 24 channels. 12 bytes of coordinates, 4 of a channel written and
    16 of its corners gathered; as much again for the gradient of the planes, which is written twice."""
    values = torch.rand(3, 256, 256, 24, device=device, requires_grad=True)
    x, grad = torch.rand(3, work.size, 2, device=device), torch.rand(3, work.size, 24, device=device)
    out = 3 * work.size * 24
    step = _both(lambda: multilinear(x, values), [values], grad, True)
    return Ready(step, 16.0 * x.numel() + 8.0 * out + 12.0 * values.numel(), 16.0 * out, 48.0 * out)


@dataclass(frozen=True)
class TreeWork(Size):
    """query: of a tree of triangles."""

    query: str

    def small(self) -> TreeWork:
        return TreeWork(2**10, self.query)


def triangles(work: TreeWork, device: torch.device) -> Ready:
    """Points near a bumpy ball of about 50,000 triangles, or rays towards them. The bytes of what is asked and
    answered: what is gathered from the tree depends on it."""
    axis = torch.linspace(-1, 1, 96)
    ball = 0.7 - (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt() + 0.05 * torch.sin(20 * axis)
    tree = build_bvh(*(part.to(device) for part in marching_cubes(ball, 0.0)))
    point = torch.nn.functional.normalize(torch.randn(work.size, 3, device=device), dim=-1)
    point = point * (0.5 + 0.4 * torch.rand(work.size, 1, device=device))
    if work.query == "first hit":
        origin, far = 3 * point.flip(0), torch.full((work.size,), torch.inf, device=device)
        return Ready(lambda: first_hit(tree, origin, point - origin, far)[0], 48.0 * work.size)
    return Ready(lambda: nearest_point(tree, point)[0], 36.0 * work.size)


def adam(work: Size, device: torch.device) -> Ready:
    """Four tensors read, three written."""
    tensors, scales = [torch.rand(work.size, device=device) for _ in range(4)], adam_scales(10, 1e-2).to(device)

    def step() -> Tensor:
        adam_step(*tensors, scales)
        return tensors[0]

    return Ready(step, 28.0 * work.size, 15.0 * work.size)


GRID, MLP = "hash grid L16 F2 T2^19", "MLP 32-64-64-16"
RENDERING = "march + compositing forward+backward, 2^16 rays"
KINDS = {"rays": "points on rays", "random": "random points"}
STORAGES = "float32", "float16"
GRID_PASSES = {"forward": False, "backward to the table": True}
PASSES = {"forward": False, "forward+backward": True}
SIZES = (14, 16, 18, 21)  # log2 of the samples that peers are met at, beside 2^20


def grid_name(direction: str, kind: str, storage: str, size: int = 20) -> str:
    return f"{GRID} {storage} {direction}, 2^{size} {KINDS[kind]}"


def mlp_name(direction: str, precision: str = "bf16", size: int = 20) -> str:
    return f"{MLP} {precision} {direction}, 2^{size} samples"


def op_rows() -> list[Row]:
    """Every operation at the size of a large training step; those with targets first."""
    default = {"num_levels": 8, "features": 4, "log2_table": 17, "finest": 512}

    def grid_row(name: str, **work) -> Row:
        return Row(name, ("hash_grid",), GridWork(2**20, "rays", **work), grid)

    def eager_row(name: str, op: str, size: int) -> Row:
        return Row(name, (op,), eager.Work(op, size), operation)

    return [
        *(_grid_row(way, kind, storage) for way in GRID_PASSES for storage in STORAGES for kind in KINDS),
        *(_mlp_row(way) for way in PASSES),
        Row(
            RENDERING, ("march", "composite"), eager.Work("march", 2**16), rendering, {"nerfacc": rendering_by_nerfacc},
        ),
        grid_row(f"{GRID} float32 backward to the positions, 2^20 points on rays", backward=True, to_positions=True),
        *(
            grid_row(f"hash grid L8 F4 T2^17 float32 {way}, 2^20 points on rays", backward=backward, **default)
            for way, backward in GRID_PASSES.items()
        ),
        *(_mlp_row("forward+backward", precision) for precision in ("fp16", "tf32")),
        *(
            Row(f"compositing {way}, 2^16 rays", ("composite",), composite_arms.Work(2**16, backward), compositing)
            for way, backward in PASSES.items()
        ),
        eager_row("march through 128^3 cells, 2^16 rays", "march", 2**16),
        eager_row("occupancy update without the field, 128^3 cells", "occupancy", 2**21),
        eager_row("spherical harmonics of degree 4, 2^20 directions", "spherical_harmonics", 2**20),
        eager_row("pdf, 2^16 rays of 64 bins, 128 samples", "pdf", 2**16),
        Row("distortion, 2^16 rays of 32 samples", ("distortion",), Size(2**16), distorting),
        Row("interlevel, 2^16 rays of 32 samples, 64 proposed", ("interlevel",), Size(2**16), explaining),
        Row("intersect, 2^20 rays", ("intersect",), Size(2**20), intersection),
        Row("marching cubes, 256^3", ("marching_cubes",), cubes_arms.Work(256), cubes),
        Row("multilinear on three planes forward+backward, 2^20 points", ("multilinear",), Size(2**20), planes),
        *(
            Row(f"bvh {query}, 2^20 of 50,000 triangles", ("bvh",), TreeWork(2**20, query), triangles)
            for query in ("nearest point", "first hit")
        ),
        Row("adam, 2^24 parameters, all met", ("adam",), Size(2**24), adam),
    ]


def peer_rows() -> list[Row]:
    """Those of :func:`op_rows` that other libraries can do too, then more sizes."""
    return [
        *(row for row in op_rows() if row.peers),
        *(_grid_row(way, "random", "float16", size) for way in GRID_PASSES for size in SIZES),
        *(_mlp_row(way, size=size) for way in PASSES for size in SIZES),
    ]


def _grid_row(way: str, kind: str, storage: str, size: int = 20) -> Row:
    work = GridWork(2**size, kind, GRID_PASSES[way], storage=storage)
    return Row(grid_name(way, kind, storage, size), ("hash_grid",), work, grid, {"tinycudann": grid_by_tinycudann})


def _mlp_row(way: str, precision: str = "bf16", size: int = 20) -> Row:
    work = MlpWork(2**size, PASSES[way], precision=precision)
    peers = {"tinycudann": network_by_tinycudann, "torch": network_by_torch}
    return Row(mlp_name(way, precision, size), ("mlp",), work, network, peers)


def _on(device: torch.device, arrays: dict) -> list[Tensor]:
    return [torch.from_numpy(array).to(device) for array in arrays.values()]


def _several(tensors: Tensor | Iterable[Tensor]) -> tuple[Tensor, ...]:
    return (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)


def _give(parameters: Tensor, values: Tensor) -> None:
    """Makes a peer compute the same where its parameters are laid out as ours; where not, its error says so."""
    if parameters.numel() == values.numel():
        parameters.data.copy_(values.detach().flatten())


def _alike(samples: int, rays: int, device: torch.device) -> list[Tensor]:
    """Density and colour of so many samples, and the cotangents of opacity and colour."""
    sigma = torch.full((samples,), 20.0, device=device, requires_grad=True)
    rgb = torch.full((samples, 3), 0.5, device=device, requires_grad=True)
    return [sigma, rgb, torch.ones(rays, device=device), torch.ones(rays, 3, device=device)]


def _pass(forward: Callable[[], Tensor], leaf: Tensor, grad_out: Tensor, backward: bool) -> Step:
    """The forward pass, or the backward pass alone, to one leaf."""
    if not backward:
        return torch.no_grad()(forward)
    out = forward()
    grad_out = grad_out.to(out.dtype)
    return lambda: torch.autograd.grad(out, leaf, grad_out, retain_graph=True)[0]


def _both(forward: Callable, leaves: list[Tensor], grad_out: Tensor | list[Tensor], backward: bool) -> Step:
    """The forward pass, and the backward pass after it if it is asked for. Returns the first output, or the gradient of
    the first leaf where there is but one output."""
    if not backward:
        return torch.no_grad()(lambda: _several(forward())[0])

    def step() -> Tensor:
        out = _several(forward())
        cotangents = [v.to(o.dtype) for v, o in zip(_several(grad_out), out, strict=True)]
        grad, *_ = torch.autograd.grad(out, leaves, cotangents)
        return grad if len(out) == 1 else out[0].detach()

    return step


def main() -> None:
    if problem := _extension.unavailable("cuda"):
        raise NerfcoreError(f"there are no kernels to watch: {problem}")
    for row in op_rows():
        row.make(row.work.small(), torch.device("cuda")).step()
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
