"""Linear interpolation between the corners of a regular grid, in one to three dimensions."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from nerfcore.ops._dispatch import LastDerivative, check, use_kernel
from nerfcore.ops._guard import guarded
from nerfcore.types import TouchedGradient

AXES = "IJK"


@guarded("out")
def multilinear(
    x: Tensor,
    values: Tensor,
    links: Tensor | None = None,
    backend: str = "auto",
    gradient: TouchedGradient | None = None,
) -> Tensor:
    """Values at points between the corners of a grid over [0, 1]^D, D = 1, 2 or 3: the sum over the corners of a
    point's cell, weighted by the product over the axes of how near they are.

    x [N, D]; values outside [0, 1] are clamped, with zero gradient there. values [n_1, ..., n_D, C]: of the corners,
    at least 2 along each axis; coordinate d runs along axis d, its first corner lies at 0, its last at 1. Returns
    [N, C]. Also of B grids at once: x [B, N, D], values [B, n_1, ..., n_D, C] -> [B, N, C].

    links [n_1, ..., n_D], int32: of one grid of which few corners hold something; values [V, C] are then the rows that
    links name (Fridovich-Keil et al. 2022, section 3.1). A link outside [0, V), such as -1, names none: the corner is
    empty, and its value 0. No two corners may share a row: the rows' gradients are taken side by side.

    gradient: of values, as rows [V, C] (all corners, where there are no links). The gradient of values is added to it,
    in place, in every backward pass, and autograd passes on zeros instead: of a large table a step meets few rows.

    Differentiable in: x (within a cell; the derivative jumps at its borders), values (second order, but not through
    ``gradient``). On a GPU the gradient of values is the sum of its parts in whatever order they come; under
    :func:`torch.use_deterministic_algorithms` the reference computes, and the bits repeat. Elsewhere they always do.

    >>> multilinear(torch.tensor([[0.25]]), torch.tensor([[0.0], [8.0], [0.0]])).item()
    4.0
    """
    if not isinstance(x, Tensor) or x.ndim not in (2, 3) or x.shape[-1] not in (1, 2, 3):
        raise ValueError(f"x must have shape [N, D] or [B, N, D] with D = 1, 2 or 3, got {_shape(x)}")
    batched, dims = x.ndim == 3, {}
    corners = " ".join(AXES[: x.shape[-1]])
    x = check("x", x, "B N D" if batched else "N D", dims)
    if links is None:
        values = check("values", values, f"B {corners} C" if batched else f"{corners} C", dims, like=x)
        size = values.shape[batched:-1]
    else:
        if batched:
            raise ValueError("links are those of one grid: x must have shape [N, D] beside them")
        values, links = check("values", values, "V C", dims, like=x), check("links", links, corners, dims)
        if links.dtype != torch.int32 or links.device != x.device:
            raise ValueError(f"links must be int32 on {x.device}, got {links.dtype} on {links.device}")
        size = links.shape
    if min(size) < 2:
        raise ValueError(f"a grid has at least 2 corners along each axis, got {list(size)}")
    if gradient is not None:
        rows = values.shape[:-1].numel()
        check("gradient.values", gradient.values, "V C", {"V": rows, "C": values.shape[-1]}, like=values)
        check("gradient.touched", gradient.touched, "V", {"V": rows})
    x = x if batched else x[None]
    if links is None and not batched:
        values = values[None]
    repeats = x.is_cuda and torch.are_deterministic_algorithms_enabled()
    if use_kernel(backend, x) and not repeats:
        out = _Multilinear.apply(x, values, links, gradient)
    else:
        given = values if gradient is None else _Adding.apply(values, gradient)
        out = multilinear_reference(x, given, links)
    return out if batched else out[0]


def _shape(x: object) -> object:
    return list(x.shape) if isinstance(x, Tensor) else type(x).__name__


class _Adding(torch.autograd.Function):
    """The values, whose gradient is added to a :class:`TouchedGradient`."""

    @staticmethod
    def forward(ctx, values, gradient):
        ctx.gradient = gradient
        return values.view_as(values)

    @staticmethod
    def backward(ctx, grad):
        rows = grad.reshape(ctx.gradient.values.shape)
        ctx.gradient.values.add_(rows)
        ctx.gradient.touched.masked_fill_((rows != 0).any(1), 1)
        return _nothing_like(grad), None


def _nothing_like(values: Tensor) -> Tensor:
    """Zeros that take no memory."""
    return values.new_zeros(()).expand(values.shape)


class _Multilinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, values, links, gradient):
        ctx.save_for_backward(x, values, links)
        ctx.gradient = gradient
        return torch.ops.nerfcore.multilinear_forward(x, None, values, links)

    @staticmethod
    def backward(ctx, grad_out):
        (x, values, links), gradient = ctx.saved_tensors, ctx.gradient
        wants_x, wants_values, *_ = ctx.needs_input_grad
        grad_out = grad_out.contiguous()
        grad_x = grad_values = None
        returns_values = wants_values and gradient is None
        if wants_x or returns_values:
            grad_x, grad_values = _MultilinearBackward.apply(x, values, links, grad_out, wants_x, returns_values)
        if wants_values and gradient is not None:
            target = gradient.values.view(values.shape)
            torch.ops.nerfcore.multilinear_touch(x, links, grad_out, target, gradient.touched)
            grad_values = _nothing_like(values)
        return grad_x if wants_x else None, grad_values if wants_values else None, None, None


class _MultilinearBackward(torch.autograd.Function):
    """With weights w_c(x), x' = grad_x and V' = grad_values are linear in grad_out, and x' in the values: what remains
    of a second derivative is interpolation and its adjoint with the derivative of w_c along the gradient of x'."""

    @staticmethod
    def forward(ctx, x, values, links, grad_out, wants_x, wants_values):
        ctx.save_for_backward(x, values, links, grad_out)
        ctx.set_materialize_grads(False)
        return torch.ops.nerfcore.multilinear_backward(x, None, values, links, grad_out, wants_x, wants_values)

    @staticmethod
    def backward(ctx, along, change):
        x, values, links, grad_out = ctx.saved_tensors
        interpolate, adjoint = torch.ops.nerfcore.multilinear_forward, torch.ops.nerfcore.multilinear_backward
        by_x = by_values = by_out = None
        if along is not None:
            along = along.contiguous()
            by_x, by_values = adjoint(x, along, values, links, grad_out, True, True)
            by_out = interpolate(x, along, values, links)
        if change is not None:  # grad_values . change = grad_out . interpolated change
            change = change.contiguous()
            more_x, _ = adjoint(x, None, change, links, grad_out, True, False)
            more_out = interpolate(x, None, change, links)
            by_x, by_out = (more_x, more_out) if along is None else (by_x + more_x, by_out + more_out)
        inputs = x, values, grad_out, along, change
        by_x, by_values, by_out = (
            None if grad is None else LastDerivative.apply(grad, "multilinear", *inputs)
            for grad in (by_x, by_values, by_out)
        )
        return by_x, by_values, None, by_out, None, None


