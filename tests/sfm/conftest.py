"""Photographs of a made-up corner of a room, with known cameras."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates, zoom

from nerfcore.cameras import Camera, look_at

WIDTH, HEIGHT, FOCAL = 320, 240, 300.0


@cache
def texture(seed: int, size: int = 256) -> np.ndarray:
    """[size, size, 3] in [0, 255]: noise at several scales."""
    random = np.random.default_rng(seed)
    return np.mean([zoom(random.uniform(0, 255, (size // s, size // s, 3)), (s, s, 1), order=1) for s in (4, 8, 32)], 0)


def photograph_of_corner(pose: torch.Tensor, camera: Camera) -> np.ndarray:
    """[H, W, 3] uint8: the planes x = 0, y = 0, z = 0, each with a texture of its own over 4 units."""
    pixel = camera.pixel_centres().double()
    _, direction = camera.unproject(pixel)
    direction, eye = (direction @ pose[:, :3].double().T).numpy(), pose[:, 3].double().numpy()
    with np.errstate(divide="ignore"):
        distance = -eye / direction
    distance[distance <= 0] = math.inf
    plane = distance.argmin(1)
    hit = eye + distance.min(1)[:, None] * direction
    colour = np.empty((len(hit), 3))
    for axis in range(3):
        on = plane == axis
        where = 256 / 4 * np.delete(hit[on], axis, axis=1).T
        for channel in range(3):
            colour[on, channel] = map_coordinates(texture(axis)[:, :, channel], where, order=1, mode="mirror")
    return colour.reshape(camera.height, camera.width, 3).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def corner(tmp_path_factory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A folder of 9 photographs, and the pose of each by name; all look at one point and are level."""
    folder, poses = tmp_path_factory.mktemp("corner"), {}
    camera = Camera(WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2)
    for i in range(9):
        angle = math.radians(15 + 60 * i / 8)
        eye = 3.2 * math.cos(angle), 3.2 * math.sin(angle), 1.3 + 0.5 * (i % 3)
        poses[f"{i}.png"] = look_at(eye, (0.5, 0.5, 0.5)).double()
        iio.imwrite(folder / f"{i}.png", photograph_of_corner(poses[f"{i}.png"], camera))
    return folder, poses
