"""Discrete VAE (Ramesh et al. 2021): categorical codes, relaxed while they are learned."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerfcore.priors.base import Batch, Facts, Turn, register_prior
from nerfcore.priors.vqvae import VQVAE

FALLS_UNTIL = 0.75  # of the budget; the rest is learned at the last temperature
PRECISION = 10.0  # at first
FAINTEST = -40.0  # logarithm of a weight beside the largest: denormal numbers are slow on a CPU


@register_prior("dvae")
class DVAE(VQVAE):
    """What the encoder says of a place is the distribution of its code: logits are minus its squared distances to the
    codes' vectors, times a precision that is learned (Takida et al. 2022, equation 6). The decoder sees a mean of the
    vectors, weighted by a Gumbel softmax (Jang et al. 2017, equation 2) whose temperature falls from ``hot`` to
    ``cold`` geometrically. ``beta`` weighs the divergence to the uniform distribution, in nats per place, against the
    mean squared error. Codes are read, and pictures are reconstructed, by the largest logit."""

    tiny = VQVAE.tiny | dict(cold=1 / 16)

    def __init__(
        self, facts: Facts, codes: int = 256, code_width: int = 16, widths: Sequence[int] = (32, 64), hot: float = 1.0,
        cold: float = 0.5, beta: float = 1e-4, commitment: float = 0.25, learning_rate: float = 1e-3,
    ):
        super().__init__(facts, codes, code_width, widths, "ema", commitment, learning_rate)
        del self.config["learn"]
        self.config |= dict(hot=hot, cold=cold, beta=beta)
        self.log_precision = nn.Parameter(torch.tensor(PRECISION).log())

    def temperature(self, fraction: float) -> float:
        """At this fraction of the budget."""
        return self.config["hot"] * (self.config["cold"] / self.config["hot"]) ** min(fraction / FALLS_UNTIL, 1.0)

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        encoded = self.encoder(batch.pictures)
        quantised = self.codebook(encoded, turn.generator)
        logits = -self.log_precision.exp() * self.codebook.distances(encoded)
        weights = gumbel_softmax(logits, self.temperature(turn.fraction), turn.generator)
        error = (self.decoder(self.codebook.mixed(weights)) - batch.pictures).square().mean()
        log_q = logits.log_softmax(1)
        divergence = (log_q.exp() * log_q).sum(1).mean() + math.log(self.config["codes"])
        loss = error + quantised.loss + self.config["beta"] * divergence
        return {"loss": loss, "mse": error, "divergence": divergence, "precision": self.log_precision.exp()}


def gumbel_softmax(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Weights [B, K, …] of logits [B, K, …] along the second dimension, above 0 and with the sum 1: the nearer the
    temperature is to 0, the nearer to one choice by the logits' probabilities. Differentiable in: logits."""
    noise = torch.empty_like(logits).exponential_(generator=generator).clamp(min=1e-20).log()
    below = (logits - noise) / temperature
    below = below - below.detach().amax(1, keepdim=True)
    return below.clamp(min=FAINTEST).softmax(1)
