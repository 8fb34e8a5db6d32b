"""Pictures as codes, one after another, that a transformer draws: the second stage of Esser et al. 2021."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nerfcore.priors.base import Batch, Facts, Player, Prior, Turn, register_prior
from nerfcore.priors.blocks.attention import Past
from nerfcore.priors.blocks.condition import Condition, needed, said_of
from nerfcore.priors.blocks.sequence import CausalTransformer, choose, draw_sequence, stepwise
from nerfcore.priors.blocks.stages import coder_of, until


@register_prior("transformer")
class Transformer(Prior):
    """A prior of codes learns in the share ``coder_span`` of the budget, then a causal transformer learns the order of
    its codes, row after row.

    coder: settings of that prior, and its name as "prior"; width, depth, heads: of the transformer; told: "nothing",
    "labels" or "captions", of which the share ``silent`` is not said in training, so that ``scale`` can guide what
    comes next as it guides diffusion; temperature, top_k, top_p: of
    :func:`~nerfcore.priors.blocks.sequence.choose`.
    """

    tiny = dict(
        coder=dict(prior="vqvae", codes=32, code_width=8, widths=(16,), learning_rate=4e-3), width=32, depth=1, heads=2,
        learning_rate=4e-3,
    )  # fmt: skip
    defaults = dict(
        coder=dict(prior="vqgan"), coder_span=0.4, width=128, depth=4, heads=4, told="nothing", silent=0.1, scale=1.0,
        temperature=1.0, top_k=0, top_p=1.0, learning_rate=1e-3,
    )  # fmt: skip
    own: dict = {}  # a subclass's, over these

    def __init__(self, facts: Facts, **config):
        chosen = {**self.defaults, **self.own, **config}
        self.needs = needed(chosen["told"], self.needs)
        super().__init__(facts, **chosen)
        self.coder = coder_of(facts, chosen["coder"])
        self.start = nn.Parameter(0.02 * torch.randn(chosen["width"]))
        self.build()

    def build(self) -> None:
        """Makes ``sequence``, and ``condition``."""
        chosen = self.config
        self.condition = Condition.of(chosen["told"], self.facts, chosen["width"])
        looks = self.condition and self.condition.context_width
        codes, places = self.coder.config["codes"], self.coder.places.numel()
        self.sequence = CausalTransformer(codes, places, chosen["width"], chosen["depth"], chosen["heads"], looks)

    def prepare(self, examples, generator: torch.Generator) -> None:
        self.coder.prepare(examples, generator)

    def players(self) -> dict[str, Player]:
        """Those of the coder, then the transformer."""
        span, coder = self.config["coder_span"], {id(p) for p in self.coder.parameters()}
        own, rate = [p for p in self.parameters() if id(p) not in coder], self.config["learning_rate"]
        order = Player(own, rate, (0.9, 0.95), weight_decay=0.01, final=0.02, span=(span, 1.0))
        return until(self.coder.players(), span) | {"order": order}

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        """Of the order also ``bits``, of a code."""
        if player != "order":
            return self.coder.loss(player, batch, turn)
        with torch.no_grad():
            index = self.coder.encode(batch.pictures).flatten(1)
        said = self.said(len(index), **said_of(batch, self.config["told"], self.config["silent"], turn))
        loss = cross_entropy(self.logits(index[:, :-1], **said).mT, index)
        return {"loss": loss, "bits": loss / math.log(2)}

    def logits(self, index: Tensor, past: list[Past] | None = None, **said) -> Tensor:
        """[B, T + 1, codes] of what comes before, between and after codes [B, T]; with a past [B, T, codes], of what
        comes after each. said: what :meth:`said` returns, of which "first" comes once."""
        return self.sequence(index, **said, past=past)

    def said(self, count: int, labels=None, captions=None, silent: Tensor | None = None) -> dict[str, Tensor]:
        """What the transformer is told; see :class:`~nerfcore.priors.blocks.condition.Condition`."""
        start = self.start.expand(count, 1, -1)
        if self.condition is None:
            return {"first": start}
        said = self.condition(count, labels, captions, silent=silent)
        told = {"first": start + said["vector"][:, None]}
        return told | ({"context": said["context"], "context_mask": said["mask"]} if "context" in said else {})

    @torch.no_grad()
    def bits(self, pictures: Tensor, labels=None, captions=None) -> Tensor:
        """[B]: of pictures [B, C, *spatial], minus log2 p of their codes, per code."""
        index = self.coder.encode(pictures).flatten(1)
        logits = self.logits(index[:, :-1], **self.said(len(index), labels, captions))
        return cross_entropy(logits.mT, index, reduction="none").mean(1) / math.log(2)

    @torch.no_grad()
    def sample(self, count, generator, labels=None, captions=None) -> Tensor:
        places = self.coder.places
        following = self.following(count, labels, captions)
        drawn = draw_sequence(following, count, places.numel(), generator, **self.chosen)
        return self.coder.decode(drawn.view(count, *places))

    @property
    def chosen(self) -> dict:
        """How codes are drawn."""
        return {name: self.config[name] for name in ("temperature", "top_k", "top_p")}

    def following(self, count: int, labels=None, captions=None):
        """A function ``(last [count, L]) -> [count, codes]``: logits of what comes after all codes that it was given
        so far, guided by the prior's scale. L is 0 at first."""
        guides = self.config["scale"] != 1 and (labels is not None or captions is not None)
        told = [self.said(count, labels, captions)] + ([self.said(count)] if guides else [])
        here, *nowhere = (stepwise(self.logits, said, self.sequence.nothing()) for said in told)

        def guided(last: Tensor) -> Tensor:
            return torch.lerp(nowhere[0](last), here(last), self.config["scale"])

        return guided if guides else here

    @torch.no_grad()
    def sample_large(
        self, count: int, places: tuple[int, int], generator: torch.Generator, labels=None, captions=None
    ) -> Tensor:
        """Pictures [count, C, *sides] of more codes than the prior was trained on: each is drawn by those before it in
        a window of the usual size, which stands around it as nearly as it can (Esser et al. 2021, section 3.2 and
        figure 3). places: codes along both sides, at least the usual ones."""
        high, wide = self.coder.places
        if places[0] < high or places[1] < wide:
            raise ValueError(f"a large sample has at least {(high, wide)} codes along its sides, got {tuple(places)}")
        drawn = torch.zeros(count, *places, dtype=torch.int64, device=self.device)
        for row in range(places[0]):
            top = min(max(row - high // 2, 0), places[0] - high)
            for column in range(places[1]):
                left = min(max(column - wide // 2, 0), places[1] - wide)
                window = drawn[:, top : top + high, left : left + wide].flatten(1)
                before = window[:, : (row - top) * wide + column - left]
                logits = self.following(count, labels, captions)(before)
                drawn[:, row, column] = choose(logits, generator, **self.chosen)
        return self.coder.decode(drawn)
