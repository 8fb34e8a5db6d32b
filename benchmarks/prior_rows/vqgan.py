"""Reconstructions of a VQGAN beside those of a VQ-VAE of the same rate, on Fashion-MNIST."""

from __future__ import annotations

import torch

from ._autoencoders import errors, psnr, reconstructions, trained
from ._common import all_pictures, better, fashion, scores, show

MODULES = (
    "nerfcore.metrics.features", "nerfcore.metrics.generative", "nerfcore.priors.scores", "nerfcore.priors.training",
    "nerfcore.priors.blocks.adversarial", "nerfcore.priors.blocks.discriminator", "nerfcore.priors.vqvae",
    "nerfcore.priors.vqgan",
)  # fmt: skip
TARGET = "Fréchet distance of reconstructions below that of a VQ-VAE's at the same rate"
STEPS = 2500  # of 64 pictures, about five minutes on 2 cores of the VQ-VAE, ten of the VQGAN
CODES, WIDTHS = 64, (32, 64)  # few codes: what is lost has to be made up


def measure(options) -> dict:
    """The row. The network whose features the distance is of is not the one that the VQGAN learns by: it has another
    seed, though the same pictures and labels. Both have the same encoder, codes and decoder, and as many steps."""
    train, test = fashion(options)
    truth, found, shown = all_pictures(test), {}, [all_pictures(test)[:16]]
    for name in ("vqvae", "vqgan"):
        run = trained(options, name, train, STEPS, codes=CODES, widths=WIDTHS)
        made = reconstructions(run.prior, truth)
        each = errors(made, truth)
        figures = dict(mse=each.mean().item(), psnr=psnr(each), seconds=run.seconds)
        found[name] = scores(options, made, train, test) | figures
        shown.append(made[:16])
    show(options, "vqgan", torch.cat(shown))
    setting = dict(seed=options.seeds[0], steps=STEPS, codes=CODES)
    return dict(holds=better(found["vqgan"], found["vqvae"]), **setting, **found)
