"""What the contraction of a code costs and gives, beside the same network without it, on Fashion-MNIST."""

from __future__ import annotations

import torch

from ._autoencoders import errors, less, reconstructions, trained
from ._common import all_pictures, fashion, show

MODULES = ("nerfcore.priors.training", "nerfcore.priors.autoencoder", "nerfcore.priors.contractive_ae")
TARGET = dict(norm_ratio=0.5, error_ratio=1.3, noise="reconstructions of noisy pictures change less")
STEPS, CODE, WEIGHT = 2000, 128, 1.5  # of 128 pictures, under a minute on 2 cores
NOISE = 0.3  # standard deviation, of values in [-1, 1]


def measure(options) -> dict:
    """The row. Norms are of the Jacobian of the code, the root of the mean of squares over test pictures. Noise is
    followed in two ways: how far the code moves, in deviations of the code, and how far the reconstruction does."""
    train, test = fashion(options)
    truth, runs = all_pictures(test), []
    noisy = truth + NOISE * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    for seed in options.seeds:
        found = {}
        for name, weight in dict(plain=0.0, contractive=WEIGHT).items():
            run = trained(options, "contractive_ae", train, STEPS, seed, code=CODE, weight=weight)
            made, moved = reconstructions(run.prior, truth), reconstructions(run.prior, noisy)
            with torch.no_grad():
                codes, shaken = run.prior.encode(truth), run.prior.encode(noisy)
                norm = run.prior.contraction(truth).mean().sqrt().item()
            of_code = (shaken - codes).square().sum(1) / codes.var(0).sum()
            found[name] = dict(norm=norm, mse=errors(made, truth), code=of_code, picture=errors(moved, made))
            found[name]["seconds"], found[name]["made"] = run.seconds, moved[:16]
        plain, ours = found["plain"], found["contractive"]
        norm, error = ours["norm"] / plain["norm"], (ours["mse"].mean() / plain["mse"].mean()).item()
        firm = less(ours["code"], plain["code"]) and less(ours["picture"], plain["picture"])
        figures = {
            kind: {k: v if isinstance(v, float) else v.mean().item() for k, v in of.items() if k != "made"}
            for kind, of in found.items()
        }
        holds = norm <= 0.5 and error <= 1.3 and firm
        runs.append(dict(holds=holds, norm_ratio=norm, error_ratio=error, more_robust=firm, **figures))
    show(options, "contractive_ae", torch.cat((truth[:16], noisy[:16], plain["made"], ours["made"])))
    setting = dict(steps=STEPS, code=CODE, weight=WEIGHT, noise=NOISE)
    return dict(holds=all(run["holds"] for run in runs), seeds=options.seeds, **setting, runs=runs)
