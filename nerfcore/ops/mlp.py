"""Small multi-layer perceptron without biases."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nerfcore.ops._dispatch import by_reference, check, use_kernel
from nerfcore.ops._guard import guarded

ACTIVATIONS = {"none": lambda y: y, "sigmoid": torch.sigmoid, "exp": torch.exp, "relu": torch.relu}
PRECISIONS = ("float32", "tf32", "bf16", "fp16")


@guarded("out")
def mlp(
    x: Tensor,
    weights: Sequence[Tensor],
    activation: str = "none",
    precision: str = "float32",
    backend: str = "auto",
) -> Tensor:
    """``y = f(relu(... relu(x W_0) W_1 ...) W_n)``: the network of Müller et al. 2022, without biases.

    x [N, in]. weights: matrices [in, width], [width, width], …, [width, out]. activation: f, "none", "sigmoid", "exp"
    or "relu". Returns [N, out] in the type of x. The CPU kernel runs the whole network over tiles of 96 rows.

    precision: what a GPU may multiply float32 tensors in. "float32" is torch's matrix products. "tf32", "bf16" and
    "fp16" run the whole network in one kernel on tensor cores, for hidden widths of at most 128: inputs, weights,
    hidden activations and their gradients are rounded to 11, 8 and 11 bits of mantissa where they are multiplied, sums
    are float32, and results repeat to the bit on one kind of GPU. "fp16" makes activations above 65504 infinite; its
    gradients are scaled by a power of two inside, so that a small loss needs no scaling. Other backends and types, a
    network without a hidden layer, and torch.compile compute in the type of x whatever it says.

    Differentiable in: x, weights (any order; beyond the first by the operations of the reference).

    >>> mlp(torch.tensor([[1.0, -2.0]]), [torch.eye(2), torch.ones(2, 1)]).item()
    1.0
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if not weights:
        raise ValueError("weights must hold at least one matrix")
    x = check("x", x, "N I", {})
    width, checked = x.shape[1], []
    for layer, w in enumerate(weights):
        dims = {"I": width}
        checked.append(check(f"weights[{layer}]", w, "I O", dims, like=x))
        width = dims["O"]
    tensor_cores = precision != "float32" and x.dtype == torch.float32 and len(checked) > 1
    if x.is_cuda and torch.compiler.is_compiling():
        tensor_cores = False  # their backward pass needs what torch.compile does not let them keep
    if use_kernel(backend, x) and (tensor_cores or not x.is_cuda):
        return _Mlp.apply(x, list(ACTIVATIONS).index(activation), PRECISIONS.index(precision), *checked)
    return mlp_reference(x, checked, activation)


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, activation, precision, *weights):
        # torch.compile wants to know the size of what is saved: there the backward pass computes activations again.
        keep = any(ctx.needs_input_grad) and not torch.compiler.is_compiling()
        out, hidden = torch.ops.nerfcore.mlp_forward(x, weights, activation, precision, keep)
        ctx.save_for_backward(x, hidden, out, *weights)
        ctx.how = activation, precision
        return out

    @staticmethod
    def backward(ctx, grad_out):
        x, hidden, out, *weights = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            activation, _ = ctx.how
            name = list(ACTIVATIONS)[activation]
            grads = by_reference(lambda x, *w: [mlp_reference(x, w, name)], (x, *weights), [grad_out])
            return grads[0], None, None, *grads[1:]
        wants_x = ctx.needs_input_grad[0]
        grad_x, *grad_weights = torch.ops.nerfcore.mlp_backward(
            x, weights, hidden, out, grad_out.contiguous(), *ctx.how, wants_x
        )
        return grad_x if wants_x else None, None, None, *grad_weights


def mlp_reference(x: Tensor, weights: Sequence[Tensor], activation: str = "none") -> Tensor:
    for w in weights[:-1]:
        x = torch.relu(x @ w)
    return ACTIVATIONS[activation](x @ weights[-1])
