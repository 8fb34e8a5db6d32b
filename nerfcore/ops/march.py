"""Ray marching through an occupancy grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerfcore.ops._dispatch import check, use_kernel
from nerfcore.types import Samples


def march_rays(
    origin: Tensor, direction: Tensor, near: Tensor, far: Tensor, bits: Tensor, resolution: int, cascades: int,
    step_min: float, cone_angle: float = 0.0, jitter: Tensor | None = None, max_samples_per_ray: int = 1024,
    capacity: int | None = None, backend: str = "auto",
) -> Samples:
    """Places samples along rays where an occupancy grid is not empty (Müller et al. 2022, appendix E.1).

    origin, direction (unit), both [R, 3], and near, far [R] are in box coordinates, where the scene box is [0, 1]^3;
    near and far come from :func:`~nerfcore.ops.intersect.intersect_box`. A ray with ``far <= near``, or one that holds
    a NaN or an infinity, has no samples.

    bits: uint8 [C G³ / 8] of :func:`~nerfcore.ops.occupancy.occupancy_pack`, with resolution G (a power of two, at
    least 4) and cascades C. Cascade c is the cube about 0.5 with side 2^(c-(C-1)), so that the last one is the whole
    box; the bit of a cell is ``((c G + z) G + y) G + x``, and bit i is bit ``i & 7`` of byte ``i >> 3``.

    Steps have length ``dt(t) = clamp(⌊cone_angle t⌋, step_min, max(step_min, √3 / G))`` in box units, where ⌊⌋ keeps
    three binary digits behind the leading one: steps grow by eighths, and runs of equal steps can be leapt over. They
    tile ``[near, far]`` exactly: the first ends at ``near + (1 - jitter) dt(near)``, the last is cut at far; jitter [R]
    is in [0, 1), None for zeros. A step is kept if the cell around its midpoint is occupied, in the smallest cascade
    that holds the midpoint and whose cells are no smaller than dt. At most max_samples_per_ray are kept, the nearest
    ones.

    capacity: room for so many samples of all rays, whatever their number: shapes are then known beforehand, and the
    host does not wait for a GPU to count. From the first ray on that does not fit whole, rays are left out. The result
    has ``len(samples) == min(capacity, R max_samples_per_ray)``, of which ``samples.ray_offsets[R]`` are in use;
    ``samples.found`` is larger where rays were left out.

    Not differentiable. All backends keep the same steps.

    >>> bits = torch.zeros(8, dtype=torch.uint8)
    >>> bits[1] = 4  # bit 10: the cell x=2, y=2, z=0 of 4 x 4 x 4 cells
    >>> o, d = torch.tensor([[0.0, 0.6, 0.1]]), torch.tensor([[1.0, 0.0, 0.0]])
    >>> samples = march_rays(o, d, torch.zeros(1), torch.ones(1), bits, 4, 1, step_min=0.125)
    >>> samples.t_start.tolist(), samples.t_end.tolist()
    ([0.5, 0.625], [0.625, 0.75])
    """
    dims: dict[str, int] = {}
    if cascades < 1 or resolution < 4 or resolution & (resolution - 1):
        raise ValueError(
            f"an occupancy grid has at least 1 cascade and a resolution that is a power of two from 4 up, got "
            f"cascades={cascades}, resolution={resolution}"
        )
    if not (0 < step_min < math.inf and 0 <= cone_angle < math.inf and max_samples_per_ray >= 1):
        raise ValueError(
            f"marching needs step_min > 0, cone_angle >= 0 and max_samples_per_ray >= 1, got step_min={step_min}, "
            f"cone_angle={cone_angle}, max_samples_per_ray={max_samples_per_ray}"
        )
    if capacity is not None and capacity < 0:
        raise ValueError(f"capacity must not be negative, got {capacity}")
    origin = check("origin", origin, "R 3", dims).detach()
    direction = check("direction", direction, "R 3", dims, like=origin).detach()
    near = check("near", near, "R", dims, like=origin).detach()
    far = check("far", far, "R", dims, like=origin).detach()
    bits = check("bits", bits, str(cascades * resolution**3 // 8), dims)
    if bits.dtype != torch.uint8 or bits.device != origin.device:
        raise ValueError(f"bits must be uint8 on {origin.device}, got {bits.dtype} on {bits.device}")
    if jitter is not None:
        jitter = check("jitter", jitter, "R", dims, like=origin).detach()
    if capacity is not None:
        capacity = min(capacity, len(origin) * max_samples_per_ray)
    if use_kernel(backend, origin):
        t_start, t_end, ray_offsets, found = torch.ops.nerfcore.march_forward(
            origin, direction, near, far, bits, jitter, resolution, cascades,
            step_min, longest_step(step_min, resolution), cone_angle, max_samples_per_ray, capacity,
        )
        return Samples(t_start, t_end, ray_offsets, None if capacity is None else found)
    samples = march_rays_reference(
        origin, direction, near, far, bits, resolution, cascades, step_min, cone_angle, jitter, max_samples_per_ray
    )
    return samples if capacity is None else _fitted(samples, capacity)


def longest_step(step_min: float, resolution: int) -> float:
    """The diagonal of a cell of the outermost cascade."""
    return max(step_min, math.sqrt(3) / resolution)


@torch.no_grad()
def march_rays_reference(
    origin: Tensor, direction: Tensor, near: Tensor, far: Tensor, bits: Tensor, resolution: int, cascades: int,
    step_min: float, cone_angle: float = 0.0, jitter: Tensor | None = None, max_samples_per_ray: int = 1024,
) -> Samples:
    """The same by testing every step of every ray, one step of all rays at a time."""

    def step_at(t: Tensor) -> Tensor:
        return _eighths(t * cone_angle).clamp(step_min, longest_step(step_min, resolution))

    jitter = torch.zeros_like(near) if jitter is None else jitter
    finite = torch.cat([origin, direction, torch.stack([near, far, jitter], 1)], 1).isfinite().all(1)
    far = torch.where(finite, far, near)
    t, step = near, step_at(near)
    border = near + (1 - jitter) * step
    nothing = border <= near  # is left of the first step
    base, index = torch.where(nothing, near, border), torch.where(nothing, 0.0, -1.0).to(near)
    border = base + (index + 1) * step
    starts, ends, keeps = [], [], []
    while (running := (t < far) & (border > t)).any():
        end = torch.minimum(border, far)
        midpoint = 0.5 * (t + end)
        occupied = _occupied(origin + midpoint[:, None] * direction, step, bits, resolution, cascades)
        starts.append(t)
        ends.append(end)
        keeps.append(occupied & running)
        t, longer = torch.where(running, border, t), step_at(border)
        base = torch.where(longer == step, base, border)
        index, step = torch.where(longer == step, index + 1, 0.0), longer
        border = torch.where(running, base + (index + 1) * step, border)
    if not keeps:
        return Samples(near.new_zeros(0), near.new_zeros(0), bits.new_zeros(len(near) + 1, dtype=torch.int64))
    keep = torch.stack(keeps, 1)
    keep &= keep.cumsum(1) <= max_samples_per_ray
    ray_offsets = torch.nn.functional.pad(keep.sum(1).cumsum(0), (1, 0))
    return Samples(torch.stack(starts, 1)[keep], torch.stack(ends, 1)[keep], ray_offsets)


def _fitted(samples: Samples, capacity: int) -> Samples:
    """The first rays that fit whole, in so much room."""
    offsets = samples.ray_offsets
    used = offsets[offsets <= capacity].max()
    room = samples.t_start.new_zeros(capacity - int(used))
    t_start, t_end = (torch.cat([t[:used], room]) for t in (samples.t_start, samples.t_end))
    return Samples(t_start, t_end, offsets.clamp(max=used), offsets[-1])


def _eighths(x: Tensor) -> Tensor:
    """x >= 0 without all but its first three bits behind the leading one."""
    integer, dropped = (torch.int32, 20) if x.dtype == torch.float32 else (torch.int64, 49)
    return (x.view(integer) >> dropped << dropped).view(x.dtype)


def _occupied(points: Tensor, step: Tensor, bits: Tensor, resolution: int, cascades: int) -> Tensor:
    """[R] bool, the occupancy bit that answers for each point [R, 3] and step [R]."""
    q = points - 0.5
    reach = q.abs().amax(1)
    cascade = torch.zeros_like(reach, dtype=torch.int64)
    for c in range(cascades - 1):
        side = 2.0 ** (c - (cascades - 1))
        cascade += (reach > side / 2) | (step > side / resolution)  # neither cascade c answers, nor one within it
    cells_per_unit = q.new_tensor([resolution * 2.0 ** (cascades - 1 - c) for c in range(cascades)])
    corner = (q * cells_per_unit[cascade, None]).floor().nan_to_num().clamp(-resolution // 2, resolution // 2 - 1)
    x, y, z = (corner.long() + resolution // 2).unbind(1)
    bit = ((cascade * resolution + z) * resolution + y) * resolution + x
    return (bits[bit >> 3] >> (bit & 7).to(torch.uint8) & 1).bool()
