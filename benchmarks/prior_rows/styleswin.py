"""Windows of attention: do their borders show? And the distance, beside StyleGAN's in the same minutes.

The mean power spectrum along each axis falls smoothly where pictures have no grid. Windows of n places make peaks at
multiples of side / n cycles a picture: the power there, over the mean of the powers one cycle below and above, must not
exceed 1, or what it is of true pictures, by more than two standard errors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nerfcore.metrics.generative import bootstrap_error
from nerfcore.priors.blocks.convolution import coded_size

from ._common import all_pictures, fashion, show
from ._timed import scored

MODULES = (
    "nerfcore.priors.blocks.adversarial", "nerfcore.priors.blocks.discriminator", "nerfcore.priors.blocks.style",
    "nerfcore.priors.blocks.windows", "nerfcore.priors.stylegan",
)  # fmt: skip
TARGET = "no peak of the mean spectrum at the windows' frequencies; the distance beside StyleGAN's"


def spectra(pictures: Tensor) -> Tensor:
    """[N, side / 2 + 1]: the power of each picture [N, C, side, side] along its axes, the mean of both."""
    powers = [torch.fft.rfft(pictures.double(), dim=axis).abs().square() for axis in (2, 3)]
    return sum(power.mean((1, other)) for power, other in zip(powers, (3, 2), strict=True)) / 2


def peaks(powers: Tensor, window: int, side: int) -> list[float]:
    """At each multiple of the windows' frequency that has neighbours: power over the mean of these."""
    mean, step = powers.mean(0), side // window
    places = range(step, len(mean) - 1, step)
    return [(2 * mean[k] / (mean[k - 1] + mean[k + 1])).item() for k in places]


def measure(options) -> dict:
    """The row."""
    train, test = fashion(options)
    prior, samples, found = scored(options, "styleswin", train, test)
    _, _, other = scored(options, "stylegan", train, test)
    side = train.shape[-1]
    (window,) = coded_size((side,), len(prior.config["widths"]) - 1)
    drawn, true = spectra(samples), spectra(all_pictures(test))

    def at_windows(powers: Tensor) -> list[float]:
        return peaks(powers, window, side)

    heights, errors, of_true = at_windows(drawn), bootstrap_error(at_windows, drawn), at_windows(true)
    smooth = all(h <= max(1.0, t) + 2 * e for h, t, e in zip(heights, of_true, errors, strict=True))
    show(options, "styleswin", samples[:128])
    rows = dict(window=window, peaks=heights, peak_errors=errors, peaks_of_true_pictures=of_true)
    return dict(holds=smooth, **found, **rows, stylegan=other)
