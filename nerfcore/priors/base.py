"""What training and sampling ask of a prior, and the table of priors that a command or a saved model can name.

A prior is a distribution of pictures, or of anything else ``[B, C, *spatial]``, that is learned from examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from nerfcore.errors import NerfcoreError


@dataclass(frozen=True)
class Facts:
    """What a prior has to know of its data, JSON-able. shape: (C, *spatial) of an example; labels: names of the
    classes, none where there are none; merges: pairs of tokens of the captions' byte-pair tokeniser, or none."""

    shape: tuple[int, ...]
    labels: tuple[str, ...] = ()
    merges: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Batch:
    """pictures [B, C, *spatial] in [-1, 1]; labels [B], whole numbers, or None; captions: B sentences, or None."""

    pictures: Tensor
    labels: Tensor | None = None
    captions: Sequence[str] | None = None


@dataclass(frozen=True)
class Turn:
    """Where a player's training stands: step counts all steps from 0, fraction is in [0, 1), of the player's span."""

    step: int
    fraction: float
    generator: torch.Generator


@dataclass(frozen=True)
class Player:
    """Parameters that one loss is minimised over, by Adam: one player trains most priors, two train a GAN."""

    parameters: Sequence[nn.Parameter]
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    turns: int = 1  # updates in each step, each with a batch of its own
    final: float = 1.0  # share of the learning rate that is left at the end of the span, along half a cosine
    span: tuple[float, float] = (0.0, 1.0)  # the part of the budget it plays in: what learns in stages has several


class Prior(nn.Module):
    """Subclasses are constructed from :class:`Facts` and a JSON-able ``config`` alone, as ``Class(facts, **config)``.

    ``facts``, ``config`` (attributes): what rebuilds the prior; a saved model stores them beside the parameters.
    ``batch_size``: examples of a batch, if the command does not say. ``needs``: names of the facts that may not be
    empty, "labels" or "merges". ``tiny``: a config as small as it works, for tests. All randomness comes from the
    generators that are handed in; parameters are drawn from the global one, which training seeds.
    """

    facts: Facts
    config: dict
    batch_size: int = 64
    needs: tuple[str, ...] = ()
    tiny: dict = {}

    def __init__(self, facts: Facts, **config):
        super().__init__()
        for name in self.needs:
            if not getattr(facts, name):
                what = {"labels": "labels", "merges": "captions"}[name]
                raise NerfcoreError(f"prior {self.name!r} needs data that has {what}")
        self.facts, self.config = facts, config

    def prepare(self, examples, generator: torch.Generator) -> None:
        """What is fitted once to :class:`~nerfcore.data.examples.Examples` before the first step: a net of features."""

    def players(self) -> dict[str, Player]:
        """In the order of their turns."""
        return {"all": Player(list(self.parameters()))}

    def networks(self) -> list[nn.Module]:
        """What torch.compile is to compile, if it is asked to: modules whose ``forward`` the loss calls."""
        return list(self.children())

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        """Scalars of a batch by name. ``loss`` is what the player minimises; the others are shown."""
        raise NotImplementedError

    def after_step(self, batch: Batch, turn: Turn) -> None:
        """What follows all players' updates, such as moving averages. batch: the last one."""

    @torch.no_grad()
    def sample(
        self, count: int, generator: torch.Generator, labels: Tensor | None = None,
        captions: Sequence[str] | None = None,
    ) -> Tensor:
        """Pictures [count, C, *spatial] in [-1, 1], of these labels or captions where the prior is conditioned."""
        raise NotImplementedError

    def check_captions(self, captions: Sequence[str] | None, count: int) -> None:
        """Raises NerfcoreError unless there are as many as samples."""
        if captions is None or len(captions) != count:
            raise NerfcoreError(f"prior {self.name!r} draws what captions say; give {count} of them")

    def reconstruct(self, pictures: Tensor) -> Tensor:
        """Of a prior that encodes: what its code keeps of pictures [B, C, *spatial]."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


PRIORS: dict[str, type[Prior]] = {}
NOT_PRIORS = {"base", "text", "training", "scores"}


def prior_names() -> list[str]:
    """All that :func:`prior_named` knows."""
    return sorted({path.stem for path in Path(__file__).parent.glob("[!_]*.py")} - NOT_PRIORS)


def prior_named(name: str) -> type[Prior]:
    """The prior that a command or a saved model names. Its file, which has the same name, is imported at first use.
    Raises NerfcoreError where there is no such prior."""
    if name in prior_names():
        import_module(f"nerfcore.priors.{name}")
    if name not in PRIORS:
        raise NerfcoreError(f"there is no prior {name!r}; choose {', '.join(prior_names())}")
    return PRIORS[name]


def register_prior(name: str) -> Callable[[type[Prior]], type[Prior]]:
    """Class decorator that gives a prior its name in ``nerfcore prior`` and in saved models."""

    def add(cls: type[Prior]) -> type[Prior]:
        PRIORS[name] = cls
        cls.name = name
        return cls

    return add
