"""Vector-quantised autoencoder (van den Oord et al. 2017): a picture as few numbers of codes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nerfcore.priors.base import Batch, Facts, Player, Prior, Turn, register_prior
from nerfcore.priors.blocks.codebook import Codebook
from nerfcore.priors.blocks.convolution import ConvDecoder, ConvEncoder, coded_size


@register_prior("vqvae")
class VQVAE(Prior):
    """Convolutions halve the sides once for each of ``widths``; every place is one of ``codes`` vectors of
    ``code_width`` numbers, which ``learn`` by "ema" or "gradient", see
    :class:`~nerfcore.priors.blocks.codebook.Codebook`. A sample has at every place a code by how often it is chosen:
    what puts codes in order is another prior's."""

    tiny = dict(codes=32, code_width=8, widths=(16,), learning_rate=4e-3)

    def __init__(
        self, facts: Facts, codes: int = 256, code_width: int = 16, widths: Sequence[int] = (32, 64),
        learn: str = "ema", commitment: float = 0.25, learning_rate: float = 1e-3,
    ):
        super().__init__(
            facts, codes=codes, code_width=code_width, widths=list(widths), learn=learn, commitment=commitment,
            learning_rate=learning_rate,
        )
        channels, *spatial = facts.shape
        self.places, dims = torch.Size(coded_size(spatial, len(widths))), len(spatial)
        self.encoder = ConvEncoder(channels, code_width, dims, widths)
        self.codebook = Codebook(codes, code_width, learn, commitment)
        self.decoder = ConvDecoder(code_width, channels, dims, widths)

    def players(self) -> dict[str, Player]:
        return {"all": Player(list(self.parameters()), self.config["learning_rate"], final=0.02)}

    def encode(self, pictures: Tensor) -> Tensor:
        """[B, C, *spatial] in [-1, 1] -> numbers of codes [B, *spatial / 2^len(widths)]."""
        return self.codebook(self.encoder(pictures)).index

    def decode(self, index: Tensor) -> Tensor:
        """Numbers of codes -> pictures [B, C, *spatial] in [-1, 1]."""
        return self.decoder(self.codebook.lookup(index)).clamp(-1, 1)

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        quantised = self.codebook(self.encoder(batch.pictures), turn.generator)
        error = (self.decoder(quantised.vectors) - batch.pictures).square().mean()
        return {"loss": error + quantised.loss, "mse": error, "codebook": quantised.loss}

    def reconstruct(self, pictures: Tensor) -> Tensor:
        return self.decode(self.encode(pictures))

    @torch.no_grad()
    def sample(self, count, generator, labels=None, captions=None) -> Tensor:
        usage = self.codebook.usage
        drawn = torch.multinomial(usage + 1e-12, count * self.places.numel(), True, generator=generator)
        return self.decode(drawn.view(count, *self.places))
