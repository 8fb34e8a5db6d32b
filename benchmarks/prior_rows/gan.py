"""Distributions that are known: every mode of mixtures is found, and what can be matched is matched.

On the line three normal modes, of deviation 0.04 at -0.6, 0 and 0.6; in the plane eight on a circle of 0.7, of
deviation 0.03. A sample belongs to a mode within four deviations of it, and a mode is found where at least a quarter of
its fair share of all samples does. Last, a normal distribution of the plane and an affine generator, which can be equal
to it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerfcore.data.examples import Examples
from nerfcore.priors.blocks.adversarial import OBJECTIVES, game_value
from nerfcore.priors.scores import draw_samples
from nerfcore.priors.training import train_prior

from ._common import few

MODULES = ("nerfcore.priors.blocks.adversarial",)
STEPS, COUNT, SAMPLES, FOUND = 4000, 20000, 8000, 0.25
VALUE, WITHIN = -2 * math.log(2), 0.05
TARGET = {"modes": "all", "value": VALUE, "discriminator": 0.5, "within": WITHIN}
ANGLES = torch.arange(8) * math.tau / 8
MIXTURES = {  # means of the modes [M, D], their deviation
    "line": (torch.tensor([[-0.6], [0.0], [0.6]]), 0.04),
    "ring": (0.7 * torch.stack((ANGLES.cos(), ANGLES.sin()), 1), 0.03),
}


def mixture(name: str, count: int, seed: int) -> Examples:
    """Vectors [D] as pictures [D, 1]."""
    modes, deviation = MIXTURES[name]
    generator = torch.Generator().manual_seed(seed)
    chosen = modes[torch.randint(len(modes), (count,), generator=generator)]
    drawn = chosen + deviation * torch.randn(chosen.shape, generator=generator)
    return Examples(drawn[:, :, None], name=name)


def modes_found(name: str, samples: Tensor) -> dict:
    """Of samples [N, D, 1]: how many modes are found, the share of the rarest, and of samples in no mode."""
    modes, deviation = MIXTURES[name]
    apart, nearest = torch.cdist(samples[:, :, 0], modes).min(1)
    shares = torch.bincount(nearest[apart < 4 * deviation], minlength=len(modes)) / len(samples)
    found = int((shares * len(modes) > FOUND).sum())
    return dict(modes=found, of=len(modes), rarest=shares.min().item(), outside=1 - shares.sum().item())


def equilibrium(options, seed: int) -> dict:
    """Of a reachable distribution: the value on fresh samples, and what the discriminator says of them."""

    def drawn(count: int, seed: int) -> Tensor:
        noise = torch.randn(count, 2, 1, generator=torch.Generator().manual_seed(seed))
        return 0.3 * noise + torch.tensor([[0.4], [-0.2]])

    run = train_prior(
        "gan", Examples(drawn(COUNT, seed), name="normal"), steps=few(options, STEPS), seed=seed, network="affine",
        latent=2, widths=(64,), objective="minimax", r1=0.5, average=0.99, final=0.05,
    )  # fmt: skip
    fresh, fake = drawn(SAMPLES, seed + 1000), draw_samples(run.prior, SAMPLES, seed)
    with torch.no_grad():
        real_logits, fake_logits = run.prior.discriminator(fresh), run.prior.discriminator(fake)
    said = torch.cat((real_logits, fake_logits)).sigmoid()
    return dict(
        value=game_value(real_logits, fake_logits).item(), discriminator=said.mean().item(),
        discriminator_deviation=(said - 0.5).square().mean().sqrt().item(), train_seconds=run.seconds,
    )


def measure(options) -> dict:
    """The row."""
    runs, at_rest = [], []
    for seed in options.seeds:
        for name in MIXTURES:
            data = mixture(name, COUNT, seed)
            for objective in OBJECTIVES:
                run = train_prior("gan", data, steps=few(options, STEPS), seed=seed, objective=objective, final=0.1)
                found = modes_found(name, draw_samples(run.prior, SAMPLES, seed))
                runs.append(dict(data=name, objective=objective, seed=seed, **found, train_seconds=run.seconds))
        at_rest.append(dict(seed=seed, **equilibrium(options, seed)))
    near = all(
        abs(found["value"] - VALUE) < WITHIN and abs(found["discriminator"] - 0.5) < WITHIN for found in at_rest
    )
    holds = near and all(run["modes"] == run["of"] for run in runs)
    return dict(holds=holds, steps=few(options, STEPS), mixtures=runs, reachable=at_rest)
