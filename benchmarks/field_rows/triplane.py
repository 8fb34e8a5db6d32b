"""Three planes and a small network, on the chair."""

from __future__ import annotations

from ._chair import TARGET as PSNR
from ._chair import figures, train

MODULES = ("nerfcore.fields.triplane",)
TARGET = dict(psnr=PSNR)


def measure(options) -> dict:
    """The row."""
    found = figures(train(options, "triplane"))
    return dict(holds=found["psnr"] >= PSNR, seed=options.seeds[0], **found)
