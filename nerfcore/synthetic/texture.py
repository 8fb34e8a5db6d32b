"""Procedural albedo: smooth patterns of space. Edges are ramps of a stated width, so that sampling need not alias."""

from __future__ import annotations

import math

import torch
from torch import Tensor

Colour = tuple[float, float, float]


def mix(amount: Tensor, low: Colour, high: Colour) -> Tensor:
    """Colours [N, 3]: ``low`` where ``amount`` [N] is 0, ``high`` where it is 1."""
    return torch.lerp(amount.new_tensor(low), amount.new_tensor(high), amount[:, None])


def square_wave(x: Tensor, period: float, ramp: float) -> Tensor:
    """Between -1 and 1, one period from rise to rise, with flanks about ``ramp`` wide (in the unit of x)."""
    return torch.tanh(torch.sin(x * (2 * math.pi / period)) * (period / (math.pi * ramp)))


def stripes(x: Tensor, period: float, ramp: float) -> Tensor:
    """[N] in (0, 1): bands of equal width across the coordinate x [N]."""
    return 0.5 + 0.5 * square_wave(x, period, ramp)


def checker(p: Tensor, size: float, ramp: float) -> Tensor:
    """[N] in (0, 1): a board of cubes of side ``size``, with the origin in the middle of one."""
    return 0.5 + 0.5 * square_wave(p + size / 2, 2 * size, ramp).prod(dim=-1)


def waves(p: Tensor, wavelength: float, count: int = 16, seed: int = 0) -> Tensor:
    """Smooth noise [N] of about unit variance: plane waves in random directions, of ``wavelength`` to twice that."""
    random = torch.Generator().manual_seed(seed)
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=random, dtype=torch.float64), dim=-1)
    length = wavelength * (1 + torch.rand(count, 1, generator=random, dtype=torch.float64))
    phase = 2 * math.pi * torch.rand(count, generator=random, dtype=torch.float64)
    return torch.sin(p @ (2 * math.pi * direction / length).to(p).T + phase.to(p)).sum(-1) * math.sqrt(2 / count)
