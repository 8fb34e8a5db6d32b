"""Are distances and normals right?  Against closed forms, in steps of the march.

A dense ball seen from a sphere around it: distance along the ray and depth along the camera's axis, as mean and as
median of where light is stopped; normals of a smooth density, whose gradient is known. A thin ball, of which half of
the light passes, tells mean and median apart.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nerfcore.cameras import Camera, camera_rays, look_at
from nerfcore.data.scene import SceneTransform
from nerfcore.fields import Field
from nerfcore.renderer.model import Model
from nerfcore.renderer.occupancy import OccupancyGrid
from nerfcore.renderer.volume import Marching

MODULES = ("nerfcore.renderer.model",)
TARGET = dict(worst_in_steps=0.5)
RADIUS, SIDE, VIEWS, SCALE = 0.25, 100, 8, 0.25
GRAZING = 0.05  # box lengths: half a chord below which a ray gains or loses much of it by half a step
THIN = 8.0
ROUNDING = 1e-4  # of a step: what float32 makes of where a sample lies; at a sharp edge the middle of a step decides


class Ball(Field):
    """Constant density in a ball about the middle of the box."""

    def __init__(self, density: float):
        super().__init__()
        self.peak = density

    def density(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.peak * ((x - 0.5).norm(dim=1) < RADIUS).to(x), x

    def color(self, embedding, direction, ray_indices=None):
        return torch.full_like(embedding, 0.5)


class Blob(Ball):
    """A density that falls as a Gaussian does."""

    def density(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.peak * torch.exp(-0.5 * (x - 0.5).square().sum(1) / 0.1**2), x


def measure(options) -> dict:
    """The row: the worst errors of all pixels of all views."""
    dense, thin = distances(Ball(1e5)), distances(Ball(THIN))
    worst = max(*dense.values(), *thin.values())
    return dict(
        holds=worst <= TARGET["worst_in_steps"] + ROUNDING, worst_in_steps=worst, dense=dense, thin=thin,
        worst_normal_degrees=normals(Blob(400.0)),
    )


def model_of(field: Field) -> Model:
    marching = Marching.for_cascades(1)
    return Model(field, OccupancyGrid(32, 1, marching.step), marching, SceneTransform(SCALE, (0.5, 0.5, 0.5)), [], {})


def cameras():
    """Around the middle, where the world's origin is, at twice the side of the box."""
    for i in range(VIEWS):
        angle, height = 2 * math.pi * i / VIEWS, -0.6 + 1.2 * i / (VIEWS - 1)
        eye = 2 / SCALE * normalize(torch.tensor([math.cos(angle), math.sin(angle), height]), dim=0)
        yield Camera(SIDE, SIDE, 2.5 * SIDE, 2.5 * SIDE, SIDE / 2, SIDE / 2), look_at(eye, (0.0, 0.0, 0.0))


def distances(field: Ball) -> dict[str, float]:
    """The worst errors of distance, z_depth and their median, in steps."""
    model, step, worst = model_of(field), Marching.for_cascades(1).step / SCALE, {}
    density, radius = field.peak * SCALE, RADIUS / SCALE
    for camera, pose in cameras():
        rays = camera_rays(camera, pose)
        image = {name: value.flatten() for name, value in model.render_image(camera, pose).items() if value.ndim == 2}
        origin, direction = rays.origin.double(), rays.direction.double()
        along = -(origin * direction).sum(1)
        chord = 2 * (radius**2 - (origin + along[:, None] * direction).square().sum(1)).clamp(min=0).sqrt()
        through = -torch.expm1(-density * chord)
        mean = along - 0.5 * chord + 1 / density - chord * (1 - through) / through
        median = along - 0.5 * chord + math.log(2) / density
        clear = chord > 2 * GRAZING / SCALE
        stopped = clear & (through > 0.55)
        for name, found, true, where in (
            ("distance", image["distance"], mean, clear),
            ("z_depth", image["z_depth"], mean * rays.z_scale, clear),
            ("median_distance", image["median_distance"], median, stopped),
        ):
            error = (found - true).abs()[where].max().item() / step
            worst[name] = max(worst.get(name, 0.0), error)
    return worst


def normals(field: Blob) -> float:
    """The worst angle, degrees, between normals and the way out from the middle, where a ray is stopped."""
    model, worst = model_of(field), 0.0
    for camera, pose in cameras():
        rays, image = camera_rays(camera, pose), model.render_image(camera, pose, normals=True)
        hit = image["opacity"].flatten() > 0.99
        out = normalize((rays.origin + image["distance"].view(-1, 1) * rays.direction)[hit], dim=1)
        cosine = (image["normal"].view(-1, 3)[hit] * out).sum(1)
        worst = max(worst, math.degrees(torch.arccos(cosine.clamp(-1, 1)).max().item()))
    return worst
