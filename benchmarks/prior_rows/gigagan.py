"""Captions of single objects of 32 x 32 pixels: does a judge see the shape and the colour that were asked for?

Samples are of the captions of held-out scenes; each of the two runs, with the bank of kernels and with one kernel for
all, has the same minutes.
"""

from __future__ import annotations

import math

import torch

from nerfcore.priors.scores import draw_samples

from ._common import few, shapes, shapes_judge, show
from ._timed import trained

MODULES = (
    "nerfcore.priors.blocks.adversarial", "nerfcore.priors.blocks.discriminator", "nerfcore.priors.blocks.style",
    "nerfcore.priors.text", "nerfcore.data.shapes",
)  # fmt: skip
ACCURACY = 0.8
ASKED = "shape", "colour"
BANKS = {"bank": {}, "one_kernel": dict(bank=1)}
TARGET = dict.fromkeys(ASKED, ACCURACY) | {"one_kernel": "worse in the mean of both"}


def measure(options) -> dict:
    """The row."""
    train, test = shapes(options, count=16000, alone=True)
    judge = shapes_judge(options)
    count, found = min(len(test), few(options, 2000)), {}
    test = test.subset(torch.arange(count))
    for name, config in BANKS.items():
        prior, spent = trained(options, "gigagan", train, **config)
        samples = draw_samples(prior, count, options.seeds[0], captions=test.captions)
        verdicts = {asked: judge.verdict(asked, samples, test.attributes[asked]) for asked in ASKED}
        mean = sum(verdict["accuracy"] for verdict in verdicts.values()) / len(ASKED)
        error = math.hypot(*(verdict["error"] for verdict in verdicts.values())) / len(ASKED)
        found[name] = dict(**verdicts, mean=mean, mean_error=error, **spent)
        if name == "bank":
            show(options, "gigagan", samples[:128])
    bank, one = found.values()
    worse = bank["mean"] - one["mean"] > 2 * math.hypot(bank["mean_error"], one["mean_error"])
    seen = all(bank[asked]["accuracy"] >= ACCURACY and not bank[asked]["void"] for asked in ASKED)
    return dict(holds=seen and worse, accurate=seen, one_kernel_is_worse=worse, captions=count, **found)
