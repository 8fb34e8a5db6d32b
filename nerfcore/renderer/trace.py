"""Pictures of surfaces that a signed distance says: sphere tracing, soft shadows, and the model of an `sdf` field."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.rays import camera_rays
from nerfcore.data.scene import SceneTransform
from nerfcore.fields import field_named
from nerfcore.fields.sdf import SDFField
from nerfcore.renderer.model import background_rgb
from nerfcore.synthetic.tracer import encode_srgb
from nerfcore.types import Rays, Render

Distance = Callable[[Tensor], Tensor]
"""Points [N, 3] to signed distances [N], negative inside, in the units of the points: at most as large as the distance
to the surface is, or little more."""

MAX_STEPS = 200
CLOSER_STEPS = 6
LAMP_RAYS = 8
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
RAYS_AT_ONCE = 1 << 17


@dataclass(frozen=True)
class Light:
    """A round lamp, so far away that it is in one direction from everywhere, before a dimmer sky.

    towards: direction to its middle. radius: the angle it is seen under, from its middle to its rim, in radians. lamp,
    sky: linear colour of a white surface that faces the lamp, or up, and sees all of it. up: where the sky is.
    """

    towards: tuple[float, float, float] = (-0.5, 0.7, 0.6)
    radius: float = 0.12
    lamp: tuple[float, float, float] = (0.86, 0.82, 0.76)
    sky: tuple[float, float, float] = (0.20, 0.23, 0.28)
    up: tuple[float, float, float] = (0.0, 1.0, 0.0)


@torch.no_grad()
def sphere_trace(
    distance: Distance, origin: Tensor, direction: Tensor, far: float, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Where rays meet a surface (Hart 1996): each goes on by the distance that it is from the surface, until that is
    less than ``tolerance``. One that has gone too far, because the distance said too much, is below the surface then;
    where it came through is sought between its last two places (regula falsi).

    origin, direction [R, 3]: unit directions, origins outside. Returns t [R] along the rays and hit [R] bool; a ray
    that comes to ``far``, or is not there after 200 steps, has not hit. Not differentiable.
    """
    t, hit = torch.zeros_like(origin[:, 0]), torch.zeros_like(origin[:, 0], dtype=torch.bool)
    above, below = torch.zeros_like(t), torch.zeros_like(t)  # distances at the places before and there
    going = torch.arange(len(t), device=t.device)
    for _ in range(MAX_STEPS):
        if not len(going):
            break
        step = distance(torch.addcmul(origin[going], direction[going], t[going, None]))
        hit[going], below[going] = step < tolerance, step
        onward = ~hit[going]
        going, step = going[onward], step[onward]
        t[going] += step
        above[going] = step
        going = going[t[going] < far]
    through = (hit & (below < -tolerance) & (above > 0)).nonzero().squeeze(1)
    before, behind = (t - above)[through], t[through]
    high, low = above[through], below[through]
    for _ in range(CLOSER_STEPS):
        t[through] = before + (behind - before) * high / (high - low)
        value = distance(torch.addcmul(origin[through], direction[through], t[through, None]))
        outside = value > 0
        before, high = torch.where(outside, t[through], before), torch.where(outside, value, high)
        behind, low = torch.where(outside, behind, t[through]), torch.where(outside, low, value)
    return t, hit


@torch.no_grad()
def lamp_light(
    distance: Distance, point: Tensor, normal: Tensor, light: Light, far: float, tolerance: float, seed: int = 0
) -> Tensor:
    """Share [N] of the lamp's light that falls on a surface at points [N, 3] with unit normals [N, 3], by 8 rays from
    each to the lamp (Cook et al. 1984): the mean over the lamp of the cosine to the normal where nothing is in the way.

    The rays are spread over the lamp along a spiral (Vogel 1979), which every point turns by an angle of its own, so
    that what they miss is noise and not a pattern. Points must be off the surface by more than ``tolerance``.
    """
    across, along, towards = _frame(light.towards, like=point)
    generator = torch.Generator(point.device).manual_seed(seed)
    turn = math.tau * torch.rand(len(point), generator=generator, device=point.device, dtype=point.dtype)
    total = torch.zeros_like(turn)
    for k in range(LAMP_RAYS):
        angle, off = (turn + k * GOLDEN_ANGLE)[:, None], math.tan(light.radius) * math.sqrt((k + 0.5) / LAMP_RAYS)
        direction = normalize(towards + off * (angle.cos() * across + angle.sin() * along), dim=-1)
        facing = (normal * direction).sum(-1).clamp(min=0)
        lit = facing.nonzero().squeeze(1)
        _, blocked = sphere_trace(distance, point[lit], direction[lit], far, tolerance)
        total[lit[~blocked]] += facing[lit[~blocked]]
    return total / LAMP_RAYS


