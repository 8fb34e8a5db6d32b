"""Pictures and captions as points of one sphere, near where they belong together (CLIP, Radford et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from nerfcore.priors.base import Batch, Facts, Player, Prior, Turn, register_prior
from nerfcore.priors.blocks.convolution import ConvEncoder, coded_size
from nerfcore.priors.text import TextEncoder

FIRST_SCALE, LARGEST_SCALE = 1 / 0.07, 100.0  # of the logits (section 2.5)


@register_prior("dual_encoder")
class DualEncoder(Prior):
    """A convolutional network and a :class:`~nerfcore.priors.text.TextEncoder` that agree on which picture of a batch
    goes with which caption. It compares; it draws nothing.

    ``width``: of the embeddings. ``widths``: channels of the network, each of which halves the sides, which must allow
    it. ``text_width``, ``text_depth``: of the text encoder.
    """

    needs = ("merges",)
    batch_size = 128
    tiny = dict(width=16, widths=(16, 32), text_width=16, text_depth=1)

    def __init__(
        self, facts: Facts, width: int = 128, widths: Sequence[int] = (32, 64, 128), text_width: int = 96,
        text_depth: int = 2,
    ):
        super().__init__(facts, width=width, widths=tuple(widths), text_width=text_width, text_depth=text_depth)
        channels, *spatial = facts.shape
        flat = widths[-1] * math.prod(coded_size(spatial, len(widths)))
        self.picture_net = nn.Sequential(
            ConvEncoder(channels, widths[-1], len(spatial), widths),
            nn.Flatten(), nn.LayerNorm(flat), nn.Linear(flat, width),
        )
        self.text_net = TextEncoder(facts.merges, text_width, text_depth)
        self.text_projection = nn.Linear(text_width, width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))

    def players(self) -> dict[str, Player]:
        return {"all": Player(list(self.parameters()), learning_rate=1e-3, weight_decay=1e-4, final=0.01)}

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        """``loss``: the symmetric cross-entropy of figure 3 of the paper. Where captions of a batch are equal, it is as
        if each of their pictures were theirs in equal shares. ``retrieval``: how often the likeliest caption of the
        batch says what a picture's own says."""
        logits = self.scale * self.similarity(batch.pictures, batch.captions)
        truth = torch.arange(len(logits), device=logits.device)
        loss = 0.5 * (cross_entropy(logits, truth) + cross_entropy(logits.T, truth))
        retrieved = logits.argmax(1).tolist()
        right = sum(batch.captions[i] == caption for i, caption in zip(retrieved, batch.captions, strict=True))
        return {"loss": loss, "retrieval": logits.new_tensor(right / len(logits)), "scale": self.scale}

    @torch.no_grad()
    def after_step(self, batch: Batch, turn: Turn) -> None:
        self.log_scale.clamp_(max=math.log(LARGEST_SCALE))

    @property
    def scale(self) -> Tensor:
        """What similarities are multiplied by, learned, at most 100."""
        return self.log_scale.exp()

    def embed_pictures(self, pictures: Tensor) -> Tensor:
        """Unit vectors [B, width] of pictures [B, C, *spatial] in [-1, 1]. Differentiable in: pictures."""
        return normalize(self.picture_net(pictures), dim=1)

    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        """Unit vectors [B, width]."""
        return normalize(self.text_projection(self.text_net(captions)[1]), dim=1)

    def similarity(self, pictures: Tensor, captions: Sequence[str]) -> Tensor:
        """Cosines [B, B'] between pictures [B, C, *spatial] and B' captions. Differentiable in: pictures."""
        return self.embed_pictures(pictures) @ self.embed_captions(captions).T
