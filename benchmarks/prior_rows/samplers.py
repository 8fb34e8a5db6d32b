"""Samplers of one model of Fashion-MNIST: how fast they converge, what few steps are worth, and the way back.

``orders``: of the error at the end of paths from the same noise, in float64, between levels that are even in a power,
beside a path of many more steps of Heun's; the slope of its logarithm against that of the number of steps.
``distances``: of samples with at most 20 evaluations of the network, beside those of 1,000 ancestral steps.
``way_back``: PSNR of held-out pictures that DDIM takes to noise and back.
"""

from __future__ import annotations

import math

import torch

from nerfcore.priors.blocks.samplers import SAMPLERS, ddim
from nerfcore.priors.blocks.schedule import power_spaced
from nerfcore.priors.scores import draw_samples

from ._autoencoders import errors, psnr
from ._common import all_pictures, fashion, few, scores, show
from ._timed import trained

MODULES = "nerfcore.priors.ddpm", "nerfcore.priors.blocks.unet", "nerfcore.priors.blocks.samplers"
MINUTES, COUNT, STEPS = 12.0, 500, 1000  # of training, samples of each way, ancestral steps
FAST = {  # at most 20 evaluations
    "ddim": dict(sampler="ddim", evaluations=20), "heun": dict(sampler="heun", evaluations=10, spacing="power"),
    "dpm_solver": dict(sampler="dpm_solver", evaluations=20),
}  # fmt: skip
ORDERS = {"ddim": 1, "heun": 2, "dpm_solver": 2}
LEAST, MOST, COARSE = 0.05, 20.0, (40, 80)
TARGET = dict(orders=ORDERS, orders_within=0.3, fast_to_slow=1.1, way_back=30.0)


def orders_of(denoise, shape: tuple[int, ...]) -> dict[str, float]:
    """By sampler, the slope between the last two numbers of steps, of root mean squares."""
    noise, found = MOST * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64), {}

    def end(name: str, steps: int) -> torch.Tensor:
        return SAMPLERS[name](denoise, noise, power_spaced(LEAST, MOST, steps)[:-1])

    truth = end("heun", 4 * max(COARSE))
    for name in ORDERS:
        coarse, fine = ((end(name, steps) - truth).square().mean().sqrt().item() for steps in COARSE)
        found[name] = math.log(coarse / fine) / math.log(COARSE[1] / COARSE[0])
    return found


def measure(options) -> dict:
    """The row."""
    train, test = fashion(options)
    prior, spent = trained(options, "ddpm", train, MINUTES)
    count, seed, found, shown = few(options, COUNT, 50), options.seeds[0], {}, []
    ways = FAST | {"ancestral": dict(sampler="ancestral", evaluations=few(options, STEPS, 20))}
    for name, how in ways.items():
        prior.config |= dict(spacing="steps") | how
        samples = draw_samples(prior, count, seed)
        figures = scores(options, samples, train, test)
        found[name] = {key: figures[key] for key in ("distance", "distance_error", "precision", "recall")} | how
        shown.append(samples[:16])
    slow = found["ancestral"]["distance"]
    best = min(found[name]["distance"] for name in FAST)
    levels = power_spaced(1e-3, 80.0, few(options, 200, 20))[:-1]
    pictures, denoise = all_pictures(test)[:16], prior.painter.denoiser  # not clipped: paths are smooth so
    with torch.no_grad():
        back = ddim(denoise, ddim(denoise, pictures, levels.flip(0)), levels)
        denoise.double()
        orders = orders_of(denoise, (2, *train.shape))
    returned = psnr(errors(back, pictures))
    show(options, "samplers", torch.cat((*shown, pictures, back)))
    parts = dict(
        converge=all(orders[name] > ORDERS[name] - TARGET["orders_within"] for name in ORDERS),
        fast=best <= TARGET["fast_to_slow"] * slow, returns=returned >= TARGET["way_back"],
    )  # fmt: skip
    return dict(
        holds=all(parts.values()), **parts, orders=orders, distances=found, fast_to_slow=best / slow,
        way_back=returned, count=count, **spent,
    )  # fmt: skip
