"""Rays through pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from nerfcore.cameras.intrinsics import Camera
from nerfcore.types import Rays


def camera_rays(camera: Camera, pose: Tensor, pixel_xy: Tensor | None = None) -> Rays:
    """World rays through pixel positions [R, 2], or through all pixel centres, row-major, if ``pixel_xy`` is None.

    pose [3, 4], camera to world; the rays have its type and device, and gradients flow to it and to ``pixel_xy``.
    """
    if pixel_xy is None:
        pixel_xy = camera.pixel_centres(pose.device)
    origin, direction = camera.unproject(pixel_xy.to(pose))
    rotation, centre = pose[:, :3], pose[:, 3]
    spread = torch.full_like(direction[:, 2], camera.spread).detach()
    return Rays(origin @ rotation.T + centre, direction @ rotation.T, -direction[:, 2], spread)
