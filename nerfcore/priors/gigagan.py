"""Pictures of captions by an adversarial network: Kang et al. 2023 (GigaGAN), at the size of a small machine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerfcore.priors.base import Batch, register_prior
from nerfcore.priors.blocks.adversarial import AdversarialPrior
from nerfcore.priors.blocks.discriminator import ResidualDiscriminator, pyramid_of
from nerfcore.priors.blocks.style import Mapping, StyleGenerator, Synthesis
from nerfcore.priors.text import TextEncoder


class TextGenerator(StyleGenerator):
    """Pictures of all levels, from coarse to fine, of styles and tokens of captions, by an encoder of its own."""

    def __init__(self, text: TextEncoder, *others):
        super().__init__(*others)
        self.text = text

    def forward(self, captions: Sequence[str], random: torch.Generator) -> list[Tensor]:
        tokens, said, mask = self.text(captions)
        return self.synthesis(self.styles(len(said), random, said), random, tokens, mask)


@register_prior("gigagan")
class GigaGAN(AdversarialPrior):
    """A generator of styles whose kernels are mixed for each picture out of a bank, whose coarser levels look at
    themselves and at the caption, and a discriminator that sees the picture of every level and is shown wrong captions
    too (section 3.3). Each of the two has a text encoder of its own, which learns with it.

    latent, style_width, depth: of the mapping from noise and caption; widths: channels from fine to coarse; bank:
    kernels of a layer; attend: levels of up to so many places have attention; text_width, text_depth: of the encoders.
    """

    batch_size = 32
    needs = ("merges",)
    tiny = dict(
        latent=4, style_width=16, depth=2, widths=(8, 8), bank=2, attend=16, text_width=8, text_depth=1,
        learning_rate=1e-2, r1=0.1, average=0.8, final=1.0,
    )  # fmt: skip
    defaults = dict(
        latent=64, style_width=128, depth=3, widths=(16, 32, 64, 64), bank=4, attend=64, text_width=64, text_depth=2,
        learning_rate=1e-3, betas=(0.0, 0.99), r1=0.5, r1_every=16, average=0.998, final=0.1,
    )  # fmt: skip

    def build(
        self, latent: int, style_width: int, depth: int, widths: Sequence[int], bank: int, attend: int,
        text_width: int, text_depth: int,
    ) -> None:
        self.levels, shape = len(widths), self.facts.shape
        texts = [TextEncoder(self.facts.merges, text_width, text_depth) for _ in range(2)]
        synthesis = Synthesis(shape, widths, style_width, bank=bank, attend=attend, context_width=text_width)
        self.generator = TextGenerator(texts[0], latent, Mapping(latent + text_width, style_width, depth), synthesis)
        judges = ResidualDiscriminator(shape, widths, text_width, multi_scale=True)
        self.discriminator = nn.ModuleDict(dict(text=texts[1], pictures=judges))

    def fakes(self, batch: Batch, random: torch.Generator) -> list[Tensor]:
        """From fine to coarse."""
        return self.generator(batch.captions, random)[::-1]

    def verdict(self, pictures: Tensor | list[Tensor], batch: Batch) -> tuple[Tensor, ...]:
        """With the caption of a picture, and with that of another one of the batch."""
        said = self.discriminator["text"](batch.captions)[1]
        pyramid = pyramid_of(pictures, self.levels) if isinstance(pictures, Tensor) else pictures
        return self.discriminator["pictures"](pyramid, torch.stack((said, said.roll(1, 0)), 1)).unbind(1)

    @torch.no_grad()
    def sample(self, count, generator, labels=None, captions=None) -> Tensor:
        self.check_captions(captions, count)
        return self.painter(captions, generator)[-1]
