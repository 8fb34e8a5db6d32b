"""Small multi-layer perceptron without biases."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nerfcore.ops._dispatch import check, use_kernel

ACTIVATIONS = ("none", "sigmoid")


def mlp(x: Tensor, weights: Sequence[Tensor], activation: str = "none", backend: str = "auto") -> Tensor:
    """``y = f(relu(... relu(x W_0) W_1 ...) W_n)``: the network of Müller et al. 2022, without biases.

    x [N, in]. weights: matrices [in, width], [width, width], …, [width, out]. activation: f, "none" or "sigmoid".
    Returns [N, out]. The CPU kernel runs the whole network over tiles of 96 rows and accumulates in the working type;
    a CUDA tensor runs through torch's matrix products.

    Differentiable in: x, weights (first order on the CPU kernel, any order on the reference).

    >>> mlp(torch.tensor([[1.0, -2.0]]), [torch.eye(2), torch.ones(2, 1)]).item()
    1.0
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    if not weights:
        raise ValueError("weights must hold at least one matrix")
    x = check("x", x, "N I", {})
    width, checked = x.shape[1], []
    for layer, w in enumerate(weights):
        dims = {"I": width}
        checked.append(check(f"weights[{layer}]", w, "I O", dims, like=x))
        width = dims["O"]
    if use_kernel(backend, x) and not x.is_cuda:
        return _Mlp.apply(x, ACTIVATIONS.index(activation), *checked)
    return mlp_reference(x, checked, activation)


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, activation, *weights):
        keep = any(ctx.needs_input_grad)
        out, hidden = torch.ops.nerfcore.mlp_forward(x, weights, activation, keep)
        ctx.save_for_backward(x, hidden, out, *weights)
        ctx.activation = activation
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_out):
        x, hidden, out, *weights = ctx.saved_tensors
        wants_x = ctx.needs_input_grad[0]
        grad_x, *grad_weights = torch.ops.nerfcore.mlp_backward(
            x, weights, hidden, out, grad_out.contiguous(), ctx.activation, wants_x
        )
        return grad_x if wants_x else None, None, *grad_weights


def mlp_reference(x: Tensor, weights: Sequence[Tensor], activation: str = "none") -> Tensor:
    for w in weights[:-1]:
        x = torch.relu(x @ w)
    x = x @ weights[-1]
    return torch.sigmoid(x) if activation == "sigmoid" else x
