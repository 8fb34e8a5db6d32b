"""A generator of styles out of transformers: Zhang et al. 2022 (StyleSwin)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerfcore.priors.base import register_prior
from nerfcore.priors.blocks.convolution import coded_size
from nerfcore.priors.blocks.style import ToPictures, double
from nerfcore.priors.blocks.windows import StyleBlock, grid_encoding
from nerfcore.priors.stylegan import StyleGAN

PER_HEAD = 16  # channels, about
BLOCKS = 2  # a level


class SwinSynthesis(nn.Module):
    """From a learned constant to a picture that each level adds to, as :class:`~nerfcore.priors.blocks.style.Synthesis`
    can. Windows are as large as the coarsest level, so that they divide all others."""

    def __init__(self, shape: Sequence[int], widths: Sequence[int], style_width: int):
        super().__init__()
        (channels, *spatial), back = shape, list(reversed(widths))
        window = coded_size(spatial, len(widths) - 1)
        self.constant = nn.Parameter(torch.randn(*window, back[0]))
        self.widen = nn.ModuleList(nn.Linear(a, b) for a, b in zip(back, back[1:], strict=False))
        self.blocks = nn.ModuleList()
        for level, width in enumerate(back):
            side = tuple(places * 2**level for places in window)
            heads = max(width // PER_HEAD, 2)
            self.blocks.extend(StyleBlock(width, style_width, heads, window, side) for _ in range(BLOCKS))
            self.register_buffer(f"position{level}", grid_encoding(side, width), persistent=False)
        self.to_pictures = ToPictures(back, channels, len(spatial), style_width)
        self.num_layers = len(self.blocks)

    def forward(self, styles: Tensor, random: torch.Generator) -> list[Tensor]:
        """As that of Synthesis, but for captions. Differentiable in: styles."""
        x, features = self.constant.expand(len(styles), *self.constant.shape), []
        for number, block in enumerate(self.blocks):
            level, style = number // BLOCKS, styles[:, number]
            if number % BLOCKS == 0:
                x = self.widen[level - 1](double(x.movedim(-1, 1)).movedim(1, -1)) if level else x
                x = x + getattr(self, f"position{level}")
            x = block(x, style)
            if number % BLOCKS == BLOCKS - 1:
                features.append(x.movedim(-1, 1))
        return self.to_pictures(features, styles.unbind(1)[BLOCKS - 1 :: BLOCKS])


@register_prior("styleswin")
class StyleSwin(StyleGAN):
    """StyleGAN with another synthesis: blocks of attention within windows, which style by adaptive norms."""

    tiny = StyleGAN.tiny | dict(learning_rate=4e-3, r1=0.3, average=0.9, final=1.0)
    defaults = {name: value for name, value in StyleGAN.defaults.items() if name not in ("constant", "pictures")}
    defaults |= dict(learning_rate=1e-3, judging=0.2, mixing=0.0, final=0.1)
    synthesis = SwinSynthesis
