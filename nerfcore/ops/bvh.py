"""A tree of boxes over triangles, and what can be asked of it: nearest points, winding numbers, and what rays meet."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerfcore.ops._dispatch import check, use_kernel
from nerfcore.types import Bvh

MAX_TRIANGLES = 2**31 - 1
PAIRS_AT_ONCE = 2**18  # of a query and a triangle, in the references


def build_bvh(vertices: Tensor, faces: Tensor, backend: str = "auto") -> Bvh:
    """Builds a bounding-volume hierarchy over triangles: from above, by the surface-area heuristic (MacDonald and Booth
    1990) over 16 bins along each axis (Wald 2007), with at most 4 triangles in a leaf unless the reference builds it.

    vertices [V, 3], float32 or float64, finite. faces [T, 3] int64, T >= 1, of any kind: closed or not, with repeated
    or degenerate triangles. The tree is built by one thread of the host, the same one every time, and lies on the
    device of the vertices. The reference puts all triangles into one leaf. Queries take tensors of the vertices' type.

    Raises ValueError for vertices that are not finite, faces that name no vertex, and no faces. Not differentiable.
    """
    vertices = check("vertices", vertices, "V 3", {}).detach()
    faces = check("faces", faces, "T 3", {})
    if faces.dtype != torch.int64 or faces.device != vertices.device:
        raise ValueError(f"faces must be torch.int64 on {vertices.device}, got {faces.dtype} on {faces.device}")
    if not 1 <= len(faces) <= MAX_TRIANGLES:
        raise ValueError(f"a tree holds from 1 to {MAX_TRIANGLES} triangles, got {len(faces)}")
    lowest, highest = (bound.item() for bound in faces.aminmax())
    if lowest < 0 or highest >= len(vertices):
        raise ValueError(f"faces must name vertices from 0 to {len(vertices) - 1}, got {lowest} to {highest}")
    if not vertices.isfinite().all():
        raise ValueError(f"vertices must be finite, got {int((~vertices.isfinite()).any(1).sum())} that are not")
    corners = vertices[faces]
    if use_kernel(backend, vertices):
        box, link, order = (t.to(vertices.device) for t in torch.ops.nerfcore.bvh_build(corners.cpu()))
    else:
        box, link, order = build_bvh_reference(corners)
    corners = corners[order]
    return Bvh(corners, order, box, link, _dipoles(corners, box, link))


def nearest_point(
    bvh: Bvh, point: Tensor, within: Tensor | None = None, backend: str = "auto"
) -> tuple[Tensor, Tensor, Tensor]:
    """The point of the triangles that is nearest to each point.

    point [N, 3]. within [N]: how far is looked, which saves time where it is known; None for any distance.
    Returns distance [N], in the tree's units and never negative, triangle [N] int64, the index of the face, and the
    nearest point [N, 3]. Where nothing is nearer than ``within``, and for a point that is not finite, the distance is
    infinite, the triangle -1 and the nearest point the point itself. Of triangles that are equally near, as those
    around an edge are, any one is named. Not differentiable.

    >>> bvh = build_bvh(torch.eye(3), torch.tensor([[0, 1, 2]]))
    >>> distance, triangle, nearest = nearest_point(bvh, torch.tensor([[3.0, 0.0, 0.0]]))
    >>> distance.item(), triangle.item(), nearest.tolist()
    (2.0, 0, [[1.0, 0.0, 0.0]])
    """
    point = check("point", point, "N 3", dims := {}, like=bvh.corners).detach()
    if within is not None:
        within = check("within", within, "N", dims, like=point).detach()
    if use_kernel(backend, point):
        distance, triangle, nearest = torch.ops.nerfcore.bvh_nearest(bvh.corners, bvh.box, bvh.link, point, within)
    else:
        distance, triangle, nearest = nearest_point_reference(bvh, point, within)
    return distance, _faces(bvh, triangle), nearest


def winding_number(bvh: Bvh, point: Tensor, accuracy: float = 2.0, backend: str = "auto") -> Tensor:
    """How often the triangles wind around each point (Jacobson et al. 2013): the sum of the solid angles under which it
    sees them, over 4π. For a closed surface that is 1 inside and 0 outside; of one with holes more than 0.5 inside.

    point [N, 3]; faces are counter-clockwise seen from outside. accuracy > 0: nodes of the tree that are farther away
    than so many times their radius count as dipoles (Barill et al. 2018), whose error falls with its square: up to 0.05
    at 2 was seen; infinite for none, which takes time in proportion to the triangles. The reference has none.
    Returns [N], not a number for a point that is not finite. Not differentiable.

    >>> corners = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> bvh = build_bvh(corners, torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))
    >>> [round(w, 5) + 0.0 for w in winding_number(bvh, torch.tensor([[0.1, 0.1, 0.1], [1.0, 1.0, 1.0]])).tolist()]
    [1.0, 0.0]
    """
    if not accuracy > 0:
        raise ValueError(f"accuracy must be positive, got {accuracy}")
    point = check("point", point, "N 3", {}, like=bvh.corners).detach()
    if use_kernel(backend, point):
        return torch.ops.nerfcore.bvh_winding(bvh.corners, bvh.box, bvh.link, bvh.dipole, point, accuracy)
    return winding_number_reference(bvh, point)


def signed_distance(bvh: Bvh, point: Tensor, within: Tensor | None = None, backend: str = "auto") -> Tensor:
    """The distance [N] of each point [N, 3] to the triangles, negative where they wind around it by more than a half:
    so it is meant for surfaces with holes and for those that cross themselves, too. ``within`` as in
    :func:`nearest_point`. Not differentiable.
    """
    distance, _, _ = nearest_point(bvh, point, within, backend)
    return torch.where(winding_number(bvh, point, backend=backend) > 0.5, -distance, distance)


def first_hit(
    bvh: Bvh, origin: Tensor, direction: Tensor, far: Tensor | float = math.inf, backend: str = "auto"
) -> tuple[Tensor, Tensor, Tensor]:
    """Where each ray first meets a triangle, from either side (Woop et al. 2013: no ray slips through between two
    triangles that share an edge).

    origin, direction [R, 3]; directions need not be unit, and distances are in units of their length. far, a number or
    [R]: where rays end. Returns distance [R], above 0 and below ``far``, triangle [R] int64, the index of the face, and
    barycentric [R, 2], the weights of the face's second and third vertex. A ray that meets nothing, or holds a NaN, has
    an infinite distance, triangle -1 and weights 0. A ray within the plane of a triangle does not meet it.
    Not differentiable.

    >>> bvh = build_bvh(torch.eye(3), torch.tensor([[0, 1, 2]]))
    >>> distance, triangle, barycentric = first_hit(bvh, torch.zeros(1, 3), torch.tensor([[0.5, 0.25, 0.25]]))
    >>> distance.item(), triangle.item(), barycentric.tolist()
    (1.0, 0, [[0.25, 0.25]])
    """
    origin, direction, far = _rays(bvh, origin, direction, far)
    if use_kernel(backend, origin):
        rays = origin, direction, far
        distance, triangle, barycentric = torch.ops.nerfcore.bvh_first_hit(bvh.corners, bvh.box, bvh.link, *rays)
    else:
        distance, triangle, barycentric = first_hit_reference(bvh, origin, direction, far)
    return distance, _faces(bvh, triangle), barycentric


def any_hit(
    bvh: Bvh, origin: Tensor, direction: Tensor, far: Tensor | float = math.inf, backend: str = "auto"
) -> Tensor:
    """bool [R]: whether each ray meets any triangle before ``far``, as :func:`first_hit` has it, which takes longer to
    tell: for shadows. Not differentiable."""
    origin, direction, far = _rays(bvh, origin, direction, far)
    if use_kernel(backend, origin):
        return torch.ops.nerfcore.bvh_any_hit(bvh.corners, bvh.box, bvh.link, origin, direction, far)
    return first_hit_reference(bvh, origin, direction, far)[1] >= 0


def build_bvh_reference(corners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One leaf with all triangles [T, 3, 3]: box [1, 6], link [1, 3], order [T]."""
    points = corners.flatten(0, 1)
    link = torch.tensor([[0, 0, len(corners)]], dtype=torch.int32, device=corners.device)
    order = torch.arange(len(corners), device=corners.device)
    return torch.cat([points.amin(0), points.amax(0)])[None], link, order


