"""Operations whose only peer is the same in eager PyTorch: spherical harmonics, marching, the update of occupancy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from arms import Arm, Cost


@dataclass(frozen=True)
class Work:
    """operation: a key of OPERATIONS. size: of its data, in the unit that its function states."""

    operation: str
    size: int

    def small(self) -> Work:
        return replace(self, size=min(self.size, 2**10))


class Case(NamedTuple):
    """kernel and reference take the inputs; what they return is named by ``names``. moved: bytes at least, read plus
    written, with a function of the results where it depends on them."""

    kernel: Callable
    reference: Callable
    inputs: tuple
    names: tuple[str, ...]
    moved: Callable[[tuple], float]
    counted: str


def spherical_harmonics(work: Work) -> Case:
    """size: directions."""
    from nerfcore.ops.spherical_harmonics import spherical_harmonics, spherical_harmonics_reference

    directions = _unit(np.random.default_rng(0).normal(size=(work.size, 3)))
    return Case(
        spherical_harmonics, spherical_harmonics_reference, (_tensor(directions), 4), ("code",),
        lambda _: work.size * (12.0 + 64), "12 bytes a direction read, 64 written, copy rate",
    )


def march(work: Work) -> Case:
    """size: rays, towards a thin shell in a grid of 128³ cells. The truth is in float32, in which all backends keep the
    same steps; in float64 others may be kept."""
    import torch

    from nerfcore.ops.intersect import intersect_box_reference
    from nerfcore.ops.march import march_rays, march_rays_reference
    from nerfcore.ops.occupancy import occupancy_pack_reference

    generator, resolution = np.random.default_rng(0), 128
    axis = (np.arange(resolution) + 0.5) / resolution - 0.5
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    bits = occupancy_pack_reference(_tensor((abs(radius - 0.3) < 0.05).ravel()), 0.5)
    origin = 0.5 + 2 * _unit(generator.normal(size=(work.size, 3)))
    direction = _unit(0.5 + 0.2 * generator.normal(size=(work.size, 3)) - origin)
    origin, direction = _tensor(origin), _tensor(direction)
    near, far = intersect_box_reference(origin, direction, torch.zeros(3), torch.ones(3))

    def flat(function):
        def run(*inputs):
            samples = function(*inputs)
            return samples.t_start, samples.t_end, samples.ray_offsets

        return run

    return Case(
        flat(march_rays), flat(lambda *inputs: march_rays_reference(*inputs, 0.0, None, 1024)),
        (origin, direction, near, far, bits, resolution, 1, 3**0.5 / 1024), ("t_start", "t_end", "ray_offsets"),
        lambda out: work.size * 40.0 + len(out[0]) * 8 + len(bits),
        "32 bytes a ray and the bits read, 8 a ray and 8 a sample written, copy rate",
    )


def occupancy(work: Work) -> Case:
    """size: cells, of which a quarter is updated; then all are packed into bits."""
    from nerfcore.ops.occupancy import (
        occupancy_pack,
        occupancy_pack_reference,
        occupancy_update,
        occupancy_update_reference,
    )

    generator, looked_at = np.random.default_rng(0), work.size // 4
    index, density = generator.permutation(work.size)[:looked_at], generator.random(looked_at)
    grid = _tensor(generator.random(work.size))

    def both(update, pack):
        def run(grid, index, density):
            update(grid, index, density)
            return grid, pack(grid, 0.5)

        return run

    return Case(
        both(occupancy_update, occupancy_pack), both(occupancy_update_reference, occupancy_pack_reference),
        (grid, _tensor(index, whole=True), _tensor(density)), ("grid", "bits"),
        lambda _: looked_at * (8.0 + 4 + 4 + 4) + work.size * (4 + 1 / 8),
        "12 bytes an entry and its cell read, the cell written, all cells read once more, copy rate",
    )


OPERATIONS = {"spherical_harmonics": spherical_harmonics, "march": march, "occupancy": occupancy}


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _tensor(values: np.ndarray, whole: bool = False):
    import torch

    return torch.from_numpy(values.astype(np.int64 if whole else np.float32))


def _results(case: Case, function: Callable) -> dict[str, np.ndarray]:
    out = function(*case.inputs)
    out = out if isinstance(out, tuple) else (out,)
    return {name: value.numpy() for name, value in zip(case.names, out, strict=True)}


def _arm(work: Work, threads: int, which: str) -> Arm:
    import torch

    torch.set_num_threads(threads)
    case = OPERATIONS[work.operation](work)
    function, last = getattr(case, which), {}

    def step():
        last["out"] = None  # the memory of the last step serves this one
        last["out"] = function(*case.inputs)

    def result():
        return _results(case, lambda *_: last["out"])

    return Arm(step, result)


def truth(work: Work) -> dict[str, np.ndarray]:
    case = OPERATIONS[work.operation](work)
    return _results(case, case.reference)


def cost(work: Work) -> Cost:
    case = OPERATIONS[work.operation](work)
    out = case.kernel(*case.inputs)
    moved = case.moved(out if isinstance(out, tuple) else (out,))
    return Cost(moved, 0.0, 0.0, lambda limits: limits.copy_seconds(moved), case.counted)


def nerfcore_arm(work: Work, threads: int) -> Arm:
    return _arm(work, threads, "kernel")


def torch_arm(work: Work, threads: int) -> Arm:
    return _arm(work, threads, "reference")


ARMS = {"nerfcore": nerfcore_arm, "torch": torch_arm}
