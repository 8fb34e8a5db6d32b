"""Multi-resolution hash-grid encoding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from nerfcore.ops._dispatch import LastDerivative, check, use_kernel
from nerfcore.ops._guard import guarded

PRIMES = (1, 2654435761, 805459861)


@dataclass(frozen=True)
class HashGridLevels:
    """Shape of a hash grid, in the convention of tiny-cuda-nn so that tables can be exchanged.

    Level l has scale ``coarsest * b**l - 1`` with b such that the last level has resolution ``finest``, and
    ``ceil(scale) + 1`` corners along each axis; its table holds all corners if they fit in ``2**log2_table`` entries
    (rounded up to a multiple of 8), else it is hashed. smooth: corners are weighted by ``f² (3 - 2 f)`` of the position
    f in a cell, whose derivative vanishes at its borders (Müller et al. 2022, appendix A), and not by f.
    """

    dims: int = 3
    num_levels: int = 16
    features: int = 2
    log2_table: int = 19
    coarsest: int = 16
    finest: int = 2048
    smooth: bool = False

    def __post_init__(self):
        if self.dims not in (2, 3) or self.features not in (1, 2, 4, 8) or not 1 <= self.num_levels <= 32:
            raise ValueError(
                f"a hash grid has 2 or 3 dims, 1, 2, 4 or 8 features and 1 to 32 levels, got dims={self.dims}, "
                f"features={self.features}, num_levels={self.num_levels}"
            )

    @cached_property
    def scale(self) -> list[float]:
        growth = math.log2(self.finest / self.coarsest) / max(self.num_levels - 1, 1)
        return [float(np.float32(self.coarsest * 2.0 ** (level * growth) - 1.0)) for level in range(self.num_levels)]

    @cached_property
    def resolution(self) -> list[int]:
        return [math.ceil(s) + 1 for s in self.scale]

    @cached_property
    def offset(self) -> list[int]:
        """[L + 1], the first entry of each level."""
        offset = [0]
        for r in self.resolution:
            offset.append(offset[-1] + min(-(-(r**self.dims) // 8) * 8, 2**self.log2_table))
        return offset

    @property
    def num_entries(self) -> int:
        return self.offset[-1]

    @property
    def out_features(self) -> int:
        return self.num_levels * self.features


@guarded("out")
def hash_grid(
    x: Tensor, table: Tensor, levels: HashGridLevels, backend: str = "auto", master: Tensor | None = None
) -> Tensor:
    """Encodes points by interpolating learned features on grids of growing resolution (Müller et al. 2022, section 3).

    x [N, D] in [0, 1]; values outside are clamped, with zero gradient there. table [levels.num_entries, F], of the type
    of x, float16 or bfloat16: it is read as it is stored, computed with in the type of x. master: the table, of the
    type of x, that ``table`` is a rounding of; it takes the gradient, unrounded, in the place of ``table``.
    Returns [N, L * F], level-major. Positions on a level are ``fma(x, scale, 0.5)``: half a cell off the corners.

    Differentiable in: x (within a cell; unless levels are smooth, the derivative jumps at cell borders, and if they
    are, the second one does), table or master (second order). On a
    GPU the gradient of the table is the sum of its parts in whatever order they come; under
    :func:`torch.use_deterministic_algorithms` they are sorted first, and the bits repeat.
    """
    dims = {"D": levels.dims, "E": levels.num_entries, "F": levels.features}
    x = check("x", x, "N D", dims)
    if table.dtype not in (x.dtype, torch.float16, torch.bfloat16):
        raise ValueError(f"table must be {x.dtype} like x, torch.float16 or torch.bfloat16, got {table.dtype}")
    table = check("table", table, "E F", dims, halves=True)
    if table.device != x.device:
        raise ValueError(f"table must be on {x.device} like x, got {table.device}")
    if table.dtype != x.dtype and x.dtype != torch.float32:
        table = table.to(x.dtype)  # the kernels know half precision beside float32 alone
    rounded = None
    if master is not None and master is not table:
        table, rounded = check("master", master, "E F", dims, like=x), table
    if use_kernel(backend, x):
        return _HashGrid.apply(x, table, rounded, levels)
    return hash_grid_reference(x, table if rounded is None else _InPlaceOf.apply(rounded, table), levels)


class _InPlaceOf(torch.autograd.Function):
    """The values of a table in the type of its master, which gets their gradient."""

    @staticmethod
    def forward(ctx, table, master):
        return table.to(master.dtype, copy=True)

    @staticmethod
    def backward(ctx, grad):
        return None, grad


class _HashGrid(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, table, rounded, levels):
        ctx.save_for_backward(x, table, rounded)
        ctx.levels = levels
        return _interpolate(x, None, table if rounded is None else rounded, levels)

    @staticmethod
    def backward(ctx, grad_out):
        wants_x, wants_table, *_ = ctx.needs_input_grad
        grad_x, grad_table = _HashGridBackward.apply(
            *ctx.saved_tensors, grad_out.contiguous(), ctx.levels, wants_x, wants_table
        )
        return grad_x if wants_x else None, grad_table if wants_table else None, None, None


class _HashGridBackward(torch.autograd.Function):
    """With weights w_c(x), x' = grad_x and T' = grad_table are linear in grad_out, and x' in the table: what remains of
    a second derivative is interpolation and its adjoint with the derivative of w_c along the gradient of x'."""

    @staticmethod
    def forward(ctx, x, table, rounded, grad_out, levels, wants_x, wants_table):
        ctx.save_for_backward(x, table, rounded, grad_out)
        ctx.levels = levels
        ctx.set_materialize_grads(False)
        return _adjoint(x, None, table if rounded is None else rounded, grad_out, levels, wants_x, wants_table)

    @staticmethod
    def backward(ctx, along, values):
        x, table, rounded, grad_out = ctx.saved_tensors
        inputs, read = (x, table, grad_out, along, values), table if rounded is None else rounded
        grads = [None, None, None]  # by x, by the table and by grad_out
        if along is not None:
            along = along.contiguous()
            grads = [
                *_adjoint(x, along, read, grad_out, ctx.levels, True, True),
                _interpolate(x, along, read, ctx.levels),
            ]
        if values is not None:  # grad_table . values = grad_out . interpolated values
            values = values.contiguous()
            by_x, _ = _adjoint(x, None, values, grad_out, ctx.levels, True, False)
            by_out = _interpolate(x, None, values, ctx.levels)
            grads = [by_x, None, by_out] if along is None else [grads[0] + by_x, grads[1], grads[2] + by_out]
        grads = [None if grad is None else LastDerivative.apply(grad, "hash_grid", *inputs) for grad in grads]
        return grads[0], grads[1], None, grads[2], None, None, None