@torch.no_grad()
def nearest_point_reference(
    bvh: Bvh, point: Tensor, within: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The same among all triangles; these are numbered as in the tree."""
    a, b, c = bvh.corners.unbind(1)
    normal = torch.linalg.cross(b - a, c - b)
    within = point.new_full((len(point),), math.inf) if within is None else within
    parts = []
    for p, most in zip(_chunks(bvh, point), _chunks(bvh, within), strict=True):
        p = p[:, None]
        above = (normal != 0).any(-1)
        on_plane = p - normal * (((p - a) * normal).sum(-1) / normal.square().sum(-1))[..., None]
        candidates = []
        for start, end in ((a, b), (b, c), (c, a)):
            side = end - start
            above = above & (((p - start) * torch.linalg.cross(normal, side)).sum(-1) >= 0)
            along = (((p - start) * side).sum(-1) / side.square().sum(-1)).nan_to_num(0).clamp(0, 1)
            candidates.append(start + along[..., None] * side)
        candidates.append(torch.where(above[..., None], on_plane, math.inf))
        candidates = torch.stack(candidates, 1)  # [N, 4, T, 3]
        distance = (candidates - p[:, None]).norm(dim=-1).nan_to_num(math.inf, posinf=math.inf).flatten(1)
        least, best = distance.min(1)
        found = least < most
        nearest = candidates.flatten(1, 2)[torch.arange(len(p)), best]
        parts.append((
            torch.where(found, least, math.inf),
            torch.where(found, best % len(a), -1),
            torch.where(found[:, None], nearest, p[:, 0]),
        ))
    return tuple(torch.cat(values) for values in zip(*parts, strict=True))


@torch.no_grad()
def winding_number_reference(bvh: Bvh, point: Tensor) -> Tensor:
    """The same by the solid angle of every triangle (Van Oosterom and Strackee 1983)."""
    parts = []
    for p in _chunks(bvh, point):
        a, b, c = (corner - p[:, None] for corner in bvh.corners.unbind(1))
        la, lb, lc = (v.norm(dim=-1) for v in (a, b, c))
        sine = (a * torch.linalg.cross(b, c)).sum(-1)
        cosine = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
        parts.append(torch.atan2(sine, cosine).sum(1) / math.tau)
    return torch.cat(parts)


@torch.no_grad()
def first_hit_reference(bvh: Bvh, origin: Tensor, direction: Tensor, far: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same among all triangles (Möller and Trumbore 1997); these are numbered as in the tree."""
    a, b, c = bvh.corners.unbind(1)
    parts = []
    for o, d, most in zip(*(_chunks(bvh, x) for x in (origin, direction, far)), strict=True):
        across, to_origin = torch.linalg.cross(d[:, None], (c - a)[None]), o[:, None] - a
        determinant = ((b - a) * across).sum(-1)
        up = torch.linalg.cross(to_origin, (b - a)[None])
        u, v = (to_origin * across).sum(-1) / determinant, (d[:, None] * up).sum(-1) / determinant
        distance = ((c - a) * up).sum(-1) / determinant
        met = (u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 0) & (distance < most[:, None])
        least, best = torch.where(met, distance, math.inf).min(1)
        found = least < math.inf
        weights = torch.stack([w.gather(1, best[:, None])[:, 0] for w in (u, v)], 1)
        parts.append((least, torch.where(found, best, -1), torch.where(found[:, None], weights, 0)))
    return tuple(torch.cat(values) for values in zip(*parts, strict=True))


def _rays(bvh: Bvh, origin: Tensor, direction: Tensor, far: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    origin = check("origin", origin, "R 3", dims := {}, like=bvh.corners).detach()
    direction = check("direction", direction, "R 3", dims, like=origin).detach()
    far = far if isinstance(far, Tensor) else origin.new_full((len(origin),), far)
    return origin, direction, check("far", far, "R", dims, like=origin).detach()


def _faces(bvh: Bvh, triangle: Tensor) -> Tensor:
    """Which faces triangles, numbered as in the tree, are; -1 stays."""
    return torch.where(triangle < 0, -1, bvh.face[triangle.clamp(min=0)])


def _chunks(bvh: Bvh, queries: Tensor) -> tuple[Tensor, ...]:
    return queries.split(max(PAIRS_AT_ONCE // len(bvh.corners), 1))


def _dipoles(corners: Tensor, box: Tensor, link: Tensor) -> Tensor:
    """[M, 7] of the triangles [T, 3, 3] below each node: their middle, the radius of a ball about it that holds the box
    of the node, and the sum of their normals, each as long as its triangle has area."""
    a, b, c = corners.double().unbind(1)
    normal = 0.5 * torch.linalg.cross(b - a, c - a)
    area = normal.norm(dim=1, keepdim=True)
    sums = torch.cat([normal, area * (a + b + c) / 3, area], 1).cumsum(0)
    before = torch.nn.functional.pad(sums, (0, 0, 1, 0))
    normal, middle, area = (before[link[:, 2].long()] - before[link[:, 1].long()]).split((3, 3, 1), 1)
    lower, upper = box.double().split(3, 1)
    middle = torch.where(area > 0, middle / area, 0.5 * (lower + upper)).clamp(lower, upper)
    radius = torch.maximum(middle - lower, upper - middle).norm(dim=1, keepdim=True)
    return torch.cat([middle, radius, normal], 1).to(corners.dtype)
