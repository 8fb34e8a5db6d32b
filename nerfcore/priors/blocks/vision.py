"""Pictures as patches that look at each other: the networks of Yu et al. 2022 (ViT-VQGAN)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerfcore.priors.blocks.attention import TransformerBlock
from nerfcore.priors.blocks.convolution import TRANSPOSED, convolution


class PatchTransformer(nn.Module):
    """[B, width, *places] -> the same: places learn where they are and look at each other."""

    def __init__(self, width: int, places: Sequence[int], depth: int, heads: int):
        super().__init__()
        self.place = nn.Parameter(0.02 * torch.randn(width, *places))
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Differentiable in: x."""
        x, places = (x + self.place).flatten(2).mT, x.shape[2:]
        for block in self.blocks:
            x = block(x)
        return self.norm(x).mT.unflatten(2, places)


def patch_encoder(
    channels: int, outputs: int, places: Sequence[int], patch: int, width: int, depth: int, heads: int
) -> nn.Sequential:
    """Pictures [B, channels, *spatial] -> [B, outputs, *places], spatial patch times places."""
    conv = convolution(len(places))
    enter = conv(channels, width, patch, stride=patch)
    return nn.Sequential(enter, PatchTransformer(width, places, depth, heads), conv(width, outputs, 1))


def patch_decoder(
    inputs: int, channels: int, places: Sequence[int], patch: int, width: int, depth: int, heads: int
) -> nn.Sequential:
    """The way back."""
    leave = TRANSPOSED[len(places) - 1](width, channels, patch, stride=patch)
    enter = convolution(len(places))(inputs, width, 1)
    return nn.Sequential(enter, PatchTransformer(width, places, depth, heads), leave)
