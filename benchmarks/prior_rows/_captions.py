"""What rows of captions share: single objects, what a judge says of samples, and how often it agrees with a caption."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerfcore.data.examples import Examples
from nerfcore.priors.base import Prior
from nerfcore.priors.scores import Judge, draw_samples

from ._common import SAMPLES, few, shapes

ASKED = "shape", "colour"
SCENES = 16000  # of which half have one object


def objects(options, size: int = 32) -> tuple[Examples, Examples]:
    """Captioned pictures of one object each, to train on, and as many to test on as samples are drawn of."""
    train, test = shapes(options, size, SCENES, alone=True)
    return train, test.subset(torch.arange(min(len(test), few(options, SAMPLES))))


def agreement(judge: Judge, samples: Tensor, truth: Examples) -> dict:
    """Of samples of the captions of examples: accuracy and error of each of what is ``ASKED``, and their mean's."""
    verdicts = {asked: judge.verdict(asked, samples, truth.attributes[asked]) for asked in ASKED}
    mean = sum(verdict["accuracy"] for verdict in verdicts.values()) / len(ASKED)
    error = math.hypot(*(verdict["error"] for verdict in verdicts.values())) / len(ASKED)
    return verdicts | dict(mean=mean, mean_error=error)


def reaches(found: dict, accuracy: float) -> bool:
    """Does each of what is ``ASKED``, by a judge that may judge it?"""
    return all(found[asked]["accuracy"] >= accuracy and not found[asked]["void"] for asked in ASKED)


def above(more: dict, less: dict) -> bool:
    """Is one mean above another, beyond two standard errors of their difference?"""
    return more["mean"] - less["mean"] > 2 * math.hypot(more["mean_error"], less["mean_error"])


def drawn(options, prior: Prior, truth: Examples) -> Tensor:
    """One sample of each caption."""
    return draw_samples(prior, len(truth), options.seeds[0], captions=truth.captions)
