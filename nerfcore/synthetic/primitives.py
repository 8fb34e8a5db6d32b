"""Signed distances of many solids at once: every parameter is one number for all points, or a tensor with one for each.

Points are [..., 3] and distances [...], negative inside. Primitives are exact on both sides; what is combined has sharp
edges, is 1-Lipschitz, and never exceeds the distance to its surface, so that it can be sphere traced (Hart 1996).
Differentiable in points and parameters, except where two parts of a surface are equally near. Tensors that keep each
coordinate by itself, as ``xyz.T`` of [3, N] does, are several times as fast. Fillets, and solids with fixed parameters,
are in :mod:`nerfcore.synthetic.sdf`.
"""

from __future__ import annotations

import torch
from torch import Tensor

Number = float | Tensor


def sphere(p: Tensor, radius: Number) -> Tensor:
    """A ball about the origin."""
    x, y, z = p.unbind(-1)
    return (x * x + y * y + z * z).sqrt() - radius


def box(p: Tensor, half: tuple[Number, Number, Number]) -> Tensor:
    """A box about the origin with these halves of its sides."""
    x, y, z = (coordinate.abs() - side for coordinate, side in zip(p.unbind(-1), half, strict=True))
    inside = torch.maximum(torch.maximum(x, y), z).clamp(max=0)
    x, y, z = x.clamp(min=0), y.clamp(min=0), z.clamp(min=0)
    return (x * x + y * y + z * z).sqrt() + inside


def torus(p: Tensor, ring: Number, tube: Number) -> Tensor:
    """A torus about z: ``ring`` from the axis to the middle of the tube, whose radius is ``tube``, at most ``ring``."""
    x, y, z = p.unbind(-1)
    across = (x * x + y * y).sqrt() - ring
    return (across * across + z * z).sqrt() - tube


def cone(p: Tensor, radius: Number, half_height: Number) -> Tensor:
    """A solid cone about z: its base, of that radius, at ``z = -half_height`` and its tip as far above the origin."""
    x, y, z = p.unbind(-1)
    across, above = (x * x + y * y).sqrt(), z + half_height  # measured from the middle of the base
    tall = 2 * half_height
    # the nearest point of the slope, from the rim (radius, 0) to the tip (0, tall), and of the base
    along = ((tall * above - radius * (across - radius)) / (radius * radius + tall * tall)).clamp(0, 1)
    right, up = across - radius * (1 - along), above - tall * along
    beyond = (across - radius).clamp(min=0)
    nearest = torch.minimum(right * right + up * up, beyond * beyond + above * above).sqrt()
    inside = (above > 0) & (tall * across + radius * above < radius * tall)
    return torch.where(inside, -nearest, nearest)


def capsule(p: Tensor, half_length: Number, radius: Number) -> Tensor:
    """All points within ``radius`` of the segment from ``z = -half_length`` to ``z = half_length``."""
    x, y, z = p.unbind(-1)
    beyond = (z.abs() - half_length).clamp(min=0)
    return (x * x + y * y + beyond * beyond).sqrt() - radius


def union(a: Tensor, b: Tensor) -> Tensor:
    """Either solid; exact outside."""
    return torch.minimum(a, b)


def intersection(a: Tensor, b: Tensor) -> Tensor:
    """What both solids have in common; exact inside."""
    return torch.maximum(a, b)


def difference(a: Tensor, b: Tensor) -> Tensor:
    """The first solid without the second; exact inside."""
    return torch.maximum(a, -b)
