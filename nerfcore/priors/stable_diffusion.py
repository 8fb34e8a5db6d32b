"""Diffusion in the codes of an autoencoder, of captions: Rombach et al. 2022 (latent diffusion, Stable Diffusion)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nerfcore.errors import NerfcoreError
from nerfcore.priors.base import Batch, Player, Turn, register_prior
from nerfcore.priors.blocks.samplers import Denoise
from nerfcore.priors.blocks.stages import coder_of, until
from nerfcore.priors.ddpm import DDPM


@register_prior("stable_diffusion")
class StableDiffusion(DDPM):
    """A vector-quantised autoencoder learns in the share ``coder_span`` of the budget; then DDPM, whose network sees
    the tokens of a caption, learns what that has before it quantises, [B, code_width, *places], divided by
    its deviation (section 3.1 and appendix G). Quantising is the decoder's first step.

    coder: settings of that autoencoder, and its name as "prior".
    """

    needs = ("merges",)
    tiny = DDPM.tiny | dict(said_width=16, coder=dict(prior="vqvae", codes=32, code_width=4, widths=(16,)))
    own = dict(
        told="captions", scale=3.0, patch=1, coder=dict(prior="vqgan", codes=512, code_width=4), coder_span=0.4
    )

    def build(self) -> None:
        self.coder = coder_of(self.facts, self.config["coder"])
        self.diffuser = self.diffusing((self.coder.config["code_width"], *self.coder.places))
        self.register_buffer("deviation", torch.zeros(()))  # of codes, as the first batch has them

    def prepare(self, examples, generator: torch.Generator) -> None:
        self.coder.prepare(examples, generator)

    def players(self) -> dict[str, Player]:
        """Those of the autoencoder, then the diffusion."""
        span = self.config["coder_span"]
        return until(self.coder.players(), span) | {"diffusion": replace(super().players()["all"], span=(span, 1.0))}

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        if player != "diffusion":
            return self.coder.loss(player, batch, turn)
        with torch.no_grad():
            codes = self.coder.encoder(batch.pictures)
            if self.deviation == 0:
                self.deviation.copy_(codes.std())
        return super().loss(player, replace(batch, pictures=codes / self.deviation), turn)

    @staticmethod
    def within(denoise: Denoise) -> Denoise:
        """Codes can be anywhere."""
        return denoise

    def decode(self, codes: Tensor) -> Tensor:
        """[B, code_width, *places], of deviation 1, -> pictures [B, C, *spatial] in [-1, 1]."""
        return self.coder.decode(self.coder.codebook(codes * self.deviation).index)

    @torch.no_grad()
    def sample(self, count: int, generator, labels=None, captions: Sequence[str] | None = None) -> Tensor:
        shape = count, self.coder.config["code_width"], *self.coder.places
        return self.decode(self.draw(self.denoise(count, captions=captions), shape, generator))

    def bits(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        raise NerfcoreError("prior 'stable_diffusion' knows how likely codes are, not pictures")
