"""Initial weights, by the name that a paper gives them."""

from __future__ import annotations

import math

from torch import nn

WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
KINDS = ("xavier", "he", "orthogonal", "normal")


def initialise(module: nn.Module, kind: str, gain: float = 1.0) -> nn.Module:
    """Draws the weights of all linear and convolution layers within, from the global generator; biases become 0, and
    the gains of norms 1. Returns the module.

    xavier: uniform, variance ``2 / (inputs + outputs)`` (Glorot and Bengio 2010, equation 16); he: normal, variance
    ``2 / inputs`` (He et al. 2015, equation 10); orthogonal: rows or columns are orthonormal (Saxe et al. 2014);
    normal: deviation 0.02 (Radford et al. 2016), and gains of norms around 1 by the same. All times ``gain``.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    for layer in module.modules():
        if isinstance(layer, WEIGHTED):
            if kind == "xavier":
                nn.init.xavier_uniform_(layer.weight, gain)
            elif kind == "he":
                nn.init.normal_(layer.weight, std=gain * math.sqrt(2 / layer.weight[0].numel()))
            elif kind == "orthogonal":
                nn.init.orthogonal_(layer.weight, gain)
            else:
                nn.init.normal_(layer.weight, std=0.02 * gain)
        elif isinstance(layer, NORMS) and layer.weight is not None:
            nn.init.normal_(layer.weight, 1.0, 0.02 * gain) if kind == "normal" else nn.init.ones_(layer.weight)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return module


def zero(layer: nn.Module) -> nn.Module:
    """The layer with weights and biases of 0: a residual block that ends in it begins as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
