"""From captions to codes by encoder and decoder, beside DALL-E in the same minutes; and its loss by its size.

The sizes have the same steps and the same coder, which depends on the seed alone; bits are of codes of test pictures.
"""

from __future__ import annotations

import torch

from nerfcore.priors.training import train_prior

from ._captions import agreement, drawn, objects
from ._common import all_pictures, at_scale, few, shapes_judge, show
from ._timed import trained

MODULES = (
    "nerfcore.priors.dalle", "nerfcore.priors.dvae", "nerfcore.priors.vit_vqgan", "nerfcore.priors.transformer",
    "nerfcore.priors.blocks.sequence",
)  # fmt: skip
MINUTES = 22.0  # of the 30 that are asked for, as of DALL-E
SIZES, STEPS = (16, 32, 64, 128), 600  # widths of the transformer; of 64 pictures, two fifths of them the coder's
TARGET = dict(accuracy="not below DALL-E's", loss="falls from each size to the next")


def bits_of(options, width: int, train, test) -> dict:
    """Of a transformer of this width."""
    settings = dict(seed=options.seeds[0], width=width) | at_scale(options)
    run = train_prior("parti", train, steps=few(options, STEPS, 5), **settings)
    pictures, captions = all_pictures(test), list(test.captions)
    parts = [run.prior.bits(pictures[i : i + 250], captions=captions[i : i + 250]) for i in range(0, len(test), 250)]
    size = sum(p.numel() for p in run.prior.players()["order"].parameters)
    return dict(width=width, parameters=size, bits=torch.cat(parts).mean().item(), seconds=run.seconds)


def measure(options) -> dict:
    """The row."""
    train, test = objects(options)
    judge, found = shapes_judge(options), {}
    for name in ("parti", "dalle"):
        prior, spent = trained(options, name, train, MINUTES)
        samples = drawn(options, prior, test)
        found[name] = agreement(judge, samples, test) | spent
        if name == "parti":
            show(options, "parti", samples[:128])
    sizes = [bits_of(options, width, train, test) for width in SIZES]
    error = 2 * (found["parti"]["mean_error"] ** 2 + found["dalle"]["mean_error"] ** 2) ** 0.5
    parts = dict(
        accurate=found["parti"]["mean"] > found["dalle"]["mean"] - error,
        scales=all(b["bits"] < a["bits"] for a, b in zip(sizes, sizes[1:], strict=False)),
    )
    return dict(holds=all(parts.values()), **parts, sizes=sizes, steps=STEPS, captions=len(test), **found)
