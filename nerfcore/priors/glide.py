"""Pictures of captions, and changes to pictures by captions, by diffusion (Nichol et al. 2021, GLIDE)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nerfcore.errors import NerfcoreError
from nerfcore.priors.base import Batch, Turn, register_prior
from nerfcore.priors.blocks.guidance import filled
from nerfcore.priors.blocks.samplers import Denoise
from nerfcore.priors.ddpm import DDPM

LEAST_HOLE = 0.25  # of a side


@register_prior("glide")
class GLIDE(DDPM):
    """DDPM with captions and guidance without a classifier, whose network also sees a picture with a hole and the hole
    (section 2.3), so that it fills it with what a caption says. ``whole``: share of training in which the hole is all.
    """

    needs = ("merges",)
    tiny = DDPM.tiny | dict(said_width=16)
    own = dict(told="captions", scale=3.0, whole=0.5)

    def build(self) -> None:
        self.diffuser = self.diffusing(self.facts.shape, self.facts.shape[0] + 1)

    def seen(self, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        """Boxes of random sides and places are holes, or the whole picture is."""
        count, *spatial = batch.pictures[:, 0].shape
        hole, random = batch.pictures.new_ones(count, 1, *spatial), turn.generator

        def drawn(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=random, device=random.device).to(hole)

        part = drawn(count) >= self.config["whole"]
        for axis, side in enumerate(spatial):
            width = LEAST_HOLE + (1 - LEAST_HOLE) * drawn(count, 1)
            first = (1 - width) * drawn(count, 1)
            place = (torch.arange(side, device=hole.device) + 0.5) / side
            inside = (place > first) & (place < first + width) | ~part[:, None]
            hole = hole * inside.view(count, 1, *[side if i == axis else 1 for i in range(len(spatial))])
        return {"beside": self.beside(batch.pictures, hole)}

    def beside(self, pictures: Tensor, hole: Tensor) -> Tensor:
        """[B, C + 1, *spatial]: what the network sees beside noise: pictures with their holes, and these."""
        return torch.cat((pictures * (1 - hole), hole.expand_as(pictures[:, :1])), 1)

    def denoise(self, count, labels=None, captions=None, scale=None, given=None, **seen) -> Denoise:
        """As that of DDPM. Where nothing is seen the hole is all."""
        if not seen:
            nothing = torch.zeros(count, *self.facts.shape, device=self.device)
            seen = {"beside": self.beside(nothing, torch.ones_like(nothing[:, :1]))}
        return super().denoise(count, labels, captions, scale, given, **seen)

    @torch.no_grad()
    def edit(self, pictures: Tensor, hole: Tensor, captions: Sequence[str], generator: torch.Generator) -> Tensor:
        """Pictures [B, C, *spatial] whose places with hole [B, 1, *spatial] 1 are drawn anew, so that the whole is what
        captions say. All others stay as they are, to the bit."""
        if len(captions) != len(pictures):
            raise NerfcoreError(f"each picture needs a caption; got {len(captions)} for {len(pictures)} pictures")
        denoise = self.denoise(len(pictures), captions=captions, beside=self.beside(pictures, hole))
        made = self.draw(filled(denoise, pictures, hole), pictures.shape, generator).clamp(-1, 1)
        return torch.where(hole > 0, made, pictures)
