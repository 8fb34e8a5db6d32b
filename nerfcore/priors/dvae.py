"""Discrete VAE (Ramesh et al. 2021): categorical codes, relaxed while they are learned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nerfcore.priors.base import Batch, Facts, Turn, register_prior
from nerfcore.priors.vqvae import VQVAE

FALLS_UNTIL = 0.75  # of the budget; the rest is learned at the last temperature
FAINTEST = -40.0  # logarithm of a weight beside the largest: denormal numbers are slow on a CPU


@register_prior("dvae")
class DVAE(VQVAE):
    """The encoder gives logits of ``codes`` at every place; the decoder sees a mean of the codes' vectors, weighted by
    a Gumbel softmax (Jang et al. 2017, equation 2) whose temperature falls from ``hot`` to ``cold`` geometrically.
    ``beta`` weighs the divergence to the uniform distribution, in nats per place, against the mean squared error. Codes
    are read, and pictures are reconstructed, by the largest logit."""

    tiny = dict(codes=256, code_width=16, widths=(32,), hot=16.0, learning_rate=2e-2)

    def __init__(
        self, facts: Facts, codes: int = 256, code_width: int = 16, widths: Sequence[int] = (32, 64), hot: float = 1.0,
        cold: float = 1 / 16, beta: float = 1e-4, learning_rate: float = 1e-3,
    ):
        super().__init__(facts, codes, code_width, widths, "gradient", learning_rate=learning_rate)
        del self.config["learn"], self.config["commitment"]
        self.config |= dict(hot=hot, cold=cold, beta=beta)

    def encoded_width(self) -> int:
        return self.config["codes"]

    def encode(self, pictures: Tensor) -> Tensor:
        return self.encoder(pictures).argmax(1)

    def temperature(self, fraction: float) -> float:
        """At this fraction of the budget."""
        return self.config["hot"] * (self.config["cold"] / self.config["hot"]) ** min(fraction / FALLS_UNTIL, 1.0)

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        logits, temperature = self.encoder(batch.pictures), self.temperature(turn.fraction)
        weights = gumbel_softmax(logits, temperature, turn.generator)
        vectors = torch.einsum("bk...,kw->bw...", weights, self.codebook.vectors)
        error = (self.decoder(vectors) - batch.pictures).square().mean()
        log_q = logits.log_softmax(1)
        divergence = (log_q.exp() * log_q).sum(1).mean() + torch.tensor(float(self.config["codes"])).log()
        self.codebook.count(logits.argmax(1))
        return {"loss": error + self.config["beta"] * divergence, "mse": error, "divergence": divergence}


def gumbel_softmax(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Weights [B, K, …] of logits [B, K, …] along the second dimension, above 0 and with the sum 1: the nearer the
    temperature is to 0, the nearer to one choice by the logits' probabilities. Differentiable in: logits."""
    noise = torch.empty_like(logits).exponential_(generator=generator).clamp(min=1e-20).log()
    below = (logits - noise) / temperature
    below = below - below.detach().amax(1, keepdim=True)
    return below.clamp(min=FAINTEST).softmax(1)
