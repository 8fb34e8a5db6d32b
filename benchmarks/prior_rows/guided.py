"""Guidance by a classifier on Fashion-MNIST: what it gains in accuracy, and costs in variety, the more there is of it.

Labels are asked for in equal shares. Accuracy is a judge's, of the four groups that it is sure of; recall is of the
test split. Each step of the scale is compared with the one before, by two standard errors of the difference.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerfcore.metrics.features import features_of
from nerfcore.metrics.generative import bootstrap_error, precision_recall
from nerfcore.priors.scores import JUDGE_BOUND, draw_samples

from ._common import SAMPLES, all_pictures, fashion, fashion_judge, feature_classifier, few, grouped, scores, show
from ._timed import trained

MODULES = "nerfcore.priors.ddpm", "nerfcore.priors.blocks.unet", "nerfcore.priors.blocks.guidance"
MINUTES, SCALES = 20.0, (0.0, 1.0, 4.0)
TARGET = "accuracy rises and recall falls from each scale to the next"


def measure(options) -> dict:
    """The row."""
    train, test = fashion(options)
    judge, net, count = fashion_judge(options), feature_classifier(options, train), few(options, SAMPLES, 50)
    prior, spent = trained(options, "guided", train, MINUTES)
    asked = torch.arange(count) % len(train.label_names)
    real, rows, shown, before = features_of(all_pictures(test), net), [], [], None
    for prior.config["scale"] in SCALES:
        samples = draw_samples(prior, count, options.seeds[0], labels=asked)
        verdict = judge.verdict("label", samples, grouped(asked, test.label_names))
        figures = scores(options, samples, train, test)
        kept = {key: figures[key] for key in ("distance", "distance_error", "precision", "recall", "coverage")}
        row = dict(scale=prior.config["scale"], accuracy=verdict["accuracy"], accuracy_error=verdict["error"], **kept)
        fake = features_of(samples, net)
        if before is not None:
            row["recall_error"] = bootstrap_error(recall_change, real, before, fake, draws=30)
        rows.append(row)
        shown.append(samples[:40])
        before = fake
    show(options, "guided", torch.cat(shown), columns=10)
    steps = list(zip(rows, rows[1:], strict=False))
    parts = dict(
        judge_is_sure=judge.real["label"] >= JUDGE_BOUND,
        accuracy_rises=all(
            b["accuracy"] - a["accuracy"] > 2 * math.hypot(a["accuracy_error"], b["accuracy_error"]) for a, b in steps
        ),
        recall_falls=all(a["recall"] - b["recall"] > 2 * b["recall_error"] for a, b in steps),
    )
    return dict(holds=all(parts.values()), **parts, judge=judge.real["label"], scales=rows, count=count, **spent)


def recall_change(real: Tensor, before: Tensor, after: Tensor) -> float:
    """From one set of samples to another."""
    return precision_recall(real, after)[1] - precision_recall(real, before)[1]
