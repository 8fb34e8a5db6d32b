"""The two bounds of a VAE, and its samples beside Gaussian codes through a plain autoencoder, on Fashion-MNIST."""

from __future__ import annotations

import torch

from nerfcore.priors.scores import draw_samples

from ._autoencoders import trained
from ._common import SAMPLES, all_pictures, better, fashion, few, scores, show

MODULES = (
    "nerfcore.metrics.features", "nerfcore.metrics.generative", "nerfcore.priors.scores",
    "nerfcore.priors.training", "nerfcore.priors.autoencoder", "nerfcore.priors.vae",
)  # fmt: skip
TARGET = dict(bounds="ELBO <= IWAE on every batch", distance="below that of Gaussian codes through a plain autoencoder")
STEPS, CODE = 8000, 128  # of 128 pictures, about two minutes on 2 cores; the VAE leaves most of the code unused
IMPORTANCE = 50  # codes for each picture


def measure(options) -> dict:
    """The row. Both networks, codes and numbers of steps are the same; the Gaussian of the plain codes has their mean
    and covariance, which is more than N(0, 1) would be."""
    train, test = fashion(options)
    truth, runs, count = all_pictures(test), [], few(options, SAMPLES, 100)
    for seed in options.seeds:
        vae = trained(options, "vae", train, STEPS, seed, code=CODE, likelihood="logistic")
        plain = trained(options, "autoencoder", train, STEPS, seed, code=CODE)
        generator = torch.Generator().manual_seed(seed)
        bounds = [vae.prior.bounds(part, IMPORTANCE, generator) for part in truth[:count].split(100)]
        ordered = all((elbo.mean() <= iwae.mean()).item() for elbo, iwae in bounds)
        elbo, iwae = (torch.cat(kind).mean().item() for kind in zip(*bounds, strict=True))
        drawn = {name: draw_samples(run.prior, count, seed) for name, run in dict(vae=vae, plain=plain).items()}
        found = {name: scores(options, samples, train, test) for name, samples in drawn.items()}
        holds = ordered and better(found["vae"], found["plain"])
        seconds = dict(seconds=vae.seconds, plain_seconds=plain.seconds)
        runs.append(dict(holds=holds, every_batch_ordered=ordered, elbo=elbo, iwae=iwae, **found, **seconds))
    show(options, "vae", torch.cat((drawn["vae"][:64], drawn["plain"][:32])))
    setting = dict(steps=STEPS, code=CODE, likelihood="logistic", importance_samples=IMPORTANCE)
    return dict(holds=all(run["holds"] for run in runs), seeds=options.seeds, **setting, runs=runs)
