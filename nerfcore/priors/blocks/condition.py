"""What is said of a picture, as vectors and tokens that a network takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nerfcore.priors.base import Batch, Facts, Turn
from nerfcore.priors.text import TextEncoder

TOLD = {"nothing": (), "labels": ("labels",), "captions": ("merges",), "given": ()}  # and the facts that it takes


class Given(NamedTuple):
    """What another network makes of what is said, or of a picture: vector [B, W], tokens [B, T, W] if it has any, and
    their mask [B, T], False where there is none."""

    vector: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None


class Condition(nn.Module):
    """Labels or captions as what a :class:`~nerfcore.priors.blocks.unet.UNet` is told, by its arguments' names, and
    what it is told where nothing is said: a vector, and a token, that are learned (Ho and Salimans 2021, section 3).

    labels: how many there are; merges: of the captions' tokeniser; given: W of what is :class:`Given`, with ``tokens``
    or without; say one of the three. width: of vector and tokens that come out.
    """

    def __init__(
        self, width: int, labels: int = 0, merges: Sequence[Sequence[int]] | None = None, given: int = 0,
        tokens: bool = False, depth: int = 2,
    ):
        super().__init__()
        self.embedding = nn.Embedding(labels, width) if labels else None
        self.text = None if merges is None else TextEncoder(merges, width, depth)
        self.vector = nn.Linear(given, width) if given else None
        self.tokens = nn.Linear(given, width) if given and tokens else None
        self.nothing = nn.Parameter(torch.zeros(width))

    @classmethod
    def of(cls, told: str, facts: Facts, width: int, **given) -> Condition | None:
        """By what is told, a key of ``TOLD``; none of nothing. given: ``given`` and ``tokens`` where that is told."""
        kinds = {"labels": dict(labels=len(facts.labels)), "captions": dict(merges=facts.merges), "given": given}
        return cls(width, **kinds[told]) if told in kinds else None

    @property
    def context_width(self) -> int | None:
        """Of tokens, if there are any."""
        return len(self.nothing) if self.text is not None or self.tokens is not None else None

    def forward(
        self, count: int, labels: Tensor | None = None, captions: Sequence[str] | None = None,
        given: Given | None = None, silent: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """labels [count], captions or what is given; silent [count], True where they are not said, everywhere if there
        is nothing of these. Differentiable in: given."""
        if labels is None and captions is None and given is None:
            silent = torch.ones(count, dtype=torch.bool, device=self.nothing.device)
        said = {"vector": self.nothing.expand(count, -1)}
        if self.embedding is not None and labels is not None:
            said = {"vector": self.embedding(labels)}
        elif self.text is not None:
            tokens, vector, mask = self.text([""] * count if captions is None else captions)
            said = {"vector": vector, "context": tokens, "mask": mask}
        elif given is not None:
            said = {"vector": self.vector(given.vector)}
            if self.tokens is not None:
                said |= {"context": self.tokens(given.tokens), "mask": given.mask}
        elif self.tokens is not None:
            said["context"] = self.nothing.expand(count, 1, -1)
        if silent is not None:
            said["vector"] = torch.where(silent[:, None], self.nothing, said["vector"])
            if "context" in said:
                said["context"] = torch.where(silent[:, None, None], self.nothing, said["context"])
        return said


def needed(told: str, also: Sequence[str] = ()) -> tuple[str, ...]:
    """The facts that a prior needs which is told that, beside others. Raises ValueError for what nobody can be told."""
    if told not in TOLD:
        raise ValueError(f"it can be told {', '.join(TOLD)}, got {told!r}")
    return tuple(dict.fromkeys((*also, *TOLD[told])))


def said_of(batch: Batch, told: str, silent: float, turn: Turn, given: Given | None = None) -> dict[str, object]:
    """What a :class:`Condition` takes of a batch in training: nothing of the share ``silent`` of it."""
    quiet = torch.rand(len(batch.pictures), generator=turn.generator, device=turn.generator.device) < silent
    said = dict(labels=batch.labels, captions=batch.captions, given=given)
    return {name: said[name] for name in said if name == told} | {"silent": quiet}
