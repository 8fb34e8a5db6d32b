"""Generators of styles: Karras et al. 2019, with the layers of Karras et al. 2020."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerfcore.priors.base import Batch, register_prior
from nerfcore.priors.blocks.adversarial import AdversarialPrior
from nerfcore.priors.blocks.discriminator import ResidualDiscriminator, strided_discriminator
from nerfcore.priors.blocks.style import Mapping, StyleGenerator, Synthesis


@register_prior("stylegan")
class StyleGAN(AdversarialPrior):
    """latent, style_width, depth: of the mapping; widths: channels from fine to coarse; constant, pictures: of the
    :class:`~nerfcore.priors.blocks.style.Synthesis`; discriminator_widths: of a discriminator as DCGAN's, or none, for
    a residual one with the generator's widths, which wants R1; mixing: share of training pictures whose fine layers
    have a second style; truncation: of samples, 1 for none."""

    batch_size = 32
    tiny = dict(
        latent=4, style_width=16, depth=2, widths=(8, 16), discriminator_widths=(), mixing=0.0, learning_rate=1e-2,
        judging=1.0, r1=1.0, r1_every=2, betas=(0.0, 0.99), average=0.8,
    )  # fmt: skip
    defaults = dict(
        latent=64, style_width=128, depth=2, widths=(16, 32, 64), discriminator_widths=(32, 64), mixing=0.5,
        truncation=1.0, learning_rate=2e-3, judging=0.1, r1_every=16, average=0.998, constant=256, pictures=1,
    )  # fmt: skip
    synthesis: type[nn.Module] = Synthesis

    def build(
        self, latent: int, style_width: int, depth: int, widths: Sequence[int], discriminator_widths: Sequence[int],
        mixing: float, truncation: float, **synthesis: int,
    ) -> None:
        shape, self.mixing, self.truncation = self.facts.shape, mixing, truncation
        synthesis = self.synthesis(shape, widths, style_width, **synthesis)
        self.generator = StyleGenerator(latent, Mapping(latent, style_width, depth), synthesis)
        if discriminator_widths:
            self.discriminator = strided_discriminator(shape, discriminator_widths)
        else:
            self.discriminator = ResidualDiscriminator(shape, widths)

    def networks(self) -> list[nn.Module]:
        return [self.generator.mapping, self.generator.synthesis, self.discriminator]

    def fakes(self, batch: Batch, random: torch.Generator) -> Tensor:
        return self.generator.synthesis(self.mixed_styles(len(batch.pictures), random), random)[-1]

    def mixed_styles(self, count: int, random: torch.Generator) -> Tensor:
        """Two styles, the second of the layers from a random one on, in a share of the pictures."""
        first, second = (self.generator.styles(count, random) for _ in range(2))
        layers = first.shape[1]
        start = torch.randint(1, max(layers, 2), (count,), generator=random, device=random.device)
        mixes = torch.rand(count, generator=random, device=random.device) < self.mixing
        start = torch.where(mixes, start, layers).to(first.device)
        return torch.where((torch.arange(layers, device=first.device) >= start[:, None])[..., None], second, first)

    def verdict(self, pictures: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        return (self.discriminator(pictures),)

    @torch.no_grad()
    def sample(self, count, generator, labels=None, captions=None) -> Tensor:
        return self.painter(count, generator, self.truncation)

    @torch.no_grad()
    def mix(self, coarse: Tensor, fine: Tensor, start: int, random: torch.Generator) -> Tensor:
        """Pictures with styles [B, num_layers, style_width] of ``coarse`` in layers before ``start``, and of ``fine``
        from it on, as ``painter.styles`` draws them."""
        layer = torch.arange(coarse.shape[1], device=coarse.device)[:, None]
        return self.painter.synthesis(torch.where(layer < start, coarse, fine), random)[-1]
