"""Diffusion that a classifier guides (Dhariwal and Nichol 2021)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import cross_entropy

from nerfcore.priors.base import Batch, Player, Turn, register_prior
from nerfcore.priors.blocks.denoiser import over
from nerfcore.priors.blocks.guidance import clipped, guided
from nerfcore.priors.blocks.samplers import Denoise
from nerfcore.priors.blocks.unet import NoisyClassifier
from nerfcore.priors.ddpm import DDPM


@register_prior("guided")
class Guided(DDPM):
    """DDPM that is told nothing, and a classifier of noisy pictures that learns beside it; samples of labels go uphill
    in what it thinks of them, ``scale`` times as steeply as Bayes's rule has it. classifier_widths: of its network."""

    needs = ("labels",)
    tiny = DDPM.tiny | dict(classifier_widths=(8, 16))
    own = dict(scale=2.0)

    def build(self, classifier_widths: Sequence[int] = (32, 64)) -> None:
        super().build()
        shape, classes = self.facts.shape, len(self.facts.labels)
        self.classifier = NoisyClassifier(shape, classes, classifier_widths, self.config["patch"])

    def players(self) -> dict[str, Player]:
        rate = self.config["learning_rate"]
        classifier = Player(list(self.classifier.parameters()), rate, weight_decay=0.05, final=0.05)
        return {"denoiser": super().players()["all"], "classifier": classifier}

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        """Of the classifier the cross-entropy, and the share of noisy pictures of which it is right."""
        if player == "denoiser":
            return super().loss(player, batch, turn)
        level, _, noise = self.noised(batch.pictures, turn.generator)
        logits = self.classifier(batch.pictures + over(level, noise) * noise, level)
        right = (logits.argmax(1) == batch.labels).double().mean()
        return {"loss": cross_entropy(logits, batch.labels), "right": right}

    def denoise(self, count, labels=None, captions=None, scale=None, **seen) -> Denoise:
        """As that of DDPM; ``scale`` of the classifier's slope."""
        denoise = super().denoise(count, **seen)
        if labels is None:
            return denoise

        def log_likelihood(x: Tensor, level: Tensor) -> Tensor:
            return -cross_entropy(self.classifier(x, level), labels, reduction="none")

        return clipped(guided(denoise, log_likelihood, self.config["scale"] if scale is None else scale))
