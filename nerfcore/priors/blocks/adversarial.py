"""The game of a generator and a discriminator: losses, the gradient penalty, and what GANs share."""

from __future__ import annotations

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
    hinge = objective == "hinge"
    return relu(1 - real).mean() + relu(1 + fake).mean() if hinge else -game_value(real, fake)


def generator_loss(objective: str, fake: Tensor) -> Tensor:
    """What a generator minimises, from the logits of its pictures: ``E log(1 - D)`` ("minimax", which hardly moves
    while the discriminator is sure), ``-E log D`` ("non_saturating", both Goodfellow et al. 2014, section 3), or minus
    the logits ("hinge"). Differentiable in: fake. Raises NerfcoreError for another objective."""
    if objective not in OBJECTIVES:
        raise NerfcoreError(f"there is no objective {objective!r}; choose {', '.join(OBJECTIVES)}")
    if objective == "hinge":
        return -fake.mean()
    return softplus(-fake).mean() if objective == "non_saturating" else -softplus(fake).mean()


def game_value(real: Tensor, fake: Tensor) -> Tensor:
    """V of Goodfellow et al. 2014, equation 1, ``E log D(x) + E log(1 - D(G(z)))``, in nats, D the sigmoid of the
    logits. With the best discriminator it is ``2 JS - 2 log 2`` (theorem 1). Differentiable in: real, fake."""
    return -softplus(-real).mean() - softplus(fake).mean()


def r1_penalty(logits: Tensor, pictures: Tensor) -> Tensor:
    """R1 of Mescheder et al. 2018, equation 9, without its factor γ/2: the mean over pictures [B, …] of the squared
    norm of the gradient of their logits [B]. Differentiable in: what logits came from."""
    (gradient,) = torch.autograd.grad(logits.sum(), pictures, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


class NoiseGenerator(nn.Module):
    """A network that makes pictures of ``latent`` numbers of normal noise [B, latent]."""

    def __init__(self, latent: int, network: nn.Module):
        super().__init__()
        self.latent, self.network = latent, network

    def forward(self, count: int, random: torch.Generator) -> Tensor:
        noise = torch.randn(count, self.latent, generator=random, device=random.device)
        return self.network(noise.to(next(self.parameters())))


class AdversarialPrior(Prior):
    """A prior of two players. Subclasses say their ``defaults``, over those of the game, and make ``generator``, a
    module ``(count, random) -> pictures``, and ``discriminator`` in ``build``, which takes the other settings.

    objective: see :func:`generator_loss`; r1: γ of Mescheder et al. 2018, applied in every ``r1_every``-th step and as
    much larger; turns: updates of the discriminator in a step; matching: weight of pictures with wrong captions;
    average: decay of the mean of the generator, ``painter``, that samples are drawn from, 0 for the generator itself;
    final: share of the learning rate that is left in the end; judging: learning rate of the discriminator over that of
    the generator."""

    game = dict(
        objective="non_saturating", r1=0.0, r1_every=1, turns=1, matching=1.0, learning_rate=2e-4, betas=(0.5, 0.999),
        final=1.0, average=0.0, judging=1.0,
    )  # fmt: skip
    defaults: dict = {}

    def __init__(self, facts: Facts, **config):
        super().__init__(facts, **{**self.game, **self.defaults, **config})
        generator_loss(self.config["objective"], torch.zeros(()))  # raises where there is no such objective
        self.build(**{name: value for name, value in self.config.items() if name not in self.game})
        self.average = Average(self.generator, self.config["average"]) if self.config["average"] else None

    @property
    def painter(self) -> nn.Module:
        return self.generator if self.average is None else self.average.module

    def fakes(self, batch: Batch, random: torch.Generator) -> Tensor:
        """As many pictures as a batch has, of its captions where the prior is conditioned."""
        return self.generator(len(batch.pictures), random)

    def verdict(self, pictures: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        """Logits [B, …] of the discriminator, whether pictures are true; of a conditioned prior whether they are and
        have the batch's captions, and the same with wrong captions."""
        return (self.discriminator(pictures),)

    def players(self) -> dict[str, Player]:
        """A penalty that comes every k-th step makes Adam count k + 1 steps as k (Karras et al. 2020, appendix B)."""
        made, chosen, every = {}, self.config, self.config["r1_every"]
        lazy = every / (every + 1) if chosen["r1"] and every > 1 else 1.0
        for name, part, over, turns in (
            ("discriminator", lazy, chosen["judging"], chosen["turns"]), ("generator", 1.0, 1.0, 1)
        ):  # fmt: skip
            rate, betas = chosen["learning_rate"] * part * over, tuple(beta**part for beta in chosen["betas"])
            made[name] = Player(list(getattr(self, name).parameters()), rate, betas, turns=turns, final=chosen["final"])
        return made

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        """Of the discriminator also what it makes of true and of false pictures on average, in [0, 1]."""
        chosen = self.config
        with torch.set_grad_enabled(player == "generator"):
            pictures = self.fakes(batch, turn.generator)
        fake, *wrong_fake = self.verdict(pictures, batch)
        if player == "generator":
            return {"loss": generator_loss(chosen["objective"], fake)}
        penalised = chosen["r1"] > 0 and turn.step % chosen["r1_every"] == 0
        true = batch.pictures.detach().requires_grad_(penalised)
        real, *wrong_real = self.verdict(true, batch)
        loss = discriminator_loss(chosen["objective"], real, fake)
        for wrong in (*wrong_real, *wrong_fake):  # neither may be taken for true (Reed et al. 2016, algorithm 1)
            loss = loss + chosen["matching"] * softplus(wrong).mean()
        if penalised:  # of the mean of a picture's logits, so that it does not grow with their number
            loss = loss + chosen["r1"] / 2 * chosen["r1_every"] * r1_penalty(real.flatten(1).mean(1), true)
        return {"loss": loss, "real": real.sigmoid().mean(), "fake": fake.sigmoid().mean()}

    def after_step(self, batch: Batch, turn: Turn) -> None:
        if self.average is not None:
            self.average.update(self.generator)

    @torch.no_grad()
    def sample(self, count, generator, labels=None, captions=None) -> Tensor:
        return self.painter(count, generator)
