"""Captions of single objects of 32 x 32 pixels: does a judge see the shape and the colour that were asked for?

Samples are of the captions of held-out scenes; each of the two runs, with the bank of kernels and with one kernel for
all, has the same minutes.
"""

from __future__ import annotations

from ._captions import ASKED, above, agreement, drawn, objects, reaches
from ._common import shapes_judge, show
from ._timed import trained

MODULES = (
    "nerfcore.priors.blocks.adversarial", "nerfcore.priors.blocks.discriminator", "nerfcore.priors.blocks.style",
    "nerfcore.priors.text", "nerfcore.data.shapes",
)  # fmt: skip
ACCURACY = 0.8
BANKS = {"bank": {}, "one_kernel": dict(bank=1)}
TARGET = dict.fromkeys(ASKED, ACCURACY) | {"one_kernel": "worse in the mean of both"}


def measure(options) -> dict:
    """The row."""
    train, test = objects(options)
    judge, found = shapes_judge(options), {}
    for name, config in BANKS.items():
        prior, spent = trained(options, "gigagan", train, **config)
        samples = drawn(options, prior, test)
        found[name] = agreement(judge, samples, test) | spent
        if name == "bank":
            show(options, "gigagan", samples[:128])
    parts = dict(accurate=reaches(found["bank"], ACCURACY), one_kernel_is_worse=above(*found.values()))
    return dict(holds=all(parts.values()), **parts, captions=len(test), **found)
