"""The game of a generator and a discriminator: losses, the gradient penalty, augmentation, and what GANs share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from nerfcore.errors import NerfcoreError
from nerfcore.priors.base import Batch, Facts, Player, Prior, Turn
from nerfcore.priors.blocks.average import Average

OBJECTIVES = ("minimax", "non_saturating", "hinge")


def discriminator_loss(objective: str, real: Tensor, fake: Tensor) -> Tensor:
    """What a discriminator minimises, from its logits of any shape: minus :func:`game_value` (Goodfellow et al. 2014,
    equation 1), or the hinge of Lim and Ye 2017. Differentiable in: real, fake."""
    if objective == "hinge":
        return relu(1 - real).mean() + relu(1 + fake).mean()
    return -game_value(real, fake)


def generator_loss(objective: str, fake: Tensor) -> Tensor:
    """What a generator minimises, from the logits of its pictures: ``E log(1 - D)`` ("minimax", which hardly moves
    while the discriminator is sure), ``-E log D`` ("non_saturating", both Goodfellow et al. 2014, section 3), or minus
    the logits ("hinge"). Differentiable in: fake."""
    losses = {"minimax": lambda: -softplus(fake), "non_saturating": lambda: softplus(-fake), "hinge": lambda: -fake}
    if objective not in losses:
        raise NerfcoreError(f"there is no objective {objective!r}; choose {', '.join(OBJECTIVES)}")
    return losses[objective]().mean()


def game_value(real: Tensor, fake: Tensor) -> Tensor:
    """V of Goodfellow et al. 2014, equation 1, ``E log D(x) + E log(1 - D(G(z)))``, in nats, D the sigmoid of the
    logits. With the best discriminator it is ``2 JS - 2 log 2`` (theorem 1). Differentiable in: real, fake."""
    return -softplus(-real).mean() - softplus(fake).mean()


def r1_penalty(logits: Tensor, pictures: Tensor) -> Tensor:
    """R1 of Mescheder et al. 2018, equation 9, without its factor γ/2: the mean over pictures [B, …] of the squared
    norm of the gradient of their logits [B, …], whose sum it is taken of. Differentiable in: what logits came from."""
    (gradient,) = torch.autograd.grad(logits.sum(), pictures, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


def augment(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Brightness, translation and cutout of Zhao et al. 2020, section 3.2, for pictures [B, C, *spatial] that a
    discriminator sees, true ones and false ones alike: few examples last longer. Brightness changes by up to 0.5,
    places move by up to an eighth of a side, what comes in repeats the border, and a box of half the sides becomes 0.
    Differentiable in: pictures (any order)."""
    count, spatial = pictures.shape[0], pictures.shape[2:]

    def draw() -> Tensor:
        return torch.rand(count, generator=random, device=random.device).to(pictures.device)

    pictures = pictures + (draw() - 0.5).view(-1, *[1] * (pictures.ndim - 1))
    inside = torch.ones((), dtype=torch.bool, device=pictures.device)
    for axis, side in enumerate(spatial, 2):
        place = torch.arange(side, device=pictures.device)
        along = [-1 if i == axis else count if i == 0 else 1 for i in range(pictures.ndim)]
        shift = ((2 * draw() - 1) * (side // 8 + 1)).long()
        moved = (place + shift[:, None]).clamp(0, side - 1).view(along)
        pictures = pictures.gather(axis, moved.expand_as(pictures))
        start = (draw() * (side + 1)).long()[:, None] - side // 4
        inside = inside & ((place >= start) & (place < start + side // 2)).view(along)
    return pictures.masked_fill(inside, 0.0)


class AdversarialPrior(Prior):
    """A prior of two players. Subclasses say their ``defaults``, over those below, and make ``generator``, a module
    ``(count, random, …) -> pictures``, and ``discriminator`` in :meth:`build`.

    objective: see :func:`generator_loss`; r1: γ of Mescheder et al. 2018, applied in every ``r1_every``-th step and as
    much larger; turns: updates of the discriminator in a step; augment: see :func:`augment`; average: decay of the mean
    of the generator that samples are drawn from, 0 for the generator itself; final: share of the learning rate that
    is left in the end.
    """

    game = dict(
        objective="non_saturating", r1=0.0, r1_every=1, turns=1, learning_rate=2e-4, betas=(0.5, 0.999), final=1.0,
        augment=False, average=0.0,
    )  # fmt: skip
    defaults: dict = {}

    def __init__(self, facts: Facts, **config):
        known = {**self.game, **self.defaults}
        if unknown := sorted(set(config) - set(known)):
            raise NerfcoreError(f"prior {self.name!r} has no {unknown[0]!r}; choose {', '.join(sorted(known))}")
        super().__init__(facts, **known | config)
        generator_loss(self.config["objective"], torch.zeros(()))  # raises where there is no such objective
        self.generator: nn.Module
        self.discriminator: nn.Module
        self.build(**{name: value for name, value in self.config.items() if name not in self.game})
        decay = self.config["average"]
        self.average = Average(self.generator, decay) if decay else None

    def build(self, **settings) -> None:
        """Makes the two modules from the settings that are not of the game."""
        raise NotImplementedError

    def fakes(self, batch: Batch, random: torch.Generator) -> Tensor:
        """As many pictures as a batch has, of its captions where the prior is conditioned."""
        return self.generator(len(batch.pictures), random)

    def verdict(self, pictures: Tensor, batch: Batch) -> Tensor:
        """Logits of the discriminator, whether pictures are true, given what the batch says of them."""
        return self.discriminator(pictures)

    def matched(self, logits: Tensor) -> Tensor:
        """Those of a verdict that are of what the batch says, where it has others too."""
        return logits

    def mismatch_loss(self, real: Tensor, fake: Tensor) -> Tensor | float:
        """What the discriminator minimises besides, of the other logits of its verdicts."""
        return 0.0

    def players(self) -> dict[str, Player]:
        """The penalty that comes every k-th step makes Adam count k + 1 steps as k (Karras et al. 2020, appendix B)."""
        chosen = self.config
        lazy = chosen["r1_every"] / (chosen["r1_every"] + 1) if chosen["r1"] and chosen["r1_every"] > 1 else 1.0

        def player(module: nn.Module, part: float, turns: int) -> Player:
            betas = tuple(beta**part for beta in chosen["betas"])
            rate = chosen["learning_rate"] * part
            return Player(list(module.parameters()), rate, betas, turns=turns, final=chosen["final"])

        return {
            "discriminator": player(self.discriminator, lazy, chosen["turns"]),
            "generator": player(self.generator, 1.0, 1),
        }

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        """Of the discriminator also what it makes of true and of false pictures on average, in [0, 1]."""
        chosen = self.config
        if player == "generator":
            seen = self.seen(self.fakes(batch, turn.generator), turn.generator)
            return {"loss": generator_loss(chosen["objective"], self.matched(self.verdict(seen, batch)))}
        with torch.no_grad():
            fake = self.seen(self.fakes(batch, turn.generator), turn.generator)
        penalised = chosen["r1"] > 0 and turn.step % chosen["r1_every"] == 0
        true = batch.pictures.detach().requires_grad_(penalised)
        real_logits, fake_logits = self.verdict(self.seen(true, turn.generator), batch), self.verdict(fake, batch)
        real, false = self.matched(real_logits), self.matched(fake_logits)
        loss = discriminator_loss(chosen["objective"], real, false) + self.mismatch_loss(real_logits, fake_logits)
        if penalised:  # of the mean of a picture's logits, so that it does not grow with their number
            loss = loss + chosen["r1"] / 2 * chosen["r1_every"] * r1_penalty(real_logits.flatten(1).mean(1), true)
        return {"loss": loss, "real": real.sigmoid().mean(), "fake": false.sigmoid().mean()}

    def seen(self, pictures: Tensor, random: torch.Generator) -> Tensor:
        """What the discriminator is shown of pictures."""
        return augment(pictures, random) if self.config["augment"] else pictures

    def after_step(self, batch: Batch, turn: Turn) -> None:
        if self.average is not None:
            self.average.update(self.generator)

    @contextmanager
    def painter(self) -> Iterator[nn.Module]:
        """The generator that samples are drawn from, as it is when it is not trained."""
        module = self.generator if self.average is None else self.average.module
        before = module.training
        module.eval()
        try:
            yield module
        finally:
            module.train(before)

    @torch.no_grad()
    def sample(
        self, count: int, generator: torch.Generator, labels: Tensor | None = None,
        captions: Sequence[str] | None = None,
    ) -> Tensor:
        with self.painter() as painter:
            return painter(count, generator)
