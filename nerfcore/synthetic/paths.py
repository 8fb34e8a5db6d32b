"""A small path tracer over triangles: diffuse, glossy and mirror surfaces, lit by surfaces that shine.

Kajiya 1986; multiple importance sampling: Veach 1997, chapter 9; visible normals of GGX: Heitz 2018. All colours are
linear, all lengths in world units, directions unit vectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nerfcore.ops.bvh import any_hit, build_bvh, first_hit

OFF_SURFACE = 1e-4  # of the diagonal: rays begin so far from what they leave
SURE_BOUNCES = 3  # before light is dropped by chance, as much as it has become less
MIRROR_BELOW = 0.02  # roughness of what counts as a perfect mirror


@dataclass(frozen=True)
class Material:
    """albedo: share of the light, per colour, that is thrown back. roughness: 1 for a diffuse surface, else the square
    root of GGX's alpha of a metal; below 0.02 a mirror. emission: radiance that it sends out on its front side."""

    albedo: Sequence[float] = (0.7, 0.7, 0.7)
    roughness: float = 1.0
    emission: Sequence[float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Body:
    """vertices [V, 3], faces [T, 3], counter-clockwise seen from outside; smooth: normals are interpolated."""

    vertices: Tensor
    faces: Tensor
    material: Material
    smooth: bool = False


def quad(corner: Sequence[float], first: Sequence[float], second: Sequence[float], material: Material) -> Body:
    """A parallelogram; its front is where ``first x second`` points."""
    a, u, v = (torch.tensor(value, dtype=torch.float32) for value in (corner, first, second))
    return Body(torch.stack([a, a + u, a + u + v, a + v]), torch.tensor([[0, 1, 2], [0, 2, 3]]), material)


def box(low: Sequence[float], high: Sequence[float], material: Material, turn: float = 0.0) -> Body:
    """With its sides along the axes, then turned about z, radians, about its own middle."""
    low, high = torch.tensor(low, dtype=torch.float32), torch.tensor(high, dtype=torch.float32)
    corner = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    middle, c, s = 0.5 * (low + high), math.cos(turn), math.sin(turn)
    spin = torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    vertices = middle + (low + corner * (high - low) - middle) @ spin.T
    sides = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    faces = [[s[0], s[i], s[i + 1]] for s in sides for i in (1, 2)]
    return Body(vertices, torch.tensor(faces), material)


def sphere(centre: Sequence[float], radius: float, material: Material, rings: int = 32) -> Body:
    """Of triangles between ``rings`` parallels and twice as many meridians."""
    polar, around = torch.linspace(0, math.pi, rings + 1), torch.linspace(0, math.tau, 2 * rings + 1)[:-1]
    p, a = torch.meshgrid(polar, around, indexing="ij")
    unit = torch.stack([p.sin() * a.cos(), p.sin() * a.sin(), p.cos()], -1).flatten(0, 1)
    i, j = torch.meshgrid(torch.arange(rings), torch.arange(2 * rings), indexing="ij")
    right, n = (j + 1) % (2 * rings), 2 * rings
    at = [i * n + j, (i + 1) * n + j, (i + 1) * n + right, i * n + right]
    lower, upper = torch.stack([at[0], at[1], at[2]], -1)[:-1], torch.stack([at[0], at[2], at[3]], -1)[1:]
    faces = torch.cat([lower.flatten(0, 1), upper.flatten(0, 1)])
    return Body(torch.tensor(centre, dtype=torch.float32) + radius * unit, faces, material, smooth=True)


@dataclass(frozen=True)
class Hit:
    """Where rays [N] meet the world. there [N] bool: whether they do; the rest is of those [M] that do: distance [M],
    point [M, 3], normal (of the shading, on the side that the ray came from) and geometric [M, 3], albedo [M, 3],
    roughness [M], emission [M, 3] towards the ray, and area_pdf [M], how likely :meth:`World.sample_light` is to choose
    the point, per area."""

    there: Tensor
    distance: Tensor
    point: Tensor
    normal: Tensor
    geometric: Tensor
    albedo: Tensor
    roughness: Tensor
    emission: Tensor
    area_pdf: Tensor


class World:
    """Bodies, ready to be traced."""

    def __init__(self, bodies: Sequence[Body], backend: str = "auto"):
        self.backend = backend
        corners = [body.vertices[body.faces] for body in bodies]
        flat = [_face_normals(c) for c in corners]
        smooth = [
            _vertex_normals(body) if body.smooth else normal[:, None].expand(-1, 3, 3)
            for body, normal in zip(bodies, flat, strict=True)
        ]
        self.corners, self.flat, self.normals = torch.cat(corners), torch.cat(flat), torch.cat(smooth)
        count = [len(body.faces) for body in bodies]

        def of_faces(name: str) -> Tensor:
            values = torch.tensor([getattr(body.material, name) for body in bodies], dtype=torch.float32)
            return values.repeat_interleave(torch.tensor(count), 0)

        self.albedo, self.roughness, self.emission = (of_faces(n) for n in ("albedo", "roughness", "emission"))
        vertices = self.corners.flatten(0, 1)
        self.bvh = build_bvh(vertices, torch.arange(len(vertices)).view(-1, 3), backend)
        self.box = torch.stack([vertices.amin(0), vertices.amax(0)])
        self.off = OFF_SURFACE * (self.box[1] - self.box[0]).norm().item()
        area = 0.5 * torch.linalg.cross(*(self.corners[:, i] - self.corners[:, 0] for i in (1, 2))).norm(dim=1)
        power = area * self.emission.mean(1)
        if not power.sum() > 0:
            raise ValueError("a world needs a body that shines: give one a material with emission")
        self.light_share = power / power.sum()
        self.area_pdf = self.light_share / area.clamp(min=1e-20)

    def hit(self, origin: Tensor, direction: Tensor) -> Hit:
        """What rays [N, 3] meet first."""
        distance, face, weight = first_hit(self.bvh, origin, direction, backend=self.backend)
        there = face >= 0
        face, weight, distance = face[there], weight[there], distance[there]
        weight = torch.cat((1 - weight.sum(1, keepdim=True), weight), 1)
        towards = direction[there]
        point = torch.addcmul(origin[there], towards, distance[:, None])
        front = (self.flat[face] * towards).sum(1) < 0
        side = torch.where(front, 1.0, -1.0)[:, None]
        normal = normalize((weight[:, :, None] * self.normals[face]).sum(1), dim=1) * side
        geometric = self.flat[face] * side
        # a shading normal that looks away from the ray is bent to where it just does not
        into = (normal * towards).sum(1, keepdim=True)
        normal = torch.where(into < 0, normal, normalize(normal - (into + 1e-3) * towards, dim=1))
        emission = self.emission[face] * front[:, None]
        return Hit(
            there, distance, point, normal, geometric, self.albedo[face], self.roughness[face], emission,
            self.area_pdf[face],
        )

    def sample_light(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Points on what shines, by its power: point [N, 3], normal [N, 3], emission [N, 3] and their density per area
        [N]."""
        face = torch.multinomial(self.light_share, count, replacement=True, generator=generator)
        u, v = torch.rand(2, count, 1, generator=generator)
        u = u.sqrt()
        a, b, c = self.corners[face].unbind(1)
        return (1 - u) * a + u * (1 - v) * b + u * v * c, self.flat[face], self.emission[face], self.area_pdf[face]

    def direct(self, hit: Hit, out: Tensor, generator: torch.Generator) -> Tensor:
        """Light [M, 3] that comes straight from what shines and is thrown along ``out`` [M, 3], back to where the ray
        came from; by one point of a light each, weighted against :func:`scatter` by the balance heuristic."""
        if not len(out):
            return torch.zeros_like(out)
        point, facing, emission, area_pdf = self.sample_light(len(out), generator)
        start = hit.point + self.off * hit.geometric
        way = point - start
        distance = way.norm(dim=1).clamp(min=1e-9)
        way = way / distance[:, None]
        at_light = -(way * facing).sum(1)
        pdf = area_pdf * distance.square() / at_light.clamp(min=1e-9)
        reflected, scatter_pdf = reflectance(hit, out, way)
        asks = (at_light > 0) & (reflected.amax(1) > 0) & ((way * hit.geometric).sum(1) > 0)
        index = asks.nonzero().squeeze(1)
        blocked = any_hit(self.bvh, start[index], way[index], distance[index] - 2 * self.off, backend=self.backend)
        seen = torch.zeros_like(asks)
        seen[index] = ~blocked
        return reflected * emission * (seen / (pdf + scatter_pdf).clamp(min=1e-12))[:, None]


def reflectance(hit: Hit, out: Tensor, into: Tensor) -> tuple[Tensor, Tensor]:
    """The share of light from ``into`` [M, 3] that goes along ``out`` [M, 3], times the cosine, [M, 3], and the density
    [M] with which :func:`scatter` chooses ``into``. Mirrors have neither."""
    cosine = (hit.normal * into).sum(1).clamp(min=0)
    diffuse_pdf = cosine / math.pi
    alpha = hit.roughness.square().clamp(min=1e-3)
    half = normalize(out + into, dim=1)
    n_h, n_o = (hit.normal * half).sum(1).clamp(min=0), (hit.normal * out).sum(1).clamp(min=1e-6)
    spread = alpha.square() / (math.pi * (n_h.square() * (alpha.square() - 1) + 1).square())
    shadow_out = 2 / (1 + (1 + alpha.square() * (n_o.pow(-2) - 1)).sqrt())
    shadow_into = 2 / (1 + (1 + alpha.square() * (cosine.clamp(min=1e-6).pow(-2) - 1)).sqrt())
    glossy_pdf = shadow_out * spread / (4 * n_o) * (cosine > 0)
    is_diffuse, is_mirror = hit.roughness >= 1, hit.roughness < MIRROR_BELOW
    pdf = torch.where(is_diffuse, diffuse_pdf, torch.where(is_mirror, 0.0, glossy_pdf))
    share = torch.where(is_diffuse, diffuse_pdf, torch.where(is_mirror, 0.0, glossy_pdf * shadow_into))
    return hit.albedo * share[:, None], pdf


def scatter(hit: Hit, out: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Where a path goes on: directions [M, 3], what of the light from there comes along ``out``, divided by the density
    of the choice, [M, 3], and that density [M], infinite for mirrors."""
    u = torch.rand(2, len(out), generator=generator)
    across, along = _tangents(hit.normal)
    radius, turn = u[0].sqrt(), math.tau * u[1]
    lobe = torch.stack([radius * turn.cos(), radius * turn.sin(), (1 - u[0]).clamp(min=0).sqrt()], 1)
    diffuse = lobe[:, :1] * across + lobe[:, 1:2] * along + lobe[:, 2:] * hit.normal

    # visible normals of GGX: the view is stretched to a unit hemisphere's, a disc is sampled, and shrunk again
    alpha = hit.roughness.square().clamp(min=1e-3)[:, None]
    view = torch.stack([(out * axis).sum(1) for axis in (across, along, hit.normal)], 1)
    stretched = normalize(torch.cat([alpha * view[:, :2], view[:, 2:]], 1), dim=1)
    one = _perpendicular(stretched)
    two = torch.linalg.cross(stretched, one)
    p, q = lobe[:, 0], lobe[:, 1]
    s = 0.5 * (1 + stretched[:, 2])
    q = (1 - s) * (1 - p * p).clamp(min=0).sqrt() + s * q
    r = (1 - p * p - q * q).clamp(min=0).sqrt()
    half = p[:, None] * one + q[:, None] * two + r[:, None] * stretched
    half = normalize(torch.cat([alpha * half[:, :2], half[:, 2:].clamp(min=1e-6)], 1), dim=1)
    half = half[:, :1] * across + half[:, 1:2] * along + half[:, 2:] * hit.normal
    is_mirror = (hit.roughness < MIRROR_BELOW)[:, None]
    half = torch.where(is_mirror, hit.normal, half)
    glossy = 2 * (out * half).sum(1, keepdim=True) * half - out

    into = normalize(torch.where((hit.roughness >= 1)[:, None], diffuse, glossy), dim=1)
    reflected, pdf = reflectance(hit, out, into)
    weight = torch.where(is_mirror, hit.albedo, reflected / pdf.clamp(min=1e-12)[:, None])
    leaves = (into * hit.geometric).sum(1) > 0
    pdf = torch.where(is_mirror[:, 0], math.inf, pdf)
    return into, weight * leaves[:, None], pdf


def emission_weight(hit: Hit, direction: Tensor, pdf: Tensor) -> Tensor:
    """[M]: the balance heuristic's share of a light that :func:`scatter` found with density ``pdf`` [M], against
    :meth:`World.direct`."""
    at_light = -(direction * hit.geometric).sum(1)
    by_light = hit.area_pdf * hit.distance.square() / at_light.clamp(min=1e-9)
    return torch.where(pdf.isinf(), 1.0, pdf / (pdf + by_light).clamp(min=1e-12))


def path_trace(
    world: World, origin: Tensor, direction: Tensor, generator: torch.Generator, max_bounces: int = 64
) -> Tensor:
    """Radiance [N, 3] along rays [N, 3], by one path each: unbiased, up to ``max_bounces``."""
    radiance, alive = torch.zeros_like(origin), torch.arange(len(origin))
    throughput, pdf = torch.ones_like(origin), torch.full_like(origin[:, 0], math.inf)
    for bounce in range(max_bounces):
        hit = world.hit(origin, direction)
        alive, direction, throughput, pdf = (t[hit.there] for t in (alive, direction, throughput, pdf))
        if not len(alive):
            break
        seen = hit.emission * emission_weight(hit, direction, pdf)[:, None]
        radiance.index_add_(0, alive, throughput * (seen + world.direct(hit, -direction, generator)))
        into, weight, pdf = scatter(hit, -direction, generator)
        throughput = throughput * weight
        goes_on = roulette(throughput, bounce, generator)
        throughput = throughput * goes_on[:, None]
        on = goes_on > 0
        origin = (hit.point + world.off * hit.geometric)[on]
        alive, direction, throughput, pdf = (t[on] for t in (alive, into, throughput, pdf))
    return radiance


def roulette(throughput: Tensor, bounce: int, generator: torch.Generator) -> Tensor:
    """[N]: 0 for paths that end here, for the others what makes up for those."""
    if bounce < SURE_BOUNCES:
        return (throughput.amax(1) > 0).float()
    stays = throughput.amax(1).clamp(max=0.95)
    return (torch.rand(len(stays), generator=generator) < stays) / stays.clamp(min=1e-9)


def _face_normals(corners: Tensor) -> Tensor:
    return normalize(torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), dim=1)


def _vertex_normals(body: Body) -> Tensor:
    """[T, 3, 3]: at each corner the mean over the faces about it, by their areas."""
    a, b, c = body.vertices[body.faces].unbind(1)
    weighted = torch.linalg.cross(b - a, c - a)
    at_vertex = torch.zeros_like(body.vertices)
    for i in range(3):
        at_vertex.index_add_(0, body.faces[:, i], weighted)
    return normalize(at_vertex, dim=1)[body.faces]


def _perpendicular(unit: Tensor) -> Tensor:
    """Unit vectors at right angles to unit vectors [N, 3], in the plane of the first two axes where they may be."""
    x, y = unit[:, 0], unit[:, 1]
    length = (x * x + y * y).sqrt()
    flat = torch.stack([-y, x, torch.zeros_like(x)], 1) / length.clamp(min=1e-9)[:, None]
    return torch.where((length > 1e-6)[:, None], flat, unit.new_tensor([1.0, 0.0, 0.0]))


def _tangents(normal: Tensor) -> tuple[Tensor, Tensor]:
    across = _perpendicular(normal)
    return across, torch.linalg.cross(normal, across)
