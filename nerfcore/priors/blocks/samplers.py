"""Samplers of diffusion models: flat functions of one contract.

``sampler(denoise, x, levels, generator) -> pictures``. ``denoise(x, level) -> Denoised`` is the model with all that
guides it; x [B, C, *spatial] is noise of deviation ``levels[0]``, or a picture with such noise; levels [T + 1] fall, to
0 if the picture is to be clean, see :mod:`~nerfcore.priors.blocks.schedule`. All but :func:`ancestral` follow ``dx /
dlevel = (x - denoised) / level`` (Karras et al. 2022, equation 4), which needs no generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from nerfcore.priors.blocks.denoiser import Denoised
from nerfcore.priors.blocks.schedule import log_variance, posterior

Denoise = Callable[[Tensor, Tensor], Denoised]


def ancestral(denoise: Denoise, x: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Algorithm 2 of Ho et al. 2020: every step draws from the posterior of what is lower. Its variance is the smaller
    of theirs, or the one that the model learned."""
    for level, lower in steps(levels, x):
        picture, mix = denoise(x, level)
        x, variance = posterior(picture, x, level, lower)
        if lower > 0:
            deviation = variance.sqrt() if mix is None else (0.5 * log_variance(mix, level, lower)).exp()
            x = x + deviation * torch.randn(x.shape, generator=generator, device=generator.device).to(x)
    return x


def ddim(denoise: Denoise, x: Tensor, levels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Song et al. 2021, equation 12 with η = 0, which is Euler's method: of order 1. Levels may also rise: from a
    picture, at a level that is hardly one, to the noise that gives it again (their section 4.3)."""
    for level, lower in steps(levels, x):
        picture = denoise(x, level).picture
        x = picture + lower / level * (x - picture)
    return x


def heun(denoise: Denoise, x: Tensor, levels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Karras et al. 2022, algorithm 1: of order 2 at two evaluations a step, one in the step to 0."""
    for level, lower in steps(levels, x):
        slope = (x - denoise(x, level).picture) / level
        ahead = x + (lower - level) * slope
        if lower > 0:
            slope = 0.5 * (slope + (ahead - denoise(ahead, lower).picture) / lower)
        x = x + (lower - level) * slope
    return x


def dpm_solver(denoise: Denoise, x: Tensor, levels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """DPM-Solver++(2M) of Lu et al. 2022, algorithm 2: of order 2 at one evaluation a step, in which the picture is
    taken to change linearly with the logarithm of the level, as it did in the step before."""
    before, last = None, None
    for level, lower in steps(levels, x):
        picture = denoise(x, level).picture
        step = level.log() - lower.log()  # infinite in the step to 0, which is of order 1
        ahead = picture
        if before is not None and lower > 0:
            ahead = picture + step / (2 * last) * (picture - before)
        x = ahead + lower / level * (x - ahead)
        before, last = picture, step
    return x


SAMPLERS = {sampler.__name__: sampler for sampler in (ancestral, ddim, heun, dpm_solver)}


def steps(levels: Tensor, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Each level and the next one, in the type of x."""
    return pairwise(levels.to(x))
