"""VQGAN (Esser et al. 2021): a vector-quantised autoencoder whose pictures look right, not only near."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nerfcore.metrics.features import Classifier, train_classifier
from nerfcore.priors.base import Batch, Facts, Player, Turn, register_prior
from nerfcore.priors.blocks.adversarial import discriminator_loss, generator_loss
from nerfcore.priors.blocks.discriminator import PatchDiscriminator
from nerfcore.priors.vqvae import VQVAE

QUARTER_TURNS = 4  # what a network of features learns to tell where there are no labels
LARGEST = 1e4  # the adaptive weight


@register_prior("vqgan")
class VQGAN(VQVAE):
    """The squared error, ``perceptual`` times a distance of features, and ``adversarial`` times the loss of a
    discriminator of patches, from the fraction ``starts`` of the budget on, times the weight of :func:`balance`.

    Features are those of a classifier of the training pictures' labels, or quarter turns, that learns first, in
    ``feature_steps``, and is saved with the prior. Pictures have two spatial dimensions if there are no labels, and
    equal sides."""

    tiny = dict(codes=32, code_width=8, widths=(16,), learning_rate=4e-3, feature_steps=2, adversarial=0.1)

    def __init__(
        self, facts: Facts, codes: int = 256, code_width: int = 16, widths: Sequence[int] = (32, 64),
        learn: str = "ema", commitment: float = 0.25, learning_rate: float = 1e-3, perceptual: float = 0.1,
        adversarial: float = 0.5, starts: float = 0.25, feature_steps: int = 600,
    ):
        super().__init__(facts, codes, code_width, widths, learn, commitment, learning_rate)
        self.config |= dict(perceptual=perceptual, adversarial=adversarial, starts=starts, feature_steps=feature_steps)
        channels, side, *more = facts.shape
        if any(other != side for other in more):
            raise ValueError(f"a vqgan needs pictures with equal sides, got {list(facts.shape)}")
        self.seen = Classifier(channels, side, len(facts.labels) or QUARTER_TURNS, dims=1 + len(more))
        self.seen.requires_grad_(False).eval()
        self.discriminator = PatchDiscriminator(channels, 1 + len(more))

    def train(self, mode: bool = True) -> VQGAN:
        """The features stay as they are."""
        super().train(mode)
        self.seen.eval()
        return self

    def prepare(self, examples, generator: torch.Generator) -> None:
        pictures, labels, _ = examples.take(torch.arange(len(examples)))
        labels, kinds = (labels, len(self.facts.labels)) if self.facts.labels else (None, QUARTER_TURNS)
        seed = int(torch.randint(1 << 31, (), generator=generator, device=generator.device))
        trained = train_classifier(pictures, labels, kinds, steps=self.config["feature_steps"], seed=seed)
        self.seen.load_state_dict(trained.state_dict())

    def players(self) -> dict[str, Player]:
        rate = self.config["learning_rate"]
        coder = [*self.encoder.parameters(), *self.codebook.parameters(), *self.decoder.parameters()]
        critic = Player(list(self.discriminator.parameters()), rate / 4, (0.5, 0.999), final=0.02)
        return {"coder": Player(coder, rate, (0.5, 0.999), final=0.02), "discriminator": critic}

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        pictures, starts = batch.pictures, turn.fraction >= self.config["starts"]
        if player == "discriminator":
            with torch.no_grad():
                made = self.decoder(self.codebook(self.encoder(pictures)).vectors)
            return {"loss": discriminator_loss("hinge", self.discriminator(pictures), self.discriminator(made))}
        quantised = self.codebook(self.encoder(pictures), turn.generator)
        made = self.decoder(quantised.vectors)
        error, unlike = (made - pictures).square().mean(), self.unlike(made, pictures)
        wanted = error + self.config["perceptual"] * unlike
        figures = {"loss": wanted + quantised.loss, "mse": error, "unlike": unlike, "codebook": quantised.loss}
        if starts:
            fooled = generator_loss("hinge", self.discriminator(made))
            weight = balance(wanted, fooled, self.decoder[-1].weight)
            figures["loss"] = figures["loss"] + self.config["adversarial"] * weight * fooled
        return figures

    def unlike(self, made: Tensor, pictures: Tensor) -> Tensor:
        """Mean over the blocks of the features' network of the squared distance of their maps, each place's channels
        normalised to length 1 (Zhang et al. 2018, equation 1, without learned weights). Differentiable in: made."""
        with torch.no_grad():
            truth = self.seen.maps(pictures)
        pairs = zip(self.seen.maps(made), truth, strict=True)
        unit = torch.nn.functional.normalize
        return torch.stack([(unit(a, dim=1) - unit(b, dim=1)).square().sum(1).mean() for a, b in pairs]).mean()


def balance(wanted: Tensor, fooled: Tensor, last: Tensor) -> Tensor:
    """λ of Esser et al. 2021, equation 7: the ratio of the norms of two losses' gradients in the decoder's last
    weights, which gives both the same say. Up to 10,000; a constant."""
    first, second = (torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (wanted, fooled))
    return (first / (second + 1e-4)).clamp(max=LARGEST).detach()