def _interpolate(x: Tensor, along: Tensor | None, table: Tensor, levels: HashGridLevels) -> Tensor:
    shape = levels.scale, levels.resolution, levels.offset, levels.smooth
    return torch.ops.nerfcore.hash_grid_forward(x, along, table, *shape)


def _adjoint(x, along, table, grad_out, levels: HashGridLevels, wants_x: bool, wants_table: bool):
    return torch.ops.nerfcore.hash_grid_backward(
        x, along, table, grad_out, levels.scale, levels.resolution, levels.offset, levels.smooth, wants_x, wants_table,
        torch.are_deterministic_algorithms_enabled(),
    )


def hash_grid_reference(x: Tensor, table: Tensor, levels: HashGridLevels) -> Tensor:
    """The same, all corners of a level at once, by the fastest operations that PyTorch has for it."""
    out, table = [], table.to(x.dtype)
    clamped = x.clamp(0, 1).t().contiguous()  # [D, N]: long rows, because short ones are slow
    sizes = [end - start for start, end in zip(levels.offset[:-1], levels.offset[1:], strict=True)]
    # split: the gradients of the levels are laid end to end, where slices would each fill a whole table
    for scale, resolution, part in zip(levels.scale, levels.resolution, table.split(sizes), strict=True):
        # float64 rounded to the working type is what fma gives; the plain product and sum differ by 1.5e-4
        position = (clamped.double() * scale + 0.5).to(x.dtype)
        lower = position.detach().floor()
        fraction = position - lower
        if levels.smooth:
            fraction = fraction * fraction * (3 - 2 * fraction)
        lower = lower.nan_to_num().int()
        hashed = resolution**levels.dims > len(part)
        entry, weight = 0, 1
        for d in range(levels.dims):
            factor = (PRIMES[d] + 2**31) % 2**32 - 2**31 if hashed else resolution**d  # wraps as uint32 does
            shape = [*(2 if d == axis else 1 for axis in reversed(range(levels.dims))), -1]
            at = (torch.stack((lower[d], lower[d] + 1)) * factor).view(shape)
            entry = entry ^ at if hashed else entry + at
            weight = weight * torch.stack((1 - fraction[d], fraction[d])).view(shape)
        entry = entry & len(part) - 1 if hashed else entry % len(part)
        out.append(_Blend.apply(part, entry.flatten(0, -2), weight.flatten(0, -2)))
    return torch.cat(out, -1)


class _Blend(torch.autograd.Function):
    """``out[n] = sum_k weight[k, n] table[entry[k, n]]``. table [E, F], entry int32 and weight [K, N] -> [N, F].

    The backward pass of ``embedding_bag`` itself is slow; scattering pairs of features as complex numbers is not. It is
    differentiable as the operations are that it consists of.
    """

    @staticmethod
    def forward(ctx, table, entry, weight):
        ctx.save_for_backward(table, entry, weight)
        return torch.nn.functional.embedding_bag(
            entry.t().contiguous(), table, mode="sum", per_sample_weights=weight.t().contiguous()
        )

    @staticmethod
    def backward(ctx, grad_out):
        table, entry, weight = ctx.saved_tensors
        entry, paired = entry.long(), table.shape[1] % 2 == 0
        grad_table = grad_weight = None
        if ctx.needs_input_grad[0]:
            columns = torch.view_as_complex(grad_out.contiguous().unflatten(1, (-1, 2))) if paired else grad_out
            zeros = columns.new_zeros(len(table))
            grads = [
                zeros.scatter_add(0, entry.flatten(), (weight * column).flatten())
                for column in columns.unbind(1)
            ]
            grad_table = torch.stack(grads, 1)
            grad_table = torch.view_as_real(grad_table).flatten(1) if paired else grad_table
        if ctx.needs_input_grad[2]:
            grad_weight = (table[entry] * grad_out).sum(-1)
        return grad_table, None, grad_weight
