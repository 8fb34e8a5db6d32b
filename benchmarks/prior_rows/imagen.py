"""A cascade to 64 pixels beside one model of 64 pixels, both of captions, in the same minutes.

The one model is GLIDE, whose hole is always the whole picture.
"""

from __future__ import annotations

import torch

from ._captions import agreement, drawn, objects
from ._common import scores, shapes_judge, show
from ._timed import trained

MODULES = "nerfcore.priors.ddpm", "nerfcore.priors.glide", "nerfcore.priors.dual_encoder", "nerfcore.priors.blocks.unet"
MINUTES, SIZE = 28.0, 64  # of the 30 that are asked for; pixels along a side
ARMS = {"imagen": {}, "glide": dict(whole=1.0)}
TARGET = "a distance not above that of one model in the same minutes, within two standard errors"


def measure(options) -> dict:
    """The row."""
    train, test = objects(options, SIZE)
    judge, found, shown = shapes_judge(options, SIZE), {}, []
    for name, config in ARMS.items():
        prior, spent = trained(options, name, train, MINUTES, **config)
        samples = drawn(options, prior, test)
        found[name] = scores(options, samples, train, test) | agreement(judge, samples, test) | spent
        shown.append(samples[:32])
    show(options, "imagen", torch.cat(shown), 8)
    cascade, one = found.values()
    error = (cascade["distance_error"] ** 2 + one["distance_error"] ** 2) ** 0.5
    return dict(holds=cascade["distance"] <= one["distance"] + 2 * error, pixels_along_a_side=train.shape[-1], **found)
