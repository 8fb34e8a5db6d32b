"""Pictures of Fashion-MNIST by diffusion, beside those of a DCGAN, which has fewer minutes, as it is asked for."""

from __future__ import annotations

from ._common import better, fashion, show
from ._timed import MINUTES, scored

MODULES = "nerfcore.priors.dcgan", "nerfcore.priors.blocks.unet", "nerfcore.priors.blocks.samplers"
TARGET = "a distance below that of DCGAN's samples"
OWN_MINUTES = 27.0  # of the 30 that are asked for


def measure(options) -> dict:
    """The row. Formulas of the papers are checked by tests/priors/blocks: test_schedule, test_denoiser."""
    train, test = fashion(options)
    _, samples, found = scored(options, "ddpm", train, test, OWN_MINUTES)
    _, _, other = scored(options, "dcgan", train, test)
    show(options, "ddpm", samples[:128])
    return dict(holds=better(found, other), **found, minutes=OWN_MINUTES, dcgan=other | dict(minutes=MINUTES))