def _frame(towards: Sequence[float], like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three unit vectors [3] at right angles, the last one along ``towards``."""
    last = normalize(like.new_tensor(towards), dim=0)
    least = torch.zeros_like(last)
    least[last.abs().argmin()] = 1
    first = normalize(torch.linalg.cross(last, least), dim=0)
    return first, torch.linalg.cross(last, first), last


@torch.no_grad()
def normals_of(distance: Distance, point: Tensor, width: float = 2e-3) -> Tensor:
    """Outward unit normals [N, 3]: the direction in which the distance grows over ``width`` along each axis; zero where
    it is flat. What a learned distance has of its own in less than that is noise, and its derivative mostly that."""
    steps = 0.5 * width * torch.eye(3, dtype=point.dtype, device=point.device)
    rise = [distance(point + step) - distance(point - step) for step in steps]
    return normalize(torch.stack(rise, -1), dim=-1)


def trace(
    distance: Distance, rays: Rays, far: float, light: Light = Light(), albedo: Sequence[float] = (0.8, 0.8, 0.8),
    background: Sequence[float] = (1.0, 1.0, 1.0), tolerance: float = 1e-4, bias: float = 2e-3,
) -> Render:
    """What rays see of a matte surface (Lambert 1760) under a lamp, whose shadows are soft, and the sky, whose light
    nothing holds up.

    Lengths are in the units of the rays: far, where they end; tolerance, how near a hit is to the surface; bias, how
    far off the surface rays to the lamp begin: a few times the error of the distance. albedo: linear colour.
    rgb is sRGB in [0, 1] over the ``background``; opacity is 0 or 1; a miss has distance 0 and normal 0. Not
    differentiable.
    """
    parts = [
        _trace_chunk(distance, rays[i : i + RAYS_AT_ONCE], far, light, albedo, background, tolerance, bias)
        for i in range(0, max(len(rays), 1), RAYS_AT_ONCE)
    ]
    return Render(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _trace_chunk(distance, rays, far, light, albedo, background, tolerance, bias) -> tuple[Tensor, ...]:
    t, hit = sphere_trace(distance, rays.origin, rays.direction, far, tolerance)
    point = rays.origin[hit] + t[hit, None] * rays.direction[hit]
    found = normals_of(distance, point)
    from_lamp = lamp_light(distance, point + bias * found, found, light, far, tolerance)
    from_sky = 0.5 + 0.5 * found @ normalize(point.new_tensor(light.up), dim=0)
    lamp, sky = point.new_tensor(light.lamp), point.new_tensor(light.sky)
    reflected = point.new_tensor(albedo) * (from_lamp[:, None] * lamp + from_sky[:, None] * sky)
    rgb, normal = rays.origin.new_tensor(background).repeat(len(rays), 1), torch.zeros_like(rays.origin)
    rgb[hit], normal[hit] = encode_srgb(reflected), found
    t = torch.where(hit, t, 0)
    return rgb, hit.to(t), t, t * rays.z_scale, normal


class DistanceModel:
    """What training on triangles leaves behind and ``model.nerf`` holds. Inputs and outputs are in the user's world.

    transform: the similarity from the world to the box; header: provenance, JSON-able.
    """

    def __init__(self, field: SDFField, transform: SceneTransform, header: dict):
        self.field, self.transform, self.header = field, transform, header

    @property
    def device(self) -> torch.device:
        return self.field.table.device

    @property
    def world_box(self) -> Tensor:
        """[2, 3]: lower and upper corner of the box, in world coordinates."""
        return self.transform.world_box

    @torch.no_grad()
    def distance(self, points: Tensor) -> Tensor:
        """Signed distance [N] of world points [N, 3], in world units. Outside the box never more than the true one is,
        as far as that is learned."""
        parts = [self.field.value(self.transform.to_box(p).to(self.device)) for p in points.split(RAYS_AT_ONCE)]
        return torch.cat(parts).to(points) / self.transform.scale

    def normal(self, points: Tensor) -> Tensor:
        """Outward unit normals [N, 3] at world points [N, 3]."""
        parts = [self.field.normal(self.transform.to_box(p).to(self.device)) for p in points.split(RAYS_AT_ONCE)]
        return torch.cat(parts).to(points)

    def render(
        self, rays: Rays, background: str | tuple[float, float, float] = "white", light: Light = Light()
    ) -> Render:
        """See :func:`trace`."""
        here, scale = rays.to(self.device), self.transform.scale
        origin = self.transform.to_box(here.origin)
        far = (origin - 0.5).norm(dim=-1).max().item() + math.sqrt(3)
        in_box = Rays(origin, here.direction, here.z_scale)
        seen = trace(self.field.value, in_box, far, light, background=background_rgb(background))
        return Render(seen.rgb, seen.opacity, seen.distance / scale, seen.z_depth / scale, seen.normal)

    def render_image(
        self,
        camera: Camera,
        pose: Tensor,
        background: str | tuple[float, float, float] = "white",
        light: Light = Light(),
    ) -> dict[str, Tensor]:
        """The picture of a camera: rgb [H, W, 3], opacity, distance, z_depth [H, W] and normal [H, W, 3]."""
        render = self.render(camera_rays(camera, pose), background, light)
        shape = camera.height, camera.width
        found = {name: value for name, value in vars(render).items() if value is not None}
        return {name: value.cpu().reshape(*shape, *value.shape[1:]) for name, value in found.items()}

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """Tensors and JSON-able description that :meth:`from_state` rebuilds the model from."""
        tensors = {f"field.{k}": v for k, v in self.field.state_dict().items()}
        own = dict(field=self.field.name, field_config=self.field.config)
        return tensors, dict(**own, transform=asdict(self.transform), header=self.header)

    @classmethod
    def from_state(
        cls, tensors: dict[str, Tensor], description: dict, device="cpu", backend: str = "auto"
    ) -> DistanceModel:
        """Inverse of :meth:`state`."""
        field = field_named(description["field"])(**description["field_config"], backend=backend)
        field.load_state_dict({k.removeprefix("field."): v for k, v in tensors.items() if k.startswith("field.")})
        scale, translation = description["transform"]["scale"], tuple(description["transform"]["translation"])
        return cls(field.to(device), SceneTransform(scale, translation), description["header"])
