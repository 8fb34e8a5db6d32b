"""Sparse codes beside those of the same network without a penalty, on Fashion-MNIST."""

from __future__ import annotations

import torch
from torch import Tensor

from ._autoencoders import errors, reconstructions, trained
from ._common import all_pictures, fashion, show

MODULES = ("nerfcore.priors.training", "nerfcore.priors.autoencoder", "nerfcore.priors.sparse_ae")
TARGET = dict(activation_within=0.2, error_ratio=1.5, classes="overlap of active sets less between than within classes")
STEPS = 1500  # of 128 pictures, about half a minute on 2 cores
CODE = 1024
PENALTIES = {"kl": 0.15, "l1": 0.2}  # and the mean activation that each is to hold
TOP = 0.05  # share of units that are the active set of a group of pictures


def measure(options) -> dict:
    """The row: both penalties. The plain autoencoder is the one without a penalty: as large a code, as many steps."""
    train, test = fashion(options)
    truth, found, shown = all_pictures(test), {}, [all_pictures(test)[:16]]
    for penalty, target in PENALTIES.items():
        runs = []
        for seed in options.seeds:
            same = dict(code=CODE, penalty=penalty, target=target)
            plain = trained(options, "sparse_ae", train, STEPS, seed, weight=0.0, **same)
            sparse = trained(options, "sparse_ae", train, STEPS, seed, **same)
            made = reconstructions(sparse.prior, truth)
            error, without = (errors(x, truth).mean().item() for x in (made, reconstructions(plain.prior, truth)))
            with torch.no_grad():
                codes, usual = sparse.prior.encode(truth), plain.prior.encode(truth).mean().item()
            within, between, apart = overlap(codes, test.labels)
            activation = codes.mean().item()
            holds = abs(activation / target - 1) < 0.2 and error < 1.5 * without and apart
            figures = dict(activation=activation, plain_activation=usual, mse=error, ratio=error / without)
            overlaps = dict(overlap_within=within, overlap_between=between)
            runs.append(dict(holds=holds, **figures, **overlaps, seconds=sparse.seconds))
        found[penalty] = runs
        shown.append(made[:16])
    show(options, "sparse_ae", torch.cat(shown))
    holds = all(run["holds"] for runs in found.values() for run in runs)
    return dict(holds=holds, seeds=options.seeds, steps=STEPS, code=CODE, target_activation=PENALTIES, penalties=found)


def overlap(codes: Tensor, labels: Tensor) -> tuple[float, float, bool]:
    """Jaccard overlap of active sets: of the two halves of a class, and of a half each of two classes, as means; and
    whether the first is more, beyond two standard errors. A set has the units whose activation, over that which they
    have over all pictures, is the highest."""
    halves = [(codes[labels == k][::2], codes[labels == k][1::2]) for k in labels.unique().tolist()]
    count = max(round(TOP * codes.shape[1]), 1)
    usual = codes.mean(0)
    sets = [[set((half.mean(0) - usual).topk(count).indices.tolist()) for half in pair] for pair in halves]

    def jaccard(a: set, b: set) -> float:
        return len(a & b) / len(a | b)

    within = torch.tensor([jaccard(a, b) for a, b in sets])
    between = torch.tensor([jaccard(a[0], b[1]) for i, a in enumerate(sets) for j, b in enumerate(sets) if i != j])
    error = (within.var() / len(within) + between.var() / len(between)).sqrt()
    return within.mean().item(), between.mean().item(), (within.mean() - between.mean() > 2 * error).item()
