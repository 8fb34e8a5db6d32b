"""One Adam step in place, of a whole tensor or of the touched entries of a table."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from nerfcore.ops._dispatch import check, use_kernel
from nerfcore.types import TouchedGradient


@torch.no_grad()
def adam_step(
    param: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    scales: Tensor,
    betas: tuple[float, float] = (0.9, 0.99),
    epsilon: float = 1e-15,
    backend: str = "auto",
) -> None:
    """Updates ``param`` and its moments in place by Adam (Kingma and Ba 2015, algorithm 1).

    param, gradient, first, second: any equal shape, contiguous. scales: of this step, from :func:`adam_scales` with the
    same betas. Elements whose gradient is exactly zero are left alone, moments included, as tiny-cuda-nn does for hash
    tables. Not differentiable.

    >>> param, first, second = torch.ones(1), torch.zeros(1), torch.zeros(1)
    >>> adam_step(param, torch.full((1,), 3.0), first, second, adam_scales(step=1, learning_rate=0.25))
    >>> round(param.item(), 4)
    0.75
    """
    if not (param.is_contiguous() and first.is_contiguous() and second.is_contiguous()):
        raise ValueError("param, first and second must be contiguous: they are updated in place")
    flat = check("param", param.detach().view(-1), "N", dims := {})
    gradient, first, second = (
        check(name, t.reshape(-1), "N", dims, like=param)
        for name, t in (("gradient", gradient), ("first", first), ("second", second))
    )
    _check_scales(scales, param)
    if use_kernel(backend, flat):
        torch.ops.nerfcore.adam(flat, gradient, first, second, scales, *betas, epsilon)
        increment_version(param)
    else:
        adam_step_reference(flat, gradient, first, second, scales, betas, epsilon)


@torch.no_grad()
def adam_touched_step(
    param: Tensor,
    gradient: TouchedGradient,
    first: Tensor,
    second: Tensor,
    scales: Tensor,
    betas: tuple[float, float] = (0.9, 0.99),
    epsilon: float = 1e-15,
    backend: str = "auto",
) -> None:
    """:func:`adam_step` of a table [E, F] that reads and writes only what ``gradient`` touched.

    Equal to :func:`adam_step` with ``gradient.values``; clears the gradient. Where the table has a copy in half
    precision (``gradient.copy``), the entries of both are written. Not differentiable.
    """
    table = check("param", param.detach(), "E F", dims := {})
    values = check("gradient.values", gradient.values, "E F", dims, like=table)
    check("gradient.touched", gradient.touched, "E", dims)
    moments = [check(name, t, "E F", dims, like=table) for name, t in (("first", first), ("second", second))]
    if not all(t.is_contiguous() for t in (param, gradient.values, gradient.touched, first, second)):
        raise ValueError("param, gradient, first and second must be contiguous: they are updated in place")
    if gradient.touched.dtype != torch.uint8:
        raise ValueError(f"gradient.touched must be uint8, got {gradient.touched.dtype}")
    _check_scales(scales, param)
    if use_kernel(backend, table):
        touched, half = gradient.touched, gradient.copy if table.dtype == torch.float32 else None
        copy = half and half.of(table)
        torch.ops.nerfcore.adam_touched(table, values, touched, *moments, copy, scales, *betas, epsilon)
        increment_version(table)
        if half:
            half.written(table)
    else:
        adam_step(table, values, *moments, scales, betas, epsilon, backend)
        values.zero_()
        gradient.touched.zero_()


def adam_scales(
    step: int, learning_rate: float, betas: tuple[float, float] = (0.9, 0.99), out: Tensor | None = None
) -> Tensor:
    """What step number ``step`` of Adam, 1 for the first, multiplies with because moments began at zero.

    Returns [2] float64, in ``out`` if given: the learning rate over ``1 - beta1**step``, and
    ``1 / sqrt(1 - beta2**step)``. It is a tensor so that a step which is recorded in a CUDA graph, and repeats its
    launches as they were, finds the numbers of now. The host does not wait for a GPU.
    """
    if step < 1:
        raise ValueError(f"step counts from 1, got {step}")
    out = torch.empty(2, dtype=torch.float64) if out is None else out
    out[0].fill_(learning_rate / (1 - betas[0] ** step))
    out[1].fill_(1 / math.sqrt(1 - betas[1] ** step))
    return out


def _check_scales(scales: Tensor, param: Tensor) -> None:
    check("scales", scales, "2", {})
    if scales.dtype != torch.float64 or scales.device != param.device:
        raise ValueError(f"scales must be float64 on {param.device}, got {scales.dtype} on {scales.device}")


def adam_step_reference(param, gradient, first, second, scales, betas, epsilon) -> None:
    rate, correct2 = scales.to(param)
    touched = gradient != 0
    first.copy_(torch.where(touched, torch.lerp(first, gradient, 1 - betas[0]), first))
    second.copy_(torch.where(touched, (second * betas[1]).addcmul_(gradient, gradient, value=1 - betas[1]), second))
    update = first / (second.sqrt() * correct2).add_(epsilon)
    param.sub_(rate * update.masked_fill_(~touched, 0))
