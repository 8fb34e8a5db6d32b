"""Diffusion of codes beside diffusion of pixels, both of captions, in the same minutes: how fast, and how near.

Pixels are GLIDE's, whose hole is always the whole picture. Both draw by the same sampler with as many evaluations.
"""

from __future__ import annotations

import time

import torch

from ._captions import agreement, drawn, objects
from ._common import few, scores, shapes_judge, show
from ._timed import trained

MODULES = "nerfcore.priors.ddpm", "nerfcore.priors.glide", "nerfcore.priors.vqgan", "nerfcore.priors.blocks.unet"
MINUTES, SIZE = 27.0, 64  # of the 30 that are asked for; pixels along a side
ARMS = {"stable_diffusion": {}, "glide": dict(whole=1.0)}
TIMED, REPEATS = 64, 5  # pictures; medians are compared
TARGET = dict(faster=3.0, distance_ratio=1.1)


def measure(options) -> dict:
    """The row."""
    train, test = objects(options, SIZE)
    judge, priors, found, seconds = shapes_judge(options, SIZE), {}, {}, {name: [] for name in ARMS}
    for name, config in ARMS.items():
        priors[name], spent = trained(options, name, train, MINUTES, **config)
        samples = drawn(options, priors[name], test)
        found[name] = scores(options, samples, train, test) | agreement(judge, samples, test) | spent
        if name == "stable_diffusion":
            show(options, name, samples[:64])
    count = few(options, TIMED, 8)
    for _ in range(REPEATS):
        for name, prior in priors.items():
            start = time.perf_counter()
            prior.sample(count, torch.Generator().manual_seed(0), captions=list(test.captions[:count]))
            seconds[name].append((time.perf_counter() - start) / count)
    own, pixels = (torch.tensor(seconds[name]).median().item() for name in ARMS)
    faster, ratio = pixels / own, found["stable_diffusion"]["distance"] / found["glide"]["distance"]
    return dict(
        holds=faster >= TARGET["faster"] and ratio <= TARGET["distance_ratio"], faster=faster, distance_ratio=ratio,
        seconds_a_picture=own, pixel_seconds_a_picture=pixels, pixels_along_a_side=train.shape[-1], **found,
    )  # fmt: skip
