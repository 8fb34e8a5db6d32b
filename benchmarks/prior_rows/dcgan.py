"""Pictures of Fashion-MNIST by strided convolutions."""

from __future__ import annotations

from ._common import fashion, show
from ._timed import scored

MODULES = ("nerfcore.priors.blocks.adversarial", "nerfcore.priors.blocks.discriminator")
TARGET = "a distance between the floor and a third of the ceiling"


def measure(options) -> dict:
    """The row."""
    _, samples, found = scored(options, "dcgan", *fashion(options))
    show(options, "dcgan", samples[:128])
    return dict(holds=found["distance"] < found["ceiling"] / 3, **found)
