"""A scene without an end: ``python -m nerfcore.synthetic.unbounded OUT`` writes its photographs and transforms.json.

The built-in solids in a ring of cameras, above a plateau; around them stones out to 58 times the radius of the ring,
each as large as it is far away, under a sky at 100 times. Every pixel shows something, and its distance is known.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import imageio.v3 as iio
import torch
from torch import Tensor

from nerfcore.cameras import Camera, camera_rays, look_at
from nerfcore.synthetic import sdf, texture
from nerfcore.synthetic.builtin import SOLIDS
from nerfcore.synthetic.tracer import Solid, trace_solids
from nerfcore.types import Rays, Render

RING = 4.0  # radius of the ring of cameras, world units
SKY = 100 * RING
PLATEAU = 15 * RING  # half its side
SIZE = 100  # pixels
FIELD_OF_VIEW = 1.1  # radians
VIEWS = 72
SUPERSAMPLING = 2  # rays along each side of a pixel
BOX_SCALE = 0.1  # of transforms.json: 10 world units, which hold the ring, are the unit cube of instant-ngp


def _ground(p: Tensor) -> Tensor:
    """Patterns as wide as they are far away."""
    radius = p[:, :2].norm(dim=-1)
    around = p[:, :2] / radius.clamp(min=1e-3)[:, None]
    place = torch.cat([around * 1.5, 1.5 * torch.log1p(radius)[:, None]], dim=-1)
    amount = torch.sigmoid(1.5 * texture.waves(place, 0.6, seed=7))
    return texture.mix(amount, (0.10, 0.16, 0.06), (0.52, 0.42, 0.24))


def _sky(p: Tensor) -> Tensor:
    amount = torch.sigmoid(2 * texture.waves(p / SKY, 0.5, seed=8))
    return texture.mix(amount, (0.10, 0.22, 0.50), (0.85, 0.80, 0.75))


def _stone(index: int, distance: float) -> Solid:
    """Balls, boxes and rings in turn, a golden angle apart."""
    turn, size = index * math.pi * (3 - math.sqrt(5)), 0.22 * distance
    shape = (
        lambda p: sdf.sphere(p, size),
        lambda p: sdf.box(p, (0.7 * size, 0.7 * size, 0.7 * size), rounding=0.2 * size),
        lambda p: sdf.torus(p, 0.75 * size, 0.25 * size),
    )[index % 3]
    hue = torch.tensor([turn, turn + 2.1, turn + 4.2]).cos()
    dark, light = (0.15 + 0.10 * hue).tolist(), (0.55 + 0.35 * hue).tolist()

    def albedo(p: Tensor) -> Tensor:
        return texture.mix(texture.stripes(p[:, 2] + 0.1 * p[:, 0], 0.6 * size, 0.12 * size), dark, light)

    centre = distance * math.cos(turn), distance * math.sin(turn), 0.35 * size * math.sin(5 * turn)
    return Solid(f"stone {index}", shape, albedo, centre, (40 * index, 25 * index, 0), 1.25 * size)


STONES = tuple(_stone(i, 2 * RING * 1.4**i) for i in range(11))
BACKDROP = (
    Solid("plateau", lambda p: sdf.box(p, (PLATEAU, PLATEAU, 0.5)), _ground, (0, 0, -2.5), (0, 0, 0), 1.5 * PLATEAU),
    Solid("sky", lambda p: SKY - p.norm(dim=-1), _sky, (0, 0, 0), (0, 0, 0), 1.01 * SKY),
)


def trace(rays: Rays) -> Render:
    """Exactly what rays see that begin in the ring, see `trace_solids`."""
    return trace_solids((*SOLIDS, *STONES, *BACKDROP), rays)


def ring_poses() -> Tensor:
    """[VIEWS, 3, 4]: around the solids, at heights that go up and down, looking at their middle."""
    turn = 2 * math.pi * torch.arange(VIEWS) / VIEWS
    height = 0.7 + 1.2 * torch.sin(7 * turn)
    return look_at(torch.stack([RING * turn.cos(), RING * turn.sin(), height], dim=-1), (0.0, 0.0, 0.0))


def picture(pose: Tensor, size: int) -> Tensor:
    """[size, size, 3] uint8 sRGB, means over the rays of each pixel."""
    side = size * SUPERSAMPLING
    focal = 0.5 * side / math.tan(0.5 * FIELD_OF_VIEW)
    rays = camera_rays(Camera(side, side, focal, focal, 0.5 * side, 0.5 * side), pose.double())
    blocks = trace(rays).rgb.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3)
    return (blocks.mean(dim=(1, 3)) * 255).round().byte()


def write_scene(out: Path) -> None:
    """Photographs and ``transforms.json`` of instant-ngp; every eighth view is for testing, as readers have it."""
    out.mkdir(parents=True, exist_ok=True)
    frames = []
    for i, pose in enumerate(ring_poses()):
        iio.imwrite(out / f"{i:03}.png", picture(pose, SIZE).numpy())
        matrix = [*pose.double().tolist(), [0.0, 0.0, 0.0, 1.0]]
        frames.append({"file_path": f"{i:03}.png", "transform_matrix": matrix})
    box = {"scale": BOX_SCALE, "offset": [0.5, 0.5, 0.5], "aabb_scale": 1}
    table = {"camera_angle_x": FIELD_OF_VIEW, **box, "frames": frames}
    (out / "transforms.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m nerfcore.synthetic.unbounded OUT")
    write_scene(Path(sys.argv[1]))
