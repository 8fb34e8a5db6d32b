"""Encodings of positions by sines and cosines: of points for fields, of places in a sequence for transformers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LONGEST = 10000.0  # of Vaswani et al. 2017, in units of 2π places: sequences are shorter


def frequency_encoding(x: Tensor, octaves: int, with_input: bool = False) -> Tensor:
    """γ of Mildenhall et al. 2020, equation 4, of every coordinate: sines and cosines of ``2**l π x``.

    x [N, D], meant to lie in [-1, 1]. Returns [N, D * 2 * octaves], coordinate after coordinate, and of each
    ``sin(π x), cos(π x), sin(2π x), cos(2π x), …``; ``with_input`` puts x itself before them: [N, D + D * 2 * octaves].
    Differentiable in: x (any order).

    >>> [round(v, 4) for v in frequency_encoding(torch.tensor([[0.25]]), octaves=2)[0].tolist()]
    [0.7071, 0.7071, 1.0, -0.0]
    """
    if x.ndim != 2:
        raise ValueError(f"x must have shape [N, D], got {list(x.shape)}")
    if octaves < 0:
        raise ValueError(f"octaves must be 0 or more, got {octaves}")
    frequency = math.pi * 2.0 ** torch.arange(octaves, dtype=x.dtype, device=x.device)
    angle = x[:, :, None] * frequency
    encoded = torch.stack((angle.sin(), angle.cos()), -1).flatten(1)
    return torch.cat((x, encoded), 1) if with_input else encoded


def fourier_encoding(x: Tensor, frequencies: Tensor) -> Tensor:
    """γ of Tancik et al. 2020, equation 5, with amplitudes of 1: ``cos(2π b·x)`` and ``sin(2π b·x)`` for every b.

    x [N, D], in [0, 1); frequencies [D, M], in cycles per unit: the basic, positional or Gaussian ones below.
    Returns [N, 2 M], cosines first. γ(x)·γ(y) is the sum of ``cos(2π b·(x - y))``: it depends on the offset alone, and
    so does every kernel that is a function of it. Differentiable in: x, frequencies (any order).
    """
    if x.ndim != 2 or frequencies.ndim != 2 or x.shape[1] != frequencies.shape[0]:
        raise ValueError(f"x and frequencies must be [N, D] and [D, M], got {list(x.shape)}, {list(frequencies.shape)}")
    angle = 2 * math.pi * (x @ frequencies)
    return torch.cat((angle.cos(), angle.sin()), 1)


def basic_frequencies(dims: int) -> Tensor:
    """[D, D], the identity: one turn around the circle along each axis ("basic" of Tancik et al. 2020, section 6)."""
    return torch.eye(dims)


def positional_frequencies(dims: int, per_axis: int, highest: float) -> Tensor:
    """[D, D * per_axis]: along each axis ``highest ** (j / per_axis)``, j = 0, …, per_axis - 1 ("positional encoding"
    of Tancik et al. 2020, section 6), axis after axis."""
    along = highest ** (torch.arange(per_axis) / per_axis)
    return torch.block_diag(*[along[None]] * dims)


def gaussian_frequencies(dims: int, count: int, bandwidth: float, generator: torch.Generator) -> Tensor:
    """[D, count], each number drawn from a normal distribution of standard deviation ``bandwidth``, in cycles per unit
    ("Gaussian" of Tancik et al. 2020, section 6)."""
    return bandwidth * torch.randn(dims, count, generator=generator, device=generator.device)


def position_encoding(position: Tensor, width: int, longest: float = LONGEST) -> Tensor:
    """PE of Vaswani et al. 2017, section 3.5: sines in the even places, cosines in the odd ones.

    position [N], places in a sequence, not necessarily whole numbers; width: of the encoding, even. Pair i turns at
    ``longest ** (-2 i / width)`` radians a place. Returns [N, width] in [-1, 1], in the type of position if that is a
    floating one, else float32. Encodings that are k places apart differ by a rotation of each pair, the same
    everywhere, and their dot product depends on k alone. Differentiable in: position (any order).

    >>> position_encoding(torch.arange(2), width=4)[0].tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    if width < 2 or width % 2:
        raise ValueError(f"width must be even and at least 2, got {width}")
    if position.ndim != 1:
        raise ValueError(f"position must have shape [N], got {list(position.shape)}")
    if not position.is_floating_point():
        position = position.float()
    angle = position[:, None] * position_turn(width, longest).to(position)
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(1)


def position_turn(width: int, longest: float = LONGEST) -> Tensor:
    """[width / 2] float64: by how many radians a place turns each pair of :func:`position_encoding`."""
    return longest ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
