"""Captions as what a prior can be conditioned on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from nerfcore.blocks.encoding import position_encoding
from nerfcore.data.captions import PAD, Tokeniser
from nerfcore.priors.blocks.attention import TransformerBlock


class TextEncoder(nn.Module):
    """What captions say, by a transformer whose blocks normalise first, on tokens with the positions of Vaswani et al.
    2017.

    merges: of the captions' :class:`~nerfcore.data.captions.Tokeniser`. length: the most tokens of a caption, with its
    end.
    """

    def __init__(
        self, merges: Iterable[Sequence[int]], width: int = 128, depth: int = 3, heads: int = 4, length: int = 48
    ):
        super().__init__()
        self.tokeniser, self.length = Tokeniser(merges), length
        self.embedding = nn.Embedding(self.tokeniser.size, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.register_buffer("position", position_encoding(torch.arange(length), width), persistent=False)

    def forward(self, captions: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens [B, T, width], T those of the longest caption; pooled [B, width], the state at each caption's end; and
        mask, bool [B, T], False where a caption is over. Differentiable in the parameters."""
        tokens = self.tokeniser.encode(captions, self.length).to(self.position.device)
        tokens = tokens[:, : int((tokens != PAD).sum(1).max())]
        mask = tokens != PAD
        x = self.embedding(tokens) + self.position[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, mask=mask)
        x = self.norm(x)
        return x, x[torch.arange(len(x)), mask.sum(1) - 1], mask
