"""Marching cubes: the triangles of an iso-surface of a sampled volume."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from nerfcore.ops._dispatch import check, use_kernel

MAX_TRIANGLES = 5

# Corner 4 dx + 2 dy + dz of a cell. Edges by their (lower, upper) corner: 0-3 along x, 4-7 along y, 8-11 along z.
EDGES = [(low, low + step) for step in (4, 2, 1) for low in range(8) if not low & step]

# The edges that start at the lower end of a cell along z: the first eight in the kernel's numbering.
RUNNING_EDGES = (0, 2, 4, 6, 8, 9, 10, 11)

# The corners of each face of the cell, counter-clockwise seen from outside the cell.
CELL_FACES = [
    [base + corner for corner in (around if base else reversed(around))]
    for around, step in (((0, 2, 3, 1), 4), ((0, 1, 5, 4), 2), ((0, 4, 6, 2), 1))
    for base in (0, step)
]


def marching_cubes(volume: Tensor, iso: float, backend: str = "auto") -> tuple[Tensor, Tensor]:
    """Triangulates the surface where a volume passes ``iso`` (Lorensen and Cline 1987).

    volume [X, Y, Z], float32 or float64, at least 2 samples along each axis. A sample is inside if it is greater than
    ``iso``. Returns vertices [V, 3], of the volume's type, in samples (the first sample is at the origin), and faces
    [T, 3], int64, whose normals by the right-hand rule point outside, to smaller values. Both are empty where nothing
    crosses.

    Vertices are shared. The surface is a manifold, closed unless it meets the border of the volume: there it ends.
    Samples that touch only across a diagonal are never joined. Vertices are ordered by (x, y, axis of their edge, z),
    faces by cell, on all backends and for any number of threads. A sample equal to ``iso`` gives triangles without
    area.

    The CPU reads the volume once. Beside the result it takes a bit for each sample, 33 bytes for each pair (x, y) and
    room for up to twice the vertices.

    Raises ValueError if the volume or ``iso`` is not finite. Not differentiable.

    >>> volume = torch.zeros(3, 3, 3)
    >>> volume[1, 1, 1] = 1.0
    >>> vertices, faces = marching_cubes(volume, 0.5)
    >>> len(vertices), len(faces), vertices.amin(0).tolist(), vertices.amax(0).tolist()
    (6, 8, [0.5, 0.5, 0.5], [1.5, 1.5, 1.5])
    """
    volume = check("volume", volume, "X Y Z", {}).detach()
    if volume.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"volume must be float32 or float64, got {volume.dtype}")
    if min(volume.shape) < 2:
        raise ValueError(f"volume must have at least 2 samples along each axis, got {list(volume.shape)}")
    if not math.isfinite(iso):
        raise ValueError(f"iso must be finite, got {iso}")
    if use_kernel(backend, volume):
        *mesh, finite = torch.ops.nerfcore.marching_cubes(volume, iso, kernel_table().to(volume.device))
    else:
        finite = volume.isfinite().all()
        mesh = marching_cubes_reference(volume, iso) if finite else ()
    if not finite:
        low, high = (bound.item() for bound in volume.aminmax())
        raise ValueError(f"volume must be finite, got values from {low} to {high}")
    vertices, faces = mesh
    return vertices, faces


def marching_cubes_reference(volume: Tensor, iso: float) -> tuple[Tensor, Tensor]:
    """The same with masks over the whole volume."""
    inside = volume > torch.tensor(iso, dtype=volume.dtype)
    crossing = torch.stack([
        torch.cat([inside.narrow(d, 1, n - 1) ^ inside.narrow(d, 0, n - 1), inside.narrow(d, 0, 1) & False], d)
        for d, n in enumerate(volume.shape)
    ], dim=2)  # [X, Y, 3, Z]
    x, y, axis, z = crossing.nonzero().unbind(-1)
    lower = torch.stack([x, y, z], dim=-1)
    step = torch.eye(3, dtype=lower.dtype, device=lower.device)[axis]
    a, b = volume[lower.unbind(-1)], volume[(lower + step).unbind(-1)]
    along = ((iso - a) / (b - a)).nan_to_num(0.0).clamp(0, 1)
    vertices = lower.to(volume.dtype) + step * along[:, None]

    case = torch.zeros([n - 1 for n in volume.shape], dtype=torch.uint8, device=volume.device)
    for corner in range(8):
        dx, dy, dz = corner >> 2 & 1, corner >> 1 & 1, corner & 1
        case |= inside[dx : dx + case.shape[0], dy : dy + case.shape[1], dz : dz + case.shape[2]].byte() << corner
    cell = ((case > 0) & (case < 255)).nonzero()
    row = triangle_table().to(volume.device)[case[cell.unbind(-1)].long()]
    used = torch.arange(MAX_TRIANGLES, device=row.device) < row[:, :1]
    edge = row[:, 1:].unflatten(1, (MAX_TRIANGLES, 3))[used].long()  # [T, 3]
    corner = torch.tensor([low for low, _ in EDGES], device=edge.device)[edge]
    cell = cell[used.nonzero()[:, 0]]
    index = (crossing.flatten().cumsum(0) - 1).view(crossing.shape)
    x, y, z = (cell[:, d, None] + (corner >> 2 - d & 1) for d in range(3))
    return vertices, index[x, y, edge // 4, z]


@cache
def triangle_table() -> Tensor:
    """[256, 16] int8: for each case (bit c: corner c is inside) the number of triangles, then three edges for each.

    Derived, not transcribed: the crossed edges are linked around each face of the cell, followed into loops, and the
    loops cut into triangles. What happens on a face depends on the four corners of that face alone, so neighbouring
    cells agree.
    """
    table = torch.zeros(256, 1 + 3 * MAX_TRIANGLES, dtype=torch.int8)
    for case in range(256):
        triangles = [triangle for loop in _loops(case) for triangle in _triangulate(loop)]
        table[case, 0] = len(triangles)
        table[case, 1 : 1 + 3 * len(triangles)] = torch.tensor(triangles, dtype=torch.int8).flatten()
    return table


@cache
def kernel_table() -> Tensor:
    """[256, 24] int8: the table with edges as csrc/math/marching_cubes.h numbers them, and which of its first eight are
    crossed.
    """
    number = torch.zeros(len(EDGES), dtype=torch.int8)
    number[list(RUNNING_EDGES)] = torch.arange(8, dtype=torch.int8)
    number[[1, 3, 5, 7]] = torch.arange(8, 12, dtype=torch.int8)
    table = triangle_table()
    lower, upper = torch.tensor([EDGES[edge] for edge in RUNNING_EDGES]).unbind(1)
    case = torch.arange(256)[:, None]
    crossed = (case >> lower ^ case >> upper) & 1
    return torch.cat([table[:, :1], number[table[:, 1:].long()], crossed.to(torch.int8)], dim=1)


def _loops(case: int) -> list[list[int]]:
    """Closed loops of crossed edges, counter-clockwise seen from outside the surface.

    Around a face, each run of inside corners is cut off by itself: the edge where the run begins is linked to the edge
    where it ends. Of the two faces at a crossed edge a run begins there in one and ends there in the other, so the
    links form cycles.
    """
    follows: dict[int, int] = {}
    for face in CELL_FACES:
        crossed = [
            (EDGES.index((min(pair), max(pair))), case >> pair[1] & 1)
            for pair in zip(face, face[1:] + face[:1], strict=True) if (case >> pair[0] ^ case >> pair[1]) & 1
        ]
        for (edge, begins), (following, _) in zip(crossed, crossed[1:] + crossed[:1], strict=True):
            if begins:
                follows[edge] = following
    loops = []
    while follows:
        loop, edge = [], min(follows)
        while edge in follows:
            loop.append(edge)
            edge = follows.pop(edge)
        loops.append(loop)
    return loops


def _triangulate(loop: list[int]) -> list[tuple[int, int, int]]:
    """The triangulation with the shortest diagonals among those without a diagonal in a face of the cell.

    The neighbour could draw a diagonal in a face too, and four triangles would meet in it. One without exists in all
    256 cases.
    """

    @cache
    def best(first: int, last: int) -> tuple[int, tuple[tuple[int, int, int], ...]]:
        if last - first < 2:
            return 0, ()
        options = []
        for middle in range(first + 1, last):
            (cost_a, a), (cost_b, b) = best(first, middle), best(middle, last)
            options.append((cost_a + cost_b, (*a, (loop[first], loop[middle], loop[last]), *b)))
        cost, triangles = min(options)
        is_diagonal = (first, last) != (0, len(loop) - 1)
        return cost + (_diagonal_cost(loop[first], loop[last]) if is_diagonal else 0), triangles

    return list(best(0, len(loop) - 1)[1])


def _diagonal_cost(edge_a: int, edge_b: int) -> int:
    """Squared length of the segment between the middles of two edges, in half cells; far more if it lies in a face."""
    corners = {*EDGES[edge_a], *EDGES[edge_b]}
    if any(corners <= set(face) for face in CELL_FACES):
        return 1000
    middle_a, middle_b = ([sum(c >> bit & 1 for c in EDGES[e]) for bit in (2, 1, 0)] for e in (edge_a, edge_b))
    return sum((p - q) ** 2 for p, q in zip(middle_a, middle_b, strict=True))
