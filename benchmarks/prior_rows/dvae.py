"""Relaxed codes beside quantised vectors: the same networks, codes and steps, on Fashion-MNIST."""

from __future__ import annotations

import torch

from ._autoencoders import errors, psnr, reconstructions, trained
from ._common import all_pictures, fashion, show
from .vqvae import CODES, WIDTHS

MODULES = ("nerfcore.priors.training", "nerfcore.priors.vqvae", "nerfcore.priors.dvae")
TARGET = dict(error_ratio=1.1)
STEPS = 2500  # of 64 pictures, about five minutes on 2 cores each


def measure(options) -> dict:
    """The row: errors of test pictures that are made of the codes with the largest logits, not of mixtures."""
    train, test = fashion(options)
    truth, found, shown = all_pictures(test), {}, [all_pictures(test)[:16]]
    for name in ("vqvae", "dvae"):
        run = trained(options, name, train, STEPS, codes=CODES, widths=WIDTHS)
        made = reconstructions(run.prior, truth)
        each = errors(made, truth)
        found[name] = dict(mse=each.mean().item(), psnr=psnr(each), seconds=run.seconds)
        shown.append(made[:16])
    show(options, "dvae", torch.cat(shown))
    ratio = found["dvae"]["mse"] / found["vqvae"]["mse"]
    setting = dict(seed=options.seeds[0], steps=STEPS, codes=CODES)
    return dict(holds=ratio <= TARGET["error_ratio"], error_ratio=ratio, **setting, **found)
