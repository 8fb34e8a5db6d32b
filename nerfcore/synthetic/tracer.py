"""Exact pictures of solids given by signed distance functions: sphere tracing, analytic normals, simple lights.

Everything is computed in float64 on the device of the rays. Solids cast no shadows and do not reflect one another, so a
solid can be traced alone: each ray visits only the solids whose bounding sphere it meets, and the nearest hit wins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nerfcore.types import Rays, Render

HIT_DISTANCE = 1e-10  # a ray this near to a surface has hit it, world units
MAX_STEPS = 2000  # only rays that graze a surface come near to this
AMBIENT = 0.30
LIGHTS = (  # direction towards the light, linear colour
    ((0.55, -0.50, 0.67), (0.86, 0.82, 0.74)),
    ((-0.60, 0.55, -0.58), (0.34, 0.40, 0.52)),
)
WRAP = 0.35  # how far light reaches around a solid: 0 is Lambert's law, 1 reaches the far pole


@dataclass(frozen=True)
class Solid:
    """One opaque object, made in its own coordinates and then turned and moved into the world.

    sdf: local points [N, 3] to signed distance [N], 1-Lipschitz. albedo: local points [N, 3] to linear colour [N, 3].
    centre, world units; turn: degrees about x, then y, then z. radius: of a sphere about the centre that holds the
    solid. specular, shininess: strength and exponent of the highlight (Blinn 1977).
    """

    name: str
    sdf: Callable[[Tensor], Tensor]
    albedo: Callable[[Tensor], Tensor]
    centre: tuple[float, float, float]
    turn: tuple[float, float, float]
    radius: float
    specular: float = 0.0
    shininess: float = 40.0

    def rotation(self, like: Tensor) -> Tensor:
        """[3, 3], local to world."""
        angle = torch.deg2rad(torch.tensor(self.turn, dtype=torch.float64))
        (cx, cy, cz), (sx, sy, sz) = angle.cos().tolist(), angle.sin().tolist()
        about_x = like.new_tensor([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        about_y = like.new_tensor([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        about_z = like.new_tensor([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
        return about_z @ about_y @ about_x

    def to_local(self, points: Tensor) -> Tensor:
        return (points - points.new_tensor(self.centre)) @ self.rotation(points)

    def to_world(self, points: Tensor) -> Tensor:
        return points @ self.rotation(points).T + points.new_tensor(self.centre)

    def distance(self, points: Tensor) -> Tensor:
        """Signed distance [N] of world points [N, 3]."""
        return self.sdf(self.to_local(points))

    def gradient(self, points: Tensor) -> Tensor:
        """[N, 3], world: the derivative of `distance`, at most unit length."""
        with torch.enable_grad():
            points = points.detach().requires_grad_()
            return torch.autograd.grad(self.distance(points).sum(), points)[0]

    def colour(self, points: Tensor, normal: Tensor, direction: Tensor) -> Tensor:
        """sRGB values [N, 3] in [0, 1] of surface points seen along the unit vectors ``direction`` [N, 3], world."""
        diffuse, highlight = torch.full_like(points, AMBIENT), torch.zeros_like(points)
        for towards, light in LIGHTS:
            towards, light = normalize(points.new_tensor(towards), dim=0), points.new_tensor(light)
            diffuse += ((normal @ towards + WRAP) / (1 + WRAP)).clamp(min=0)[:, None] * light
            halfway = normalize(towards - direction, dim=-1)
            facing = (normal * halfway).sum(-1).clamp(min=0)
            highlight += self.specular * facing[:, None] ** self.shininess * light
        return encode_srgb(self.albedo(self.to_local(points)) * diffuse + highlight)


@torch.no_grad()
def trace_solids(solids: Sequence[Solid], rays: Rays, background: Sequence[float] = (1.0, 1.0, 1.0)) -> Render:
    """What the rays see: colour as sRGB values in [0, 1] over ``background``, opacity exactly 0 or 1, distance to the
    first surface to 1e-6 or better (in float64), and its outward unit normal. Results have the type of the rays; a miss
    has distance 0 and normal 0. Not differentiable. Origins must lie outside all solids.
    """
    origin, direction = rays.origin.double(), rays.direction.double()
    distance = torch.full_like(origin[:, 0], float("inf"))
    owner = torch.full_like(distance, -1, dtype=torch.int64)
    for index, solid in enumerate(solids):
        hit, t = _sphere_trace(solid, origin, direction)
        nearer = t < distance[hit]
        distance[hit[nearer]], owner[hit[nearer]] = t[nearer], index
    rgb = origin.new_tensor(background).repeat(len(rays), 1)
    normal = torch.zeros_like(rgb)
    for index, solid in enumerate(solids):
        mine = (owner == index).nonzero().squeeze(-1)
        points = origin[mine] + distance[mine, None] * direction[mine]
        normal[mine] = normalize(solid.gradient(points), dim=-1)
        rgb[mine] = solid.colour(points, normal[mine], direction[mine])
    opaque = owner >= 0
    distance = torch.where(opaque, distance, 0)
    like = rays.origin
    return Render(
        rgb.to(like), opaque.to(like), distance.to(like), (distance * rays.z_scale.double()).to(like), normal.to(like)
    )


def encode_srgb(linear: Tensor) -> Tensor:
    """The sRGB curve (IEC 61966-2-1) of linear light, clipped to [0, 1]."""
    linear = linear.clamp(0, 1)
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def _sphere_trace(solid: Solid, origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """The indices of the rays that hit the solid, and the distances at which they do (Hart 1996)."""
    local = solid.to_local(origin)
    heading = direction @ solid.rotation(direction)
    middle = -(local * heading).sum(-1)
    half = (solid.radius**2 - (local + middle[:, None] * heading).square().sum(-1)).clamp(min=0).sqrt()
    ray = ((half > 0) & (middle + half > 0)).nonzero().squeeze(-1)
    t, t_end = (middle - half).clamp(min=0)[ray], (middle + half)[ray]
    hits = [ray[:0]]
    times = [t[:0]]
    for _ in range(MAX_STEPS):
        if not len(ray):
            break
        step = solid.sdf(local[ray] + t[:, None] * heading[ray])
        t = t + step
        landed = step < HIT_DISTANCE
        hits.append(ray[landed])
        times.append(t[landed])
        going = ~landed & (t < t_end)
        ray, t, t_end = ray[going], t[going], t_end[going]
    return torch.cat(hits), torch.cat(times)
