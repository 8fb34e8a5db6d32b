"""One Adam step in place."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerfcore.ops._dispatch import check, use_kernel


@torch.no_grad()
def adam_step(
    param: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    step: int,
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.99),
    epsilon: float = 1e-15,
    backend: str = "auto",
) -> None:
    """Updates ``param`` and its moments in place by Adam (Kingma and Ba 2015, algorithm 1).

    param, gradient, first, second: any equal shape, contiguous. step: 1 for the first. Elements whose gradient is
    exactly zero are left alone, moments included, as tiny-cuda-nn does for hash tables. Not differentiable.
    """
    if not (param.is_contiguous() and first.is_contiguous() and second.is_contiguous()):
        raise ValueError("param, first and second must be contiguous: they are updated in place")
    if step < 1:
        raise ValueError(f"step counts from 1, got {step}")
    flat = check("param", param.detach().view(-1), "N", dims := {})
    gradient, first, second = (
        check(name, t.reshape(-1), "N", dims, like=param)
        for name, t in (("gradient", gradient), ("first", first), ("second", second))
    )
    rate, correct2 = learning_rate / (1 - betas[0] ** step), 1 / math.sqrt(1 - betas[1] ** step)
    if use_kernel(backend, flat):
        torch.ops.nerfcore.adam(flat, gradient, first, second, rate, *betas, epsilon, correct2)
    else:
        adam_step_reference(flat, gradient, first, second, rate, betas, epsilon, correct2)


def adam_step_reference(param, gradient, first, second, rate, betas, epsilon, correct2) -> None:
    touched = gradient != 0
    first.copy_(torch.where(touched, torch.lerp(first, gradient, 1 - betas[0]), first))
    second.copy_(torch.where(touched, (second * betas[1]).addcmul_(gradient, gradient, value=1 - betas[1]), second))
    update = first / (second.sqrt() * correct2).add_(epsilon)
    param.sub_(update.masked_fill_(~touched, 0), alpha=rate)
