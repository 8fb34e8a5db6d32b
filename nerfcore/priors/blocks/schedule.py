"""Noise levels of diffusion models, and the Gaussians that follow from them.

A level is noise per signal, σ of Karras et al. 2022: the noisy picture is ``x = x0 + level * noise``. Ho et al. 2020
scale it, ``x_t = x / √(1 + level²)``, so that its variance stays 1; then ``ᾱ = 1 / (1 + level²)``. Their chains and
Gaussians are the same but for that scale, and are said here without it. Levels broadcast over pictures.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

KINDS = ("linear", "cosine")
FIRST_BETA, LAST_BETA, LINEAR_STEPS = 1e-4, 0.02, 1000  # of Ho et al. 2020, section 4
SHIFT, LARGEST_BETA = 0.008, 0.999  # of Nichol and Dhariwal 2021, section 3.2


def noise_levels(kind: str, steps: int = 1000) -> Tensor:
    """Levels [steps] after 1, 2, … steps of a chain, rising, float64. linear: Ho et al. 2020, its two betas changed in
    proportion where steps are not 1,000; cosine: Nichol and Dhariwal 2021, equation 17."""
    if kind not in KINDS:
        raise ValueError(f"the schedule must be one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "linear":
        betas = torch.linspace(FIRST_BETA, LAST_BETA, steps, dtype=torch.float64) * LINEAR_STEPS / steps
    else:
        way = (torch.arange(steps + 1, dtype=torch.float64) / steps + SHIFT) / (1 + SHIFT)
        kept = (way * math.pi / 2).cos().square()
        betas = 1 - kept[1:] / kept[:-1]
    kept = (1 - betas.clamp(max=LARGEST_BETA)).cumprod(0)
    return (1 / kept - 1).sqrt()


def spaced(levels: Tensor, count: int) -> Tensor:
    """For samplers: ``count`` of the levels [T], evenly by their number and the largest first, then 0."""
    picked = (torch.arange(count, 0, -1) * len(levels) / count).round().long() - 1
    return torch.cat((levels[picked], levels.new_zeros(1)))


def power_spaced(least: float, most: float, count: int, power: float = 7.0) -> Tensor:
    """For samplers: ``count`` levels from most to least, then 0, even in their root (Karras et al. 2022, eq. 5)."""
    ends = (level ** (1 / power) for level in (most, least))
    levels = torch.linspace(*ends, count, dtype=torch.float64) ** power
    return torch.cat((levels, levels.new_zeros(1)))


def scale_of(level: Tensor) -> Tensor:
    """√ᾱ: of Ho et al. 2020's pictures to ours."""
    return (1 + level**2).rsqrt()


def posterior(x0: Tensor, x: Tensor, level: Tensor, lower: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the picture at a lower level, given those at 0 and at this one (Ho et al. 2020, equations 6
    and 7). Differentiable in: x0, x."""
    share = lower**2 / level**2
    return x0 + share * (x - x0), lower**2 * (1 - share)


def step_variance(level: Tensor, lower: Tensor) -> Tensor:
    """β of the step from a level to a lower one, over ᾱ of the lower: the larger of the two variances of Ho et al.
    2020, section 3.2, of which :func:`posterior` has the smaller."""
    return (level**2 - lower**2) * (1 + lower**2) / (1 + level**2)


def log_variance(mix: Tensor, level: Tensor, lower: Tensor) -> Tensor:
    """Between both variances of a step, geometrically: mix 0 is the smaller one (Nichol and Dhariwal 2021, equation
    15). The smaller is 0 for the step to level 0, where both are taken to be the larger. Differentiable in: mix."""
    large = step_variance(level, lower)
    small = torch.where(lower > 0, posterior(torch.zeros(()), torch.zeros(()), level, lower)[1], large)
    return mix * large.log() + (1 - mix) * small.log()
