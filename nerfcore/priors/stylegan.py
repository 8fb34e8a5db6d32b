"""Generators of styles: Karras et al. 2019, with the layers and penalties of Karras et al. 2020."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerfcore.priors.base import Batch, Turn, register_prior
from nerfcore.priors.blocks.adversarial import AdversarialPrior
from nerfcore.priors.blocks.discriminator import ResidualDiscriminator
from nerfcore.priors.blocks.style import Mapping, Synthesis

CENTRE_COUNT = 4096  # styles whose mean truncation pulls to
PATH_EVERY = 8  # steps


class StyleGenerator(nn.Module):
    """Noise to styles to pictures: ``mapping`` and ``synthesis``."""

    def __init__(self, mapping: Mapping, synthesis: nn.Module, latent: int):
        super().__init__()
        self.mapping, self.synthesis, self.latent = mapping, synthesis, latent

    def styles(self, count: int, random: torch.Generator) -> Tensor:
        """[count, num_layers, style_width], the same in all layers."""
        noise = torch.randn(count, self.latent, generator=random, device=random.device)
        style = self.mapping(noise.to(self.mapping[0].weight))
        return style[:, None].repeat(1, self.synthesis.num_layers, 1)

    def forward(self, count: int, random: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Pictures [count, C, *spatial], not clipped, of styles that are ``truncation`` times as far from their mean
        (Karras et al. 2019, appendix B)."""
        styles = self.styles(count, random)
        if truncation != 1:
            styles = torch.lerp(self.centre(), styles, truncation)
        return self.synthesis(styles, random)[-1]

    def centre(self) -> Tensor:
        """The mean style [style_width], of noise that is always the same."""
        return self.styles(CENTRE_COUNT, torch.Generator().manual_seed(0))[:, 0].mean(0)


@register_prior("stylegan")
class StyleGAN(AdversarialPrior):
    """latent, style_width, depth: of the mapping; widths: channels from fine to coarse, as of the discriminator;
    mixing: share of training pictures whose fine layers have a second style; path_length: weight of that penalty
    (Karras et al. 2020, equation 4), 0 for none; truncation: of samples, 1 for none.
    """

    batch_size = 32
    tiny = dict(latent=4, style_width=8, depth=2, widths=(8, 8), path_length=1.0)
    defaults = dict(
        latent=64, style_width=64, depth=4, widths=(16, 32, 64), mixing=0.9, path_length=0.0, truncation=1.0,
        learning_rate=2e-3, betas=(0.0, 0.99), r1=1.0, r1_every=16, augment=True, average=0.998,
    )  # fmt: skip

    def build(
        self, latent: int, style_width: int, depth: int, widths: Sequence[int], mixing: float, path_length: float,
        truncation: float,
    ) -> None:
        self.mixing, self.path_length, self.truncation = mixing, path_length, truncation
        synthesis = self.made_synthesis(widths, style_width)
        self.generator = StyleGenerator(Mapping(latent, style_width, depth), synthesis, latent)
        self.discriminator = ResidualDiscriminator(self.facts.shape, widths)
        self.register_buffer("path_mean", torch.zeros(()))

    def made_synthesis(self, widths: Sequence[int], style_width: int) -> nn.Module:
        """Styles to a list of pictures, of which the last one is whole."""
        return Synthesis(self.facts.shape, widths, style_width)

    def fakes(self, batch: Batch, random: torch.Generator) -> Tensor:
        return self.generator.synthesis(self.mixed_styles(len(batch.pictures), random), random)[-1]

    def mixed_styles(self, count: int, random: torch.Generator) -> Tensor:
        """Two styles, the second of the layers from a random one on, in a share of the pictures."""
        first, second = (self.generator.styles(count, random) for _ in range(2))
        layers = first.shape[1]
        start = torch.randint(1, layers, (count,), generator=random, device=random.device)
        mixes = torch.rand(count, generator=random, device=random.device) < self.mixing
        start = torch.where(mixes, start, layers).to(first.device)
        return torch.where((torch.arange(layers, device=first.device) >= start[:, None])[..., None], second, first)

    def verdict(self, pictures: Tensor, batch: Batch) -> Tensor:
        return self.discriminator([pictures])

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        found = super().loss(player, batch, turn)
        if player == "generator" and self.path_length and turn.step % PATH_EVERY == 0:
            count = max(len(batch.pictures) // 2, 1)
            styles = self.mixed_styles(count, turn.generator)
            lengths = path_lengths(self.generator.synthesis(styles, turn.generator)[-1], styles, turn.generator)
            self.path_mean.lerp_(lengths.detach().mean(), 0.01 if self.path_mean else 1.0)
            found["loss"] = found["loss"] + self.path_length * PATH_EVERY * (lengths - self.path_mean).square().mean()
        return found

    @torch.no_grad()
    def sample(self, count, generator, labels=None, captions=None) -> Tensor:
        with self.painter() as painter:
            return painter(count, generator, self.truncation).clamp(-1, 1)

    @torch.no_grad()
    def mix(self, coarse: Tensor, fine: Tensor, start: int, random: torch.Generator) -> Tensor:
        """Pictures with styles [B, num_layers, style_width] of ``coarse`` in layers before ``start``, and of ``fine``
        from it on, as ``generator.styles`` draws them."""
        layer = torch.arange(coarse.shape[1], device=coarse.device)[:, None]
        with self.painter() as painter:
            return painter.synthesis(torch.where(layer < start, coarse, fine), random)[-1].clamp(-1, 1)


def path_lengths(pictures: Tensor, styles: Tensor, random: torch.Generator) -> Tensor:
    """[B]: norms of ``Jᵀ y``, J the Jacobian of pictures [B, C, *spatial] in their styles [B, layers, width] and y
    normal noise over the root of the number of places (Karras et al. 2020, equation 4). Differentiable in: what
    pictures came from."""
    noise = torch.randn(pictures.shape, generator=random, device=random.device).to(pictures)
    product = (pictures * noise).sum() / math.sqrt(math.prod(pictures.shape[2:]))
    (gradient,) = torch.autograd.grad(product, styles, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()
