"""Initial weights, by the name that a paper gives them."""

from __future__ import annotations

from torch import nn

WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
DEVIATION = 0.02  # of Radford et al. 2016


def initialise(module: nn.Module, kind: str) -> nn.Module:
    """Draws the weights of all linear and convolution layers within, from the global generator; biases become 0, and
    the gains of norms 1. Returns the module.

    xavier: uniform, variance ``2 / (inputs + outputs)`` (Glorot and Bengio 2010, equation 16); normal: deviation 0.02
    (Radford et al. 2016), and gains of norms around 1 by the same.
    """
    if kind not in ("xavier", "normal"):
        raise ValueError(f"kind must be xavier or normal, got {kind!r}")
    for layer in module.modules():
        if isinstance(layer, WEIGHTED):
            weight = layer.weight
            nn.init.xavier_uniform_(weight) if kind == "xavier" else nn.init.normal_(weight, 0.0, DEVIATION)
        elif isinstance(layer, NORMS) and layer.weight is not None:
            nn.init.normal_(layer.weight, 1.0, DEVIATION) if kind == "normal" else nn.init.ones_(layer.weight)
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
