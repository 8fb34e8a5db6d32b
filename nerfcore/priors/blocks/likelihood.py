"""Distributions of a picture given what a decoder says of it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

KINDS = ("bernoulli", "gaussian", "laplace", "logistic")
HALF_LEVEL = 1 / 255  # of 256 levels between -1 and 1


class Likelihood(nn.Module):
    """log p(picture | output) of independent values, whose scale is learned, one for all (Rybkin et al. 2021).

    bernoulli: outputs are logits of (x + 1) / 2, whose cross-entropy is a likelihood where pictures are black and white
    alone. gaussian, laplace: densities around the output. logistic: probabilities of 256 levels, each the integral of a
    logistic density over its width, to infinity at both ends (Salimans et al. 2017, equation 2).
    """

    def __init__(self, kind: str):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"the likelihood must be one of {', '.join(KINDS)}, got {kind!r}")
        self.kind = kind
        self.log_scale = None if kind == "bernoulli" else nn.Parameter(torch.tensor(-1.0))

    def mean(self, output: Tensor) -> Tensor:
        """Pictures of the output of a decoder, in [-1, 1]."""
        return 2 * output.sigmoid() - 1 if self.kind == "bernoulli" else output.clamp(-1, 1)

    def forward(self, output: Tensor, pictures: Tensor) -> Tensor:
        """output and pictures [B, C, *spatial], these in [-1, 1] -> [B], in nats. Differentiable in: output, pictures
        (not of logistic), the scale."""
        if self.kind == "bernoulli":
            return ((pictures + 1) / 2 * output - softplus(output)).flatten(1).sum(1)
        scale = self.log_scale.exp()
        away = (pictures - output) / scale
        if self.kind == "gaussian":
            found = -0.5 * away.square() - self.log_scale - 0.5 * math.log(2 * math.pi)
        elif self.kind == "laplace":
            found = -away.abs() - self.log_scale - math.log(2)
        else:
            over, under = away + HALF_LEVEL / scale, away - HALF_LEVEL / scale
            inside = torch.log(-torch.expm1(-2 * HALF_LEVEL / scale))
            found = torch.where(pictures < 1 - HALF_LEVEL, logsigmoid(over), 0.0)
            found = found + torch.where(pictures > HALF_LEVEL - 1, logsigmoid(-under), 0.0)
            found = found + torch.where(pictures.abs() < 1 - HALF_LEVEL, inside, 0.0)
        return found.flatten(1).sum(1)


def gaussian_divergence(
    mean: Tensor, log_deviation: Tensor, other_mean: Tensor | float = 0.0, other_log_deviation: Tensor | float = 0.0
) -> Tensor:
    """KL from N(mean, deviation²) to another normal distribution, N(0, 1) if not said, summed over all but the first
    dimension: [B, …] -> [B], in nats (Kingma and Welling 2014, appendix B). Differentiable in: all."""
    apart, ratio = mean - other_mean, log_deviation - other_log_deviation
    each = 0.5 * ((apart * torch.as_tensor(-other_log_deviation).exp()).square() + (2 * ratio).exp() - 1) - ratio
    return each.flatten(1).sum(1)


def level_likelihood(pictures: Tensor, mean: Tensor, log_deviation: Tensor) -> Tensor:
    """log p of the nearest of 256 levels in [-1, 1] under N(mean, deviation²), which ends at both ends in infinity,
    summed over all but the first dimension: [B, …] -> [B], in nats (Ho et al. 2020, equation 13). Differentiable in:
    mean, log_deviation."""
    slope = math.sqrt(2) * log_deviation.exp()
    over, under = ((pictures - mean + side) / slope for side in (HALF_LEVEL, -HALF_LEVEL))
    below, above = 0.5 * torch.erfc(-over), 0.5 * torch.erfc(under)  # of the upper border, and of the lower one
    share = torch.where(pictures > 1 - HALF_LEVEL, above, below - 0.5 * torch.erfc(-under))
    share = torch.where(pictures < HALF_LEVEL - 1, below, share)
    return share.clamp(min=1e-12).log().flatten(1).sum(1)
