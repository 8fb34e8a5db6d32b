"""Hash-grid encoding of points in three dimensions, forward or with the backward pass to the table."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from arms import Arm, Cost

CORNERS = 8
PRIME_Y, PRIME_Z = 2654435761, 805459861


@dataclass(frozen=True)
class Work:
    """kind: "random" points, or "rays": runs of 32 samples on random rays. The rest as HashGridLevels."""

    points: int
    kind: str
    backward: bool
    num_levels: int = 16
    features: int = 2
    log2_table: int = 19
    coarsest: int = 16
    finest: int = 2048

    def small(self) -> Work:
        return replace(self, points=2**10)

    @property
    def levels(self):
        from nerfcore.ops.hash_grid import HashGridLevels

        return HashGridLevels(3, self.num_levels, self.features, self.log2_table, self.coarsest, self.finest)

    @property
    def geometry(self) -> tuple[np.ndarray, ...]:
        """Of each level, [L]: scale, resolution, first entry, number of entries, and whether it is hashed."""
        b = 2.0 ** (np.log2(self.finest / self.coarsest) / max(self.num_levels - 1, 1))
        scale = (self.coarsest * b ** np.arange(self.num_levels) - 1).astype(np.float32)
        resolution = np.ceil(scale).astype(np.int64) + 1
        entries = np.minimum(-(-(resolution**3) // 8) * 8, 2**self.log2_table)
        first = np.cumsum(entries) - entries
        unsigned = (v.astype(np.uint32) for v in (resolution, first, entries))
        return scale, *unsigned, resolution**3 > entries


def inputs(work: Work) -> dict[str, np.ndarray]:
    """x [N, 3] in [0, 1), table [E, F], grad_out [N, L F]; float32."""
    generator = np.random.default_rng(0)
    if work.kind == "random":
        x = generator.random((work.points, 3), np.float32)
    else:
        rays, per_ray = -(-work.points // 32), 32
        origin = generator.random((rays, 1, 3), np.float32)
        direction = generator.normal(size=(rays, 1, 3)).astype(np.float32)
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        distance = np.arange(per_ray, dtype=np.float32)[:, None] * np.float32(3**0.5 / 1024)
        x = np.clip(origin + distance * direction, 0, np.float32(1 - 1e-6)).reshape(-1, 3)[: work.points].copy()
    _, _, first, entries, _ = work.geometry
    table = generator.random((int(first[-1] + entries[-1]), work.features), np.float32) - np.float32(0.5)
    grad_out = generator.random((work.points, work.num_levels * work.features), np.float32)
    return {"x": x, "table": table, "grad_out": grad_out}


def truth(work: Work) -> dict[str, np.ndarray]:
    """out [N, L F], and grad_table [E, F] of the backward pass."""
    import torch

    from nerfcore.ops.hash_grid import hash_grid_reference

    x, table, grad_out = (torch.from_numpy(v).double() for v in inputs(work).values())
    out = hash_grid_reference(x, table.requires_grad_(), work.levels)
    result = {"out": out.detach().numpy()}
    if work.backward:
        result["grad_table"] = torch.autograd.grad(out, table, grad_out)[0].numpy()
    return result


def cost(work: Work) -> Cost:
    """Every corner of every point is read on its own, and with the backward pass added to on its own, at a random place
    of its level; points along rays share corners, so that less would do for them. The gradient is cleared first."""
    *_, first, entries, _ = work.geometry
    entry_bytes, accesses = 4 * work.features, float(work.points * CORNERS)
    cleared = float(entries.sum()) * entry_bytes if work.backward else 0.0
    passes = 2 if work.backward else 1
    row = 4 * work.num_levels * work.features

    def seconds(limits) -> float:
        sizes = [float(n) * entry_bytes for n in entries]
        reads = sum(limits.gather_seconds(accesses, entry_bytes, size) for size in sizes)
        additions = sum(limits.scatter_seconds(accesses, entry_bytes, size) for size in sizes)
        return reads + additions + limits.copy_seconds(cleared) if work.backward else reads

    counted = "8 random reads a point and level" + (", as many additions, a cleared table" if work.backward else "")
    return Cost(
        bytes=work.points * passes * (12 + row + CORNERS * entry_bytes * work.num_levels) + cleared,
        flops=work.points * passes * CORNERS * 2.0 * work.num_levels * work.features,
        random_accesses=passes * accesses * work.num_levels,
        seconds=seconds,
        counted=f"{counted}, at the rate of a table of the size of the level",
    )


def _torch_arm(work: Work, encode) -> Arm:
    import torch

    from nerfcore._extension import use_huge_pages

    x, table, grad_out = (torch.from_numpy(v) for v in inputs(work).values())
    use_huge_pages(table)  # as a field has it; NumPy asks for them of itself
    levels, last = work.levels, {}

    def forward():
        last.clear()  # the memory of the last step serves this one
        last["out"] = encode(x, table, levels)

    def both():
        last.clear()
        last["out"] = encode(x, table, levels)
        (last["grad_table"],) = torch.autograd.grad(last["out"], table, grad_out)

    table.requires_grad_(work.backward)
    return Arm(both if work.backward else forward, lambda: {k: v.detach().numpy() for k, v in last.items()})


def nerfcore_arm(work: Work, threads: int) -> Arm:
    from nerfcore.ops.hash_grid import hash_grid

    return _torch_arm(work, hash_grid)


def torch_arm(work: Work, threads: int) -> Arm:
    """The fastest operations that were found for it: embedding_bag, and scatter_add_ of complex numbers."""
    from nerfcore.ops.hash_grid import hash_grid_reference

    return _torch_arm(work, hash_grid_reference)


def numba_arm(work: Work, threads: int) -> Arm:
    """Blocks of points level by level; in the backward pass a thread owns a level, so that nothing is atomic."""
    import numba

    numba.set_num_threads(threads)
    forward, backward = _numba_kernels(work.small())  # the number of points is not compiled in
    x, table, grad_out = inputs(work).values()
    out, grad_table = np.empty_like(grad_out), np.empty_like(table)

    def step():
        forward(x, table, out)
        if work.backward:
            grad_table.fill(0)
            backward(x, grad_out, grad_table)

    return Arm(step, lambda: {"out": out} | ({"grad_table": grad_table} if work.backward else {}))


@functools.cache
def _numba_kernels(work: Work):
    import numba

    scale, resolution, first, entries, hashed = work.geometry
    num_levels, features, block = work.num_levels, work.features, 4096
    uint, half, one = np.uint32, np.float32(0.5), np.float32(1)

    @numba.njit(inline="always", fastmath=True)
    def corners(x, point, level, entry, weight):
        s, r, n = scale[level], resolution[level], entries[level]
        px, py, pz = x[point, 0] * s + half, x[point, 1] * s + half, x[point, 2] * s + half
        ix, iy, iz = uint(px), uint(py), uint(pz)
        fx, fy, fz = px - np.float32(ix), py - np.float32(iy), pz - np.float32(iz)
        for c in range(CORNERS):
            dx, dy, dz = c & 1, c >> 1 & 1, c >> 2
            cx, cy, cz = uint(ix + uint(dx)), uint(iy + uint(dy)), uint(iz + uint(dz))
            weight[c] = (fx if dx else one - fx) * (fy if dy else one - fy) * (fz if dz else one - fz)
            if hashed[level]:
                k = uint(uint(cx ^ uint(cy * uint(PRIME_Y))) ^ uint(cz * uint(PRIME_Z))) & uint(n - uint(1))
            else:
                k = uint(cx + uint(r * uint(cy + uint(r * cz))))
                k = uint(k - n) if k >= n else k
            entry[c] = first[level] + k

    @numba.njit(parallel=True, fastmath=True)
    def forward(x, table, out):
        for task in numba.prange((len(x) + block - 1) // block):
            entry, weight = np.empty(CORNERS, np.uint32), np.empty(CORNERS, np.float32)
            for level in range(num_levels):
                for point in range(task * block, min(len(x), (task + 1) * block)):
                    corners(x, point, level, entry, weight)
                    for f in range(features):
                        total = np.float32(0)
                        for c in range(CORNERS):
                            total += weight[c] * table[entry[c], f]
                        out[point, features * level + f] = total

    @numba.njit(parallel=True, fastmath=True)
    def backward(x, grad_out, grad_table):
        for task in numba.prange(num_levels):
            level = num_levels - 1 - task
            entry, weight = np.empty(CORNERS, np.uint32), np.empty(CORNERS, np.float32)
            for point in range(len(x)):
                corners(x, point, level, entry, weight)
                for c in range(CORNERS):
                    for f in range(features):
                        grad_table[entry[c], f] += weight[c] * grad_out[point, features * level + f]

    return forward, backward


def taichi_arm(work: Work, threads: int) -> Arm:
    """A task per level and point, level by level; additions are atomic."""
    import taichi as ti

    ti.init(arch=ti.cpu, cpu_max_num_threads=threads, log_level=ti.ERROR, fast_math=True)
    num_levels, features = work.num_levels, work.features
    fields = []
    for values, kind in zip(work.geometry, (ti.f32, ti.u32, ti.u32, ti.u32, ti.i32), strict=True):
        fields.append(ti.field(kind, num_levels))
        fields[-1].from_numpy(values.astype(np.int32) if kind == ti.i32 else values)
    scale, resolution, first, entries, hashed = fields
    row = ti.types.vector(features, ti.f32)

    @ti.func
    def corner(cell, fraction, c, level):
        at = cell + ti.Vector([ti.u32(c & 1), ti.u32(c >> 1 & 1), ti.u32(c >> 2)])
        weight = 1.0
        for d in ti.static(range(3)):
            weight *= fraction[d] if c >> d & 1 else 1 - fraction[d]
        k = (at[0] ^ at[1] * ti.u32(PRIME_Y) ^ at[2] * ti.u32(PRIME_Z)) & (entries[level] - 1)
        if hashed[level] == 0:
            k = at[0] + resolution[level] * (at[1] + resolution[level] * at[2])
            if k >= entries[level]:
                k -= entries[level]
        return first[level] + k, weight

    points_type = ti.types.ndarray(dtype=ti.math.vec3, ndim=1)
    table_type, out_type = ti.types.ndarray(dtype=row, ndim=1), ti.types.ndarray(dtype=row, ndim=2)

    # taichi reads the annotations of a kernel as values, which those of this file are not
    def forward(x, table, out):
        for level, point in ti.ndrange(num_levels, x.shape[0]):
            position = x[point] * scale[level] + 0.5
            lower = ti.floor(position)
            total = row(0.0)
            for c in ti.static(range(CORNERS)):
                k, weight = corner(ti.cast(lower, ti.u32), position - lower, c, level)
                total += weight * table[k]
            out[point, level] = total

    def backward(x, grad_out, grad_table):
        for level, point in ti.ndrange(num_levels, x.shape[0]):
            position = x[point] * scale[level] + 0.5
            lower = ti.floor(position)
            for c in ti.static(range(CORNERS)):
                k, weight = corner(ti.cast(lower, ti.u32), position - lower, c, level)
                grad_table[k] += weight * grad_out[point, level]

    forward.__annotations__ = {"x": points_type, "table": table_type, "out": out_type}
    backward.__annotations__ = {"x": points_type, "grad_out": out_type, "grad_table": table_type}
    forward, backward = ti.kernel(forward), ti.kernel(backward)
    x, table, grad_out = inputs(work).values()
    out, grad_table = np.empty((len(x), num_levels, features), np.float32), np.empty_like(table)
    grad_out = grad_out.reshape(out.shape)

    def step():
        forward(x, table, out)
        if work.backward:
            grad_table.fill(0)
            backward(x, grad_out, grad_table)

    flat = out.reshape(len(x), -1)
    return Arm(step, lambda: {"out": flat} | ({"grad_table": grad_table} if work.backward else {}))


def drjit_arm(work: Work, threads: int) -> Arm:
    """drjit.nn.HashGridEncoding. Its levels are padded otherwise, so parameters are copied level by level."""
    from arms.drjit_llvm import drjit_on

    dr = drjit_on(threads)
    from drjit.llvm.ad import ArrayXf, Float32
    from drjit.nn import HashGridEncoding

    encoding = HashGridEncoding(
        Float32, 3, n_levels=work.num_levels, n_features_per_level=work.features, hashmap_size=2**work.log2_table,
        base_resolution=work.coarsest, torchngp_compat=True,
        per_level_scale=(work.finest / work.coarsest) ** (1 / max(work.num_levels - 1, 1)),
    )
    x, table, grad_out = inputs(work).values()
    _, _, first, entries, _ = work.geometry
    theirs = [encoding.level_offset(level) for level in range(work.num_levels + 1)]
    count = [min(int(n), end - start) for n, start, end in zip(entries, theirs[:-1], theirs[1:], strict=True)]

    def exchange(ours: np.ndarray, other: np.ndarray, back: bool) -> np.ndarray:
        for start, other_start, n in zip(first, theirs[:-1], count, strict=True):
            a, b = ours[start : start + n], other[other_start : other_start + n]
            (a if back else b)[:] = b if back else a
        return ours if back else other

    parameters = exchange(table, np.zeros((theirs[-1], work.features), np.float32), back=False)
    encoding.data = Float32(parameters.ravel())
    points, cotangent, last = ArrayXf(x.T.copy()), ArrayXf(grad_out.T.copy()), {}
    dr.eval(points, cotangent, encoding.data)
    dr.sync_thread()

    def forward():
        last["out"] = encoding(points)
        dr.eval(last["out"])
        dr.sync_thread()

    def both():
        dr.disable_grad(encoding.data)
        dr.enable_grad(encoding.data)
        out = encoding(points)
        dr.eval(out)
        last["out"] = dr.detach(out)
        dr.set_grad(out, cotangent)
        dr.enqueue(dr.ADMode.Backward, out)
        dr.traverse(dr.ADMode.Backward)
        last["grad"] = dr.grad(encoding.data)
        dr.eval(last["grad"])
        dr.sync_thread()

    def result():
        results = {"out": last["out"].numpy().T}
        if work.backward:
            theirs_grad = last["grad"].numpy().reshape(-1, work.features)
            results["grad_table"] = exchange(np.zeros_like(table), theirs_grad, back=True)
        return results

    return Arm(both if work.backward else forward, result)


ARMS = {
    "nerfcore": nerfcore_arm, "torch": torch_arm, "numba": numba_arm, "taichi": taichi_arm, "drjit": drjit_arm,
}
