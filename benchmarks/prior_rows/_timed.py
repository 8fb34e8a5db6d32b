"""What rows share whose budget is minutes: a run, and the figures of its samples."""

from __future__ import annotations

from torch import Tensor

from nerfcore.data.examples import Examples
from nerfcore.priors.base import Prior
from nerfcore.priors.scores import draw_samples
from nerfcore.priors.training import train_prior

from ._common import SAMPLES, at_scale, few, scores

MINUTES = 18.0  # of training an adversarial network, of the 20 that are asked for


def trained(options, name: str, train: Examples, minutes: float = MINUTES, **config) -> tuple[Prior, dict]:
    """The prior of a name after its minutes, and what that took."""
    seed = options.seeds[0]
    run = train_prior(name, train, minutes=options.share * minutes, seed=seed, **at_scale(options), **config)
    size = sum(p.numel() for p in run.prior.parameters() if p.requires_grad)
    return run.prior, dict(seed=seed, parameters=size, steps=run.steps, train_seconds=run.seconds)


def scored(
    options, name: str, train: Examples, test: Examples, minutes: float = MINUTES, **config
) -> tuple[Prior, Tensor, dict]:
    """The prior, its samples and their figures beside the test split."""
    prior, spent = trained(options, name, train, minutes, **config)
    samples = draw_samples(prior, few(options, SAMPLES), options.seeds[0])
    return prior, samples, scores(options, samples, train, test) | spent
