"""Sparse autoencoder: a code of more numbers than needed, of which few are active."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize, relu

from nerfcore.priors.autoencoder import Autoencoder
from nerfcore.priors.base import Batch, Facts, Turn, register_prior

BARELY = 1e-4  # activations are kept this far from 0 and 1 in the divergence
CONTROL = 0.02  # how fast the weight of the L1 penalty follows how far activations are from their target


@register_prior("sparse_ae")
class SparseAutoencoder(Autoencoder):
    """One layer to the code and one back, whose mean activation over the examples is held at ``target``.

    ``penalty``: "kl", codes are sigmoids, and ``weight`` times the divergence of Bernoulli variables from the target to
    each unit's mean over the batch is added to a picture's squared error (Lee et al. 2008, Ng 2011); or "l1", codes are
    ReLUs on decoder columns of length 1, which a small code cannot evade (Olshausen and Field 1996), and the penalty's
    weight, ``weight`` at first, is what makes the mean activation ``target``.
    """

    tiny = dict(code=64, target=0.1)

    def __init__(
        self, facts: Facts, code: int = 1024, penalty: str = "kl", target: float = 0.1, weight: float = 0.5,
        learning_rate: float = 1e-3,
    ):
        if penalty not in ("kl", "l1"):
            raise ValueError(f"penalty must be kl or l1, got {penalty!r}")
        super().__init__(facts, code, "mlp", (), learning_rate=learning_rate)
        self.config = dict(code=code, penalty=penalty, target=target, weight=weight, learning_rate=learning_rate)
        self.register_buffer("weight", torch.tensor(float(weight)))
        last = self.decoder[0]
        nn.init.constant_(self.encoder[-1].bias, math.log(target / (1 - target)) if penalty == "kl" else 0.0)
        nn.init.normal_(last.weight, std=1 / math.sqrt(last.out_features))

    def encode(self, pictures: Tensor) -> Tensor:
        """[B, C, *spatial] in [-1, 1] -> [B, code], 0 or more; of "kl" below 1."""
        code = self.encoder(pictures)
        return code.sigmoid() if self.config["penalty"] == "kl" else relu(code)

    def decode(self, codes: Tensor) -> Tensor:
        if self.config["penalty"] == "kl":
            return self.decoder(codes)
        back, shape = self.decoder
        return shape(linear(codes, normalize(back.weight, dim=0), back.bias))

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        codes = self.encode(batch.pictures)
        self._remember(codes.detach())
        squares = (self.decode(codes) - batch.pictures).square()
        if self.config["penalty"] == "kl":
            penalty = bernoulli_divergence(self.config["target"], codes.mean(0)).sum()
        else:
            penalty = codes.abs().sum(1).mean()
        error, activation = squares.flatten(1).sum(1).mean(), codes.mean()
        if self.config["penalty"] == "l1":
            self.weight.mul_((CONTROL * (activation.detach() / self.config["target"] - 1).clamp(-1, 1)).exp())
        return {"loss": error + self.weight * penalty, "mse": squares.mean(), "activation": activation}


def bernoulli_divergence(target: float, mean: Tensor) -> Tensor:
    """KL in nats from Bernoulli variables of probability ``target`` to those of ``mean`` [...], in (0, 1).
    Differentiable in: mean."""
    mean = mean.clamp(BARELY, 1 - BARELY)
    return target * (math.log(target) - mean.log()) + (1 - target) * (math.log(1 - target) - (1 - mean).log())
