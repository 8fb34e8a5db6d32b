"""Captions by way of embeddings: does a judge see more of what was asked for by both priors than without one?

All three draw by the same decoder of the same embeddings. Variations are of held-out pictures.
"""

from __future__ import annotations

import torch

from ._captions import ASKED, above, agreement, drawn, objects, reaches
from ._common import all_pictures, shapes_judge, show
from ._timed import trained

MODULES = (
    "nerfcore.priors.dual_encoder", "nerfcore.priors.ddpm", "nerfcore.priors.blocks.unet",
    "nerfcore.priors.blocks.sequence", "nerfcore.priors.blocks.samplers",
)  # fmt: skip
MINUTES, PRIORS, AT_ONCE = 28.0, ("diffusion", "autoregressive"), 250  # of the 30 that are asked for
KEPT = 0.8
TARGET = dict(priors="both above the caption's own embedding", variations=dict.fromkeys(ASKED, KEPT))


def measure(options) -> dict:
    """The row."""
    train, test = objects(options)
    judge, found, shown = shapes_judge(options), {}, []
    prior, spent = trained(options, "dalle2", train, MINUTES, priors=PRIORS)
    for prior.by in (*PRIORS, "caption"):
        samples = drawn(options, prior, test)
        found[prior.by] = agreement(judge, samples, test)
        shown.append(samples[:32])
    random, pictures = torch.Generator().manual_seed(options.seeds[0]), all_pictures(test)
    varied = torch.cat([prior.variations(part, random) for part in pictures.split(AT_ONCE)])
    variations = agreement(judge, varied, test)
    show(options, "dalle2", torch.cat((*shown, pictures[:32], varied[:32])))
    parts = dict(
        priors_help=all(above(found[kind], found["caption"]) for kind in PRIORS), varied=reaches(variations, KEPT)
    )
    return dict(holds=all(parts.values()), **parts, **found, variations=variations, captions=len(test), **spent)
