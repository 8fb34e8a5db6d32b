"""Captions of single objects by diffusion: at which scale a judge sees what was asked for, and what editing changes.

A picture is edited in a box around its middle, where the object is, by the caption of another picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nerfcore.data.examples import Examples
from nerfcore.priors.glide import GLIDE

from ._captions import ASKED, agreement, drawn, objects, reaches
from ._common import all_pictures, shapes_judge, show
from ._timed import trained

MODULES = "nerfcore.priors.ddpm", "nerfcore.priors.blocks.unet", "nerfcore.priors.blocks.guidance"
MINUTES, SCALES = 26.0, (1.0, 2.0, 4.0)
ACCURACY, OBEYS = 0.9, 0.8
HOLE = 0.75  # of a side
AT_ONCE = 250
TARGET = dict(best_scale=ACCURACY, editing=OBEYS, outside="unchanged")


@torch.no_grad()
def edited(options, prior: GLIDE, test: Examples) -> tuple[Tensor, Examples, float]:
    """Pictures whose captions are exchanged, the examples that they should now be like, and the greatest change outside
    of the holes."""
    pictures, side = all_pictures(test), test.shape[-1]
    edge, wanted = round(side * (1 - HOLE) / 2), test.subset(torch.arange(len(test)).roll(1))
    hole = torch.zeros(1, 1, side, side)
    hole[..., edge : side - edge, edge : side - edge] = 1
    random, made = torch.Generator().manual_seed(options.seeds[0]), []
    for first in range(0, len(test), AT_ONCE):
        part, says = pictures[first : first + AT_ONCE], list(wanted.captions[first : first + AT_ONCE])
        made.append(prior.edit(part, hole.expand(len(part), -1, -1, -1), says, random))
    made = torch.cat(made)
    return made, wanted, ((made - pictures) * (1 - hole)).abs().max().item()


def measure(options) -> dict:
    """The row."""
    train, test = objects(options)
    judge = shapes_judge(options)
    prior, spent = trained(options, "glide", train, MINUTES)
    rows, shown = [], []
    for prior.config["scale"] in SCALES:
        samples = drawn(options, prior, test)
        rows.append(dict(scale=prior.config["scale"]) | agreement(judge, samples, test))
        shown.append(samples[:32])
    best = max(rows, key=lambda row: row["mean"])
    prior.config["scale"] = best["scale"]
    made, wanted, outside = edited(options, prior, test)
    editing = agreement(judge, made, wanted) | dict(outside=outside)
    show(options, "glide", torch.cat(shown))
    show(options, "glide_edits", torch.cat((all_pictures(test)[:32], made[:32])))
    parts = dict(
        accurate=reaches(best, ACCURACY), obeys=reaches(editing, OBEYS), only_in_the_hole=outside == 0
    )
    return dict(
        holds=all(parts.values()), **parts, best_scale=best["scale"], scales=rows, editing=editing,
        asked=ASKED, captions=len(test), **spent,
    )  # fmt: skip
