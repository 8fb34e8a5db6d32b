"""Sums of products of planes and lines, on the chair."""

from __future__ import annotations

from ._chair import TARGET as PSNR
from ._chair import figures, train

MODULES = ("nerfcore.fields.tensorf",)
TARGET = dict(psnr=PSNR)


def measure(options) -> dict:
    """The row."""
    found = figures(train(options, "tensorf"))
    return dict(holds=found["psnr"] >= PSNR, seed=options.seeds[0], **found)
