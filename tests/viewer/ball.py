"""A ball that is rendered in closed form, and photographs of it."""

from __future__ import annotations

import torch

from nerfcore.cameras import Camera, camera_rays
from nerfcore.types import Render
from nerfcore.viewer.pictures import Photo

CAMERA = Camera(64, 48, 70.0, 70.0, 30.0, 25.0)


def ball(rays, background="white", normals=False):
    """A ball of radius 1 about the origin, coloured by its normal."""
    b = (rays.origin * rays.direction).sum(-1)
    inside = b * b - rays.origin.square().sum(-1) + 1
    hit = inside > 0
    distance = torch.where(hit, -b - inside.clamp(min=0).sqrt(), 0)
    normal = torch.where(hit[:, None], rays.origin + distance[:, None] * rays.direction, 0)
    rgb = torch.where(hit[:, None], 0.5 * normal + 0.5, float(background == "white"))
    return Render(rgb, hit.float(), distance, distance * rays.z_scale, normal if normals else None)


def photo(pose, camera=CAMERA, name="a.png", alpha=False):
    """A photograph of the ball, with or without alpha."""
    seen = ball(camera_rays(camera, pose))
    image = torch.cat([seen.rgb, seen.opacity[:, None]], dim=1) if alpha else seen.rgb
    return Photo(name, camera, pose, lambda: image.reshape(camera.height, camera.width, -1))