def multilinear_reference(x: Tensor, values: Tensor, links: Tensor | None = None) -> Tensor:
    """The same of a batch [B, N, D], corner by corner of a cell."""
    size = values.shape[1:-1] if links is None else links.shape
    rows = values.reshape(-1, values.shape[-1])
    rows = torch.cat((rows, rows.new_zeros(1, rows.shape[1])))  # the last one for corners that are empty
    last = torch.tensor([n - 1 for n in size], dtype=x.dtype, device=x.device)
    position = x.clamp(0, 1) * last
    lower = position.detach().floor().minimum(last - 1)
    fraction = position - lower
    lower = lower.nan_to_num().long()
    grid, out = torch.arange(len(x), device=x.device)[:, None], 0
    for corner in product((0, 1), repeat=x.shape[-1]):
        row, weight = grid, 1
        for d, far in enumerate(corner):
            row = row * size[d] + lower[..., d] + far
            weight = weight * (fraction[..., d] if far else 1 - fraction[..., d])
        if links is not None:
            link = links.flatten().index_select(0, row.flatten()).view(row.shape).long()
            empty = (link < 0) | (link >= len(rows) - 1)
            row, weight = link.masked_fill(empty, len(rows) - 1), weight.masked_fill(empty, 0)
        out = out + weight[..., None] * rows[row]
    return out
