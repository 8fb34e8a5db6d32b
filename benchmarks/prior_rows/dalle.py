"""Captions and codes in one stream: does a judge see what was asked for, and does the best of several show it better?

The dual encoder that chooses is trained on the same pictures, and is not the judge.
"""

from __future__ import annotations

import torch

from ._captions import ASKED, above, agreement, drawn, objects, reaches
from ._common import few, shapes_judge, show
from ._timed import trained

MODULES = (
    "nerfcore.priors.dvae", "nerfcore.priors.transformer", "nerfcore.priors.dual_encoder",
    "nerfcore.priors.blocks.sequence",
)  # fmt: skip
MINUTES, ENCODER_MINUTES = 22.0, 5.0  # of the 30 that are asked for
ACCURACY, CANDIDATES, RERANKED = 0.8, 8, 500
AT_ONCE = 50
TARGET = dict.fromkeys(ASKED, ACCURACY) | {"reranked": "better in the mean of both"}


def measure(options) -> dict:
    """The row."""
    train, test = objects(options)
    judge = shapes_judge(options)
    prior, spent = trained(options, "dalle", train, MINUTES)
    encoder, other = trained(options, "dual_encoder", train, ENCODER_MINUTES)
    samples = drawn(options, prior, test)
    found, part = agreement(judge, samples, test), test.subset(torch.arange(min(few(options, RERANKED), len(test))))
    random = torch.Generator().manual_seed(options.seeds[0])
    chunks = [part.captions[i : i + AT_ONCE] for i in range(0, len(part), AT_ONCE)]
    best = torch.cat([prior.best(list(captions), CANDIDATES, encoder, random) for captions in chunks])
    reranked = agreement(judge, best, part)
    show(options, "dalle", torch.cat((samples[:64], best[:64])))
    parts = dict(accurate=reaches(found, ACCURACY), reranking_improves=above(reranked, found))
    return dict(
        holds=all(parts.values()), **parts, **found, candidates=CANDIDATES, reranked=reranked, captions=len(test),
        encoder_seconds=other["train_seconds"], **spent,
    )  # fmt: skip
