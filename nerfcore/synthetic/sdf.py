"""Signed distance functions: points [N, 3] to distances [N], negative inside. Plain torch, differentiable.

Every function here is 1-Lipschitz, so its absolute value never exceeds the distance to the surface and sphere tracing
(Hart 1996) is safe; the primitives are exact outside. Formulas after Quilez, "Distance functions", iquilezles.org.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sphere(p: Tensor, radius: float) -> Tensor:
    return p.norm(dim=-1) - radius


def box(p: Tensor, half: tuple[float, float, float], rounding: float = 0.0) -> Tensor:
    """A box of half extents ``half`` about the origin; its edges are rounded inwards by the radius ``rounding``."""
    q = p.abs() - (p.new_tensor(half) - rounding)
    return q.clamp(min=0).norm(dim=-1) + q.amax(-1).clamp(max=0) - rounding


def torus(p: Tensor, ring: float, tube: float) -> Tensor:
    """A torus about z: ``ring`` from the axis to the middle of the tube, ``tube`` the radius of the tube."""
    return torch.hypot(p[:, :2].norm(dim=-1) - ring, p[:, 2]) - tube


def cylinder(p: Tensor, radius: float) -> Tensor:
    """An endless cylinder about z."""
    return p[:, :2].norm(dim=-1) - radius


def capsule(p: Tensor, a: tuple[float, float, float], b: tuple[float, float, float], radius: float) -> Tensor:
    """All points within ``radius`` of the segment from a to b."""
    start, axis = p.new_tensor(a), p.new_tensor(b) - p.new_tensor(a)
    along = ((p - start) @ axis / (axis @ axis)).clamp(0, 1)
    return (p - start - along[:, None] * axis).norm(dim=-1) - radius


def repeat_around_z(p: Tensor, count: int) -> Tensor:
    """Folds space into one of ``count`` equal wedges about z, that around +x: a shape there appears in all of them."""
    wedge = 2 * math.pi / count
    angle = torch.atan2(p[:, 1], p[:, 0])
    angle = angle - wedge * torch.round(angle / wedge)
    radius = p[:, :2].norm(dim=-1)
    return torch.stack([radius * angle.cos(), radius * angle.sin(), p[:, 2]], dim=-1)


def union(a: Tensor, b: Tensor, blend: float) -> Tensor:
    """Either shape, with a fillet about as wide as ``blend`` (> 0) where they meet: a polynomial smooth minimum."""
    return torch.minimum(a, b) - (blend - (a - b).abs()).clamp(min=0).square() / (4 * blend)


def difference(a: Tensor, b: Tensor, blend: float) -> Tensor:
    """The first shape without the second, the new edges rounded over about ``blend`` (> 0)."""
    return -union(-a, b, blend)
