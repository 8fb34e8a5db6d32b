"""Captions and pictures as one stream of tokens: Ramesh et al. 2021 (DALL-E)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from nerfcore.data.captions import PAD, Tokeniser
from nerfcore.priors.base import Batch, Prior, Turn, register_prior
from nerfcore.priors.blocks.condition import said_of
from nerfcore.priors.blocks.sequence import CausalTransformer
from nerfcore.priors.dvae import DVAE
from nerfcore.priors.transformer import Transformer

CAPTION_WEIGHT = 1 / 8  # of the loss; the rest is the pictures' (section 2.2)


@register_prior("dalle")
class DALLE(Transformer):
    """A discrete VAE, then a transformer over a caption's tokens, filled up to ``length``, and the codes after them,
    which are kinds of their own. It learns to continue both, pictures foremost."""

    needs = ("merges",)
    tiny = Transformer.tiny | dict(
        coder=dict(prior="dvae", **DVAE.tiny), coder_span=0.7, length=12, learning_rate=1e-2
    )  # fmt: skip
    own = dict(told="captions", coder=dict(prior="dvae"), length=32)

    def build(self) -> None:
        chosen, self.tokeniser = self.config, Tokeniser(self.facts.merges)
        kinds, places = self.coder.config["codes"], self.coder.places.numel()
        self.sequence = CausalTransformer(
            self.tokeniser.size + kinds, chosen["length"] + places, chosen["width"], chosen["depth"], chosen["heads"]
        )

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        """Of the order also ``bits`` of a code, and ``caption_bits`` of a token of captions."""
        if player != "order":
            return super().loss(player, batch, turn)
        with torch.no_grad():
            index = self.coder.encode(batch.pictures).flatten(1)
        said = said_of(batch, "captions", self.config["silent"], turn)
        words, kinds = self.words(**said), self.tokeniser.size
        stream = torch.cat((words, index + kinds), 1)
        logits = self.sequence(stream[:, :-1], self.start.expand(len(index), 1, -1))
        read, seen = logits.split((words.shape[1], index.shape[1]), 1)
        of_words = cross_entropy(read[..., :kinds].mT, words, ignore_index=PAD)
        of_codes = cross_entropy(seen[..., kinds:].mT, index)
        loss = torch.lerp(of_codes, of_words, CAPTION_WEIGHT)
        return {"loss": loss, "bits": of_codes / math.log(2), "caption_bits": of_words / math.log(2)}

    def words(self, captions: Sequence[str], silent: Tensor | None = None) -> Tensor:
        """[B, length] of tokens, as of a caption without words where nothing is said."""
        quiet = [False] * len(captions) if silent is None else silent.tolist()
        said = ["" if nothing else caption for caption, nothing in zip(captions, quiet, strict=True)]
        return self.tokeniser.encode(said, self.config["length"]).to(self.device)

    def said(self, count: int, labels=None, captions=None, silent: Tensor | None = None) -> dict[str, Tensor]:
        words = self.sequence.embedding(self.words([""] * count if captions is None else captions, silent))
        return {"first": torch.cat((self.start.expand(count, 1, -1), words), 1)}

    def logits(self, index, past=None, **said) -> Tensor:
        kinds = self.tokeniser.size
        return self.sequence(index + kinds, **said, past=past)[:, -1 - index.shape[1] :, kinds:]

    @torch.no_grad()
    def best(self, captions: Sequence[str], candidates: int, encoder: Prior, generator: torch.Generator) -> Tensor:
        """Of so many samples of each caption the one that a dual encoder finds nearest to it (section 2.6): [B, C,
        *spatial]."""
        asked = [caption for caption in captions for _ in range(candidates)]
        drawn = self.sample(len(asked), generator, captions=asked)
        near = encoder.embed_pictures(drawn) * encoder.embed_captions(asked)
        chosen = near.sum(1).view(-1, candidates).argmax(1)
        return drawn.view(-1, candidates, *drawn.shape[1:])[torch.arange(len(captions), device=drawn.device), chosen]
