"""The MLP with its numbers rounded where tensor cores get them, and exact between: the yardstick of tf32, bf16 and fp16."""

from __future__ import annotations

import torch
from torch import Tensor


def rounded(t: Tensor, precision: str) -> Tensor:
    """float64 numbers as float32 and then ``precision`` hold them; float64."""
    t = t.float()
    if precision == "tf32":  # 13 bits less of mantissa, halves away from zero
        return ((t.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32).double()
    return t.to({"bf16": torch.bfloat16, "fp16": torch.float16}[precision]).double()


def rounded_mlp(x: Tensor, weights: list[Tensor], grad_out: Tensor, activation: str, precision: str) -> list[Tensor]:
    """[out, grad_x, grad of each weight] in float64, of a network without rounding if ``precision`` is "float64"."""

    def store(t: Tensor) -> Tensor:
        return t if precision == "float64" else rounded(t, precision)

    kept, weights, grad_out = [store(x.double())], [store(w.double()) for w in weights], grad_out.double()
    for w in weights[:-1]:
        kept.append(store(torch.relu(kept[-1] @ w)))
    y = kept[-1] @ weights[-1]
    out, slope = {
        "none": lambda: (y, 1.0),
        "sigmoid": lambda: (y.sigmoid(), y.sigmoid() * (1 - y.sigmoid())),
        "exp": lambda: (y.exp(), y.exp()),
        "relu": lambda: (y.relu(), (y > 0).double()),
    }[activation]()
    grad, grad_weights = grad_out * slope, []
    _, exponent = torch.frexp(grad.abs().max())
    scale = 2.0 ** (1 - exponent.item()) if precision == "fp16" else 1.0  # the largest is between 1 and 2
    grad = store(grad * scale)
    for layer in reversed(range(len(weights))):
        grad_weights.insert(0, kept[layer].T @ grad / scale)
        grad = grad @ weights[layer].T
        if layer:
            grad = store(grad * (kept[layer] > 0))
    return [out, grad / scale, *grad_weights]
