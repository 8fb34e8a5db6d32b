"""Pictures of two kinds, for priors that are told which: bright above and dark below, or the other way round."""

import torch

from nerfcore.data.examples import Examples


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def bands(count=64, strength=0.7, spread=0.05):
    """Every other one is "sky", by label and caption, with ``strength`` above; the others are "sea". Values have noise of deviation
    ``spread``."""
    labels = torch.arange(count) % 2
    upper = (strength * (1 - 2 * labels)).view(-1, 1, 1, 1).expand(-1, 1, 2, 4)
    pictures = torch.cat((upper, -upper), 2) + spread * torch.randn(count, 1, 4, 4, generator=generator())
    return Examples(pictures, labels, ("sky", "sea"), [("sky", "sea")[i] for i in labels.tolist()])


WORDS = ["sky", "sea"] * 20


def agreement(pictures):
    """Share of samples of ``WORDS`` that are bright above where their word says so."""
    upper = pictures[:, :, : pictures.shape[2] // 2].mean((1, 2, 3))
    return ((upper > 0) == torch.tensor([word == "sky" for word in WORDS])).double().mean().item()
