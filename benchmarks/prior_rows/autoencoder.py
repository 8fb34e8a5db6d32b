"""Autoencoders of two kinds beside PCA with codes of the same size, on Fashion-MNIST."""

from __future__ import annotations

import numpy as np
import torch

from ._autoencoders import errors, less, reconstructions, trained
from ._common import all_pictures, fashion, show

MODULES = ("nerfcore.priors.training", "nerfcore.priors.autoencoder")
TARGET = "test MSE below that of PCA with the same code size, at 8, 16 and 32"
CODES = (8, 16, 32)
NETWORKS = {  # steps of 128 pictures: about half a minute, and two minutes, on 2 cores
    "mlp": dict(steps=5000, config=dict(network="mlp", widths=(512, 256))),
    "conv": dict(steps=1000, config=dict(network="conv", widths=(16, 32))),
}


def measure(options) -> dict:
    """The row: every network, code and seed; all of them have to be better."""
    train, test = fashion(options)
    truth, columns, found, shown = all_pictures(test), principal(all_pictures(train)), {}, [all_pictures(test)[:16]]
    mean, axes = columns
    flat = truth.flatten(1) - mean
    for code in CODES:
        linear = errors((flat @ axes[:code].T @ axes[:code] + mean).view_as(truth).clamp(-1, 1), truth)
        found[code] = dict(pca=linear.mean().item())
        for network, how in NETWORKS.items():
            runs = []
            for seed in options.seeds:
                run = trained(options, "autoencoder", train, how["steps"], seed, code=code, **how["config"])
                made = reconstructions(run.prior, truth)
                each = errors(made, truth)
                runs.append(dict(mse=each.mean().item(), seconds=run.seconds, below=less(each, linear)))
            found[code][network] = runs
            shown.append(made[:16])
    show(options, "autoencoder", torch.cat(shown))
    holds = all(run["below"] for figures in found.values() for name in NETWORKS for run in figures[name])
    return dict(holds=holds, seeds=options.seeds, codes=found, steps={k: v["steps"] for k, v in NETWORKS.items()})


def principal(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [P] and principal axes [P, P] of pictures [N, …], the strongest first."""
    flat = pictures.flatten(1).double()
    mean = flat.mean(0)
    _, _, axes = np.linalg.svd((flat - mean).numpy(), full_matrices=False)
    return mean.float(), torch.from_numpy(axes).float()
