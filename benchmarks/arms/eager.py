"""Operations whose only peer is the same in eager PyTorch: spherical harmonics, marching, the update of occupancy,
sampling in proportion to weights."""

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
    """size: cells, at most. A quarter is chosen and updated with densities that are there; then all are packed."""
    from nerfcore.ops import occupancy as ops

    generator, resolution = np.random.default_rng(0), 2 ** (work.size.bit_length() // 3)
    cells = resolution**3
    grid, density = _tensor(generator.random(cells)), _tensor(generator.random(cells))

    def whole(choose, update, pack):
        def run(grid, density):
            index, points = choose(grid, 0.5, resolution, 1, (99, ops.SCATTERED // 4), (0, 0), 7)
            update(grid, index, density[: len(index)])
            return index, points, grid, pack(grid, 0.5)

        return run

    return Case(
        whole(ops.occupancy_choose, ops.occupancy_update, ops.occupancy_pack),
        whole(ops.occupancy_choose_reference, ops.occupancy_update_reference, ops.occupancy_pack_reference),
        (grid, density), ("index", "points", "grid", "bits"),
        lambda out: len(out[0]) * (8.0 + 12 + 8 + 4 + 4 + 4) + cells * (4 + 4 + 1 / 8),
        "all cells read twice; of a chosen one 20 bytes written, 12 read, the cell read and written; copy rate",
    )


def pdf(work: Work) -> Case:
    """size: rays, of 64 bins and 128 samples each, as the second pass of Mildenhall et al. 2020 draws them."""
    from nerfcore.ops.pdf import sample_pdf, sample_pdf_reference

    generator, bins, samples = np.random.default_rng(0), 64, 128
    borders = np.cumsum(generator.random((work.size, bins + 1)) + 0.1, axis=1)
    weights, jitter = generator.random((work.size, bins)) ** 4, generator.random((work.size, samples))
    inputs = _tensor(borders), _tensor(weights), samples, _tensor(jitter)
    return Case(
        sample_pdf, sample_pdf_reference, inputs, ("positions",),
        lambda _: work.size * 4.0 * (bins + 1 + bins + 2 * samples),
        "borders, weights and jitter read, positions written, copy rate",
    )


OPERATIONS = {"spherical_harmonics": spherical_harmonics, "march": march, "occupancy": occupancy, "pdf": pdf}


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _tensor(values: np.ndarray, whole: bool = False):
    import torch

    return torch.from_numpy(values.astype(np.int64 if whole else np.float32))


def _results(case: Case, function: Callable) -> dict[str, np.ndarray]:
    out = function(*case.inputs)
    out = out if isinstance(out, tuple) else (out,)
    return {name: value.numpy() for name, value in zip(case.names, out, strict=True)}


def _arm(work: Work, which: str) -> Arm:
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
    return _arm(work, "kernel")


def torch_arm(work: Work, threads: int) -> Arm:
    return _arm(work, "reference")


ARMS = {"nerfcore": nerfcore_arm, "torch": torch_arm}
