"""How many codes a VQ-VAE uses, and what they keep, with either way of learning them, on Fashion-MNIST."""

from __future__ import annotations

import math

import torch

from ._autoencoders import errors, psnr, reconstructions, trained
from ._common import all_pictures, fashion, show

MODULES = ("nerfcore.priors.training", "nerfcore.priors.vqvae")
TARGET = dict(codes_used=0.8)
STEPS = 2500  # of 64 pictures, about five minutes on 2 cores
CODES, WIDTHS = 256, (32, 64)  # 7 x 7 places


def measure(options) -> dict:
    """The row: a code is used if a place of a test picture is given it. Perplexity: of the codes of test pictures."""
    train, test = fashion(options)
    truth, found, shown = all_pictures(test), {}, [all_pictures(test)[:16]]
    for learn in ("ema", "gradient"):
        run = trained(options, "vqvae", train, STEPS, codes=CODES, widths=WIDTHS, learn=learn)
        with torch.no_grad():
            chosen = torch.cat([run.prior.encode(part.to(run.prior.device)).cpu() for part in truth.split(250)])
        share = torch.bincount(chosen.flatten(), minlength=CODES) / chosen.numel()
        made = reconstructions(run.prior, truth)
        each = errors(made, truth)
        entropy = -(share * share.clamp(min=1e-12).log()).sum().item()
        figures = dict(psnr=psnr(each), mse=each.mean().item(), perplexity=math.exp(entropy), seconds=run.seconds)
        found[learn] = dict(codes_used=(share > 0).float().mean().item(), **figures)
        shown.append(made[:16])
    show(options, "vqvae", torch.cat(shown))
    holds = all(figures["codes_used"] >= TARGET["codes_used"] for figures in found.values())
    rate = chosen[0].numel() * math.log2(CODES)
    return dict(holds=holds, seed=options.seeds[0], steps=STEPS, codes=CODES, bits_per_picture=rate, learned_by=found)
