"""A generator of styles out of transformers: Zhang et al. 2022 (StyleSwin)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerfcore.priors.base import register_prior
from nerfcore.priors.blocks.convolution import coded_size
from nerfcore.priors.blocks.style import ToPicture, double
from nerfcore.priors.blocks.windows import StyleBlock, grid_encoding
from nerfcore.priors.stylegan import StyleGAN

PER_HEAD = 16  # channels, about
BLOCKS = 2  # a level


@register_prior("styleswin")
class StyleSwin(StyleGAN):
    """StyleGAN with another synthesis: blocks of attention within windows, which style by adaptive norms. Windows are
    as large as the coarsest level, so that they divide all others."""

    tiny = dict(latent=4, style_width=8, depth=2, widths=(8, 8))
    defaults = StyleGAN.defaults | dict(widths=(16, 32, 64), learning_rate=1e-3, mixing=0.0, final=0.1)

    def made_synthesis(self, widths: Sequence[int], style_width: int) -> nn.Module:
        return SwinSynthesis(self.facts.shape, widths, style_width)


class SwinSynthesis(nn.Module):
    """From a learned constant to a picture that each level adds to; see
    :class:`~nerfcore.priors.blocks.style.Synthesis`, whose forward this one has but for captions."""

    def __init__(self, shape: Sequence[int], widths: Sequence[int], style_width: int):
        super().__init__()
        channels, *spatial = shape
        back, dims = list(reversed(widths)), len(spatial)
        window = coded_size(spatial, len(widths) - 1)
        sides = [tuple(side * 2**level for side in window) for level in range(len(back))]
        self.constant = nn.Parameter(torch.randn(*window, back[0]))
        self.widen = nn.ModuleList(nn.Linear(a, b) for a, b in zip(back, back[1:], strict=False))
        self.blocks = nn.ModuleList(
            StyleBlock(width, style_width, max(width // PER_HEAD, 2), window, side)
            for width, side in zip(back, sides, strict=True)
            for _ in range(BLOCKS)
        )
        self.to_picture = nn.ModuleList(ToPicture(width, channels, dims, style_width) for width in back)
        for level, (width, side) in enumerate(zip(back, sides, strict=True)):
            self.register_buffer(f"position{level}", grid_encoding(side, width), persistent=False)

    @property
    def num_layers(self) -> int:
        return len(self.blocks)

    def forward(self, styles: Tensor, random: torch.Generator) -> list[Tensor]:
        x, pictures = self.constant.expand(len(styles), *self.constant.shape), []
        for level, to_picture in enumerate(self.to_picture):
            if level:
                x = self.widen[level - 1](double(x.movedim(-1, 1)).movedim(1, -1))
            x = x + getattr(self, f"position{level}")
            for number in range(BLOCKS * level, BLOCKS * (level + 1)):
                x = self.blocks[number](x, styles[:, number])
            before = pictures[-1] if pictures else None
            pictures.append(to_picture(x.movedim(-1, 1), styles[:, number], before))
        return pictures
