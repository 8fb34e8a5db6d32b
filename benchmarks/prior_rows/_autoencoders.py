"""What rows of autoencoders share: a run on Fashion-MNIST, errors of test pictures, and what is less beyond chance."""

from __future__ import annotations

import torch
from torch import Tensor

from nerfcore.priors.base import Prior
from nerfcore.priors.training import PriorRun, train_prior

from ._common import at_scale, few

AT_ONCE = 250  # pictures


def trained(options, name: str, train, steps: int, seed: int | None = None, **config) -> PriorRun:
    """A run of so many steps, or in a trial of a share of them."""
    seed = options.seeds[0] if seed is None else seed
    return train_prior(name, train, steps=few(options, steps, 3), seed=seed, **at_scale(options), **config)


@torch.no_grad()
def reconstructions(prior: Prior, pictures: Tensor) -> Tensor:
    """[N, C, *spatial] on the CPU."""
    return torch.cat([prior.reconstruct(part.to(prior.device)).cpu() for part in pictures.split(AT_ONCE)])


def errors(made: Tensor, pictures: Tensor) -> Tensor:
    """Mean squared error of each picture, [N]; values are in [-1, 1]."""
    return (made - pictures).square().flatten(1).mean(1)


def psnr(each: Tensor) -> float:
    """Mean over pictures, in dB, of their :func:`errors`; the peak is 2."""
    return (10 * (4 / each).log10()).mean().item()


def less(a: Tensor, b: Tensor) -> bool:
    """Is the mean of a [N] below that of b, of the same pictures, beyond two standard errors of their difference?"""
    apart = b - a
    return (apart.mean() > 2 * apart.std() / len(apart) ** 0.5).item()
