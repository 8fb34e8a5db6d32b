"""The built-in scene: five solids that float apart within 1.3 world units of the origin, known exactly.

Marble ball with a highlight, board box with a tunnel through it (genus 1), ring (genus 1), wheel with thin spokes
(genus 8), and capsule. `assets/make_scene.py` renders the pictures that `nerfcore train` uses when no scene is given.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nerfcore.synthetic import sdf, texture
from nerfcore.synthetic.tracer import Solid, trace_solids
from nerfcore.types import Rays, Render

SPOKES = 8


def _marble(p: Tensor) -> Tensor:
    swirl = p[:, 2] + 0.06 * texture.waves(p, 0.45, seed=1)
    bands = texture.mix(texture.stripes(swirl, 0.30, 0.05), (0.01, 0.08, 0.22), (0.05, 0.42, 0.55))
    vein = torch.exp(-(texture.waves(p, 0.55, seed=2) / 0.16).square())[:, None]
    return torch.lerp(bands, p.new_tensor((0.75, 0.72, 0.60)), vein)


def _tunnel_box(p: Tensor) -> Tensor:
    return sdf.difference(sdf.box(p, (0.36, 0.36, 0.36), rounding=0.05), sdf.cylinder(p, 0.21), blend=0.04)


def _board(p: Tensor) -> Tensor:
    outside = texture.mix(texture.checker(p, 0.18, 0.02), (0.80, 0.12, 0.07), (0.95, 0.82, 0.58))
    inside = texture.mix(texture.stripes(p[:, 2], 0.18, 0.03), (0.05, 0.30, 0.42), (0.55, 0.85, 0.80))
    depth = torch.sigmoid((0.235 - p[:, :2].norm(dim=-1)) / 0.006)[:, None]
    return torch.lerp(outside, inside, depth)


def _ring(p: Tensor) -> Tensor:
    return sdf.torus(p, 0.37, 0.14)


def _candy(p: Tensor) -> Tensor:
    tube = torch.atan2(p[:, 2], p[:, :2].norm(dim=-1) - 0.37)
    turn = torch.atan2(p[:, 1], p[:, 0])
    twist = 12 * turn + 2 * tube
    return texture.mix(texture.stripes(twist, 6.2831853, 0.9), (0.42, 0.10, 0.50), (0.98, 0.66, 0.10))


def _wheel(p: Tensor) -> Tensor:
    wedge = sdf.repeat_around_z(p, SPOKES)
    spokes = sdf.capsule(wedge, (0.0, 0.0, 0.0), (0.42, 0.0, 0.0), 0.03)
    hub = sdf.capsule(p, (0.0, 0.0, -0.05), (0.0, 0.0, 0.05), 0.09)
    return sdf.union(sdf.union(spokes, sdf.torus(p, 0.42, 0.05), 0.02), hub, 0.02)


def _paint(p: Tensor) -> Tensor:
    radius = p[:, :2].norm(dim=-1)
    turn = torch.atan2(p[:, 1], p[:, 0])
    tyre = texture.mix(texture.stripes(turn, 6.2831853 / 16, 0.05), (0.05, 0.22, 0.62), (0.85, 0.88, 0.92))
    spoke = texture.mix(texture.stripes(radius, 0.16, 0.03), (0.90, 0.45, 0.05), (0.95, 0.80, 0.15))
    return torch.lerp(spoke, tyre, torch.sigmoid((radius - 0.365) / 0.006)[:, None])


def _capsule(p: Tensor) -> Tensor:
    return sdf.capsule(p, (0.0, 0.0, -0.3), (0.0, 0.0, 0.3), 0.17)


def _leaf(p: Tensor) -> Tensor:
    helix = p[:, 2] + 0.24 * torch.atan2(p[:, 1], p[:, 0]) / 6.2831853
    bands = texture.mix(texture.stripes(helix, 0.24, 0.03), (0.06, 0.38, 0.14), (0.62, 0.85, 0.20))
    return bands * (1 + 0.18 * texture.waves(p, 0.12, seed=3))[:, None].clamp(0.5, 1.5)


SOLIDS = (
    Solid("ball", lambda p: sdf.sphere(p, 0.45), _marble, (0.14, -0.04, 0.83), (20, -25, 0), 0.46, 0.9, 90.0),
    Solid("tunnel box", _tunnel_box, _board, (0.61, -0.37, -0.20), (70, 15, 25), 0.63),
    Solid("ring", _ring, _candy, (-0.74, -0.42, -0.02), (62, 0, -28), 0.52, 0.15, 25.0),
    Solid("wheel", _wheel, _paint, (0.02, 0.80, 0.02), (80, 0, 20), 0.48, 0.2, 30.0),
    Solid("capsule", _capsule, _leaf, (-0.15, -0.05, -0.92), (0, 78, 40), 0.48, 0.35, 50.0),
)
NUM_OBJECTS = len(SOLIDS)


def trace(rays: Rays, background: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Render:
    """Exactly what the rays see of the built-in scene, see `trace_solids`: the truth for tests and benchmarks."""
    return trace_solids(SOLIDS, rays, background)


def signed_distance(points: Tensor) -> Tensor:
    """[N, NUM_OBJECTS]: a lower bound on the distance from world points [N, 3] to each solid, negative inside it."""
    return torch.stack([solid.distance(points) for solid in SOLIDS], dim=-1)
