"""Variational autoencoder (Kingma and Welling 2014)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nerfcore.priors.autoencoder import code_networks
from nerfcore.priors.base import Batch, Facts, Player, Prior, Turn, register_prior
from nerfcore.priors.blocks.likelihood import Likelihood, gaussian_divergence

LEAST_LOG_DEVIATION = -6.0  # of a code, so that nothing overflows early on


@register_prior("vae")
class VAE(Prior):
    """A Gaussian code of ``code`` numbers whose prior is N(0, 1). ``beta`` weighs the divergence (Higgins et al. 2017),
    1 makes the loss minus the evidence lower bound, in nats per picture. ``likelihood``: see
    :class:`~nerfcore.priors.blocks.likelihood.Likelihood`. ``network``, ``widths``: as of the autoencoder."""

    batch_size = 128
    tiny = dict(code=8, widths=(64,))

    def __init__(
        self, facts: Facts, code: int = 32, network: str = "mlp", widths: Sequence[int] = (512, 256),
        likelihood: str = "gaussian", beta: float = 1.0, learning_rate: float = 1e-3,
    ):
        super().__init__(
            facts, code=code, network=network, widths=list(widths), likelihood=likelihood, beta=beta,
            learning_rate=learning_rate,
        )
        self.likelihood = Likelihood(likelihood)
        shape, out = facts.shape, facts.shape[0]
        self.encoder, self.decoder = code_networks(shape, code, out, network, widths, code_values=2 * code)

    def players(self) -> dict[str, Player]:
        return {"all": Player(list(self.parameters()), self.config["learning_rate"], final=0.02)}

    def encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the deviation of the codes [B, code] of pictures [B, C, *spatial]."""
        mean, log_deviation = self.encoder(pictures).chunk(2, 1)
        return mean, log_deviation.clamp(min=LEAST_LOG_DEVIATION)

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        mean, log_deviation = self.encode(batch.pictures)
        noise = torch.randn(mean.shape, generator=turn.generator, device=mean.device)
        likelihood = self.likelihood(self.decoder(mean + log_deviation.exp() * noise), batch.pictures).mean()
        divergence = gaussian_divergence(mean, log_deviation).mean()
        loss = self.config["beta"] * divergence - likelihood
        return {"loss": loss, "divergence": divergence, "log_likelihood": likelihood}

    @torch.no_grad()
    def bounds(self, pictures: Tensor, samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Two lower bounds of log p of each picture, [B] and [B], in nats, from the same codes: the evidence lower
        bound, the mean of their log weights, and that of importance weighting, the log of the mean of their weights
        (Burda et al. 2016, equation 8). The first is never above the second, and this rises to log p with samples."""
        mean, log_deviation = self.encode(pictures)
        weights = []
        for _ in range(samples):
            noise = torch.randn(mean.shape, generator=generator, device=mean.device)
            code = mean + log_deviation.exp() * noise
            of_code = (0.5 * (noise.square() - code.square()) + log_deviation).sum(1)  # log p(code) - log q(code)
            weights.append(self.likelihood(self.decoder(code), pictures) + of_code)
        every = torch.stack(weights).double()
        return every.mean(0), every.logsumexp(0) - math.log(samples)

    def reconstruct(self, pictures: Tensor) -> Tensor:
        return self.likelihood.mean(self.decoder(self.encode(pictures)[0]))

    @torch.no_grad()
    def sample(self, count, generator, labels=None, captions=None) -> Tensor:
        code = torch.randn(count, self.config["code"], generator=generator, device=self.device)
        return self.likelihood.mean(self.decoder(code))
