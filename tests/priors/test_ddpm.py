"""DDPM: what it learns, how it is told, and what it is worth in bits."""

import math

import pytest
import torch

from nerfcore.errors import NerfcoreError
from nerfcore.priors.base import Facts
from nerfcore.priors.ddpm import DDPM
from nerfcore.priors.training import train_prior
from tests.priors.bands import WORDS, agreement, bands, generator

SMALL = dict(widths=(16, 32), patch=1, learning_rate=4e-3, average=0.9, evaluations=10)


@pytest.mark.parametrize("told", ["labels", "captions"])
def test_it_draws_what_it_is_told_and_guidance_makes_it_surer(told):
    prior = train_prior("ddpm", bands(), steps=150, batch_size=32, told=told, **SMALL).prior
    asked, right = dict(labels=torch.arange(40) % 2, captions=WORDS), []
    for prior.config["scale"] in (0.0, 1.0, 2.0):
        right.append(agreement(prior.sample(40, generator(), **{told: asked[told]})))
    assert 0.2 < right[0] < 0.8 and right[1] > 0.9 and right[2] > 0.9
    anything = prior.sample(40, generator(1))[:, 0, :2].mean((1, 2))  # of which nothing is said
    assert 0.15 < (anything > 0).double().mean() < 0.85


@pytest.mark.parametrize("sampler", ["ancestral", "ddim", "heun", "dpm_solver"])
def test_every_sampler_draws_what_was_learned(sampler):
    settings = dict(sampler=sampler, evaluations=50 if sampler == "ancestral" else 10)
    settings["spacing"] = "power" if sampler == "heun" else "steps"
    prior = train_prior("ddpm", bands(), steps=150, batch_size=32, **(SMALL | settings)).prior
    drawn = prior.sample(32, generator())
    upper, lower = drawn[:, 0, :2], drawn[:, 0, 2:]
    assert (upper.mean((1, 2)) * lower.mean((1, 2)) < -0.2).double().mean() > 0.9
    assert drawn.abs().mean().item() == pytest.approx(0.7, abs=0.1)


@pytest.mark.parametrize("target, schedule", [("noise", "linear"), ("velocity", "cosine")])
def test_learning_brings_the_bound_near_to_what_values_are_worth(target, schedule):
    """Values of deviation 0.05 around two means cost log2(255 / 2 · 0.05 √(2πe)) bits each, and one picture one more;
    who knows nothing pays 8. What training says of the bound is of single terms, and of the network before its mean."""
    run = train_prior(
        "ddpm", bands(), steps=200, batch_size=32, target=target, schedule=schedule, learns_variance=True, **SMALL,
    )
    found = run.prior.bits(bands().pictures[:4], generator()).mean().item()
    least = math.log2(127.5 * 0.05 * math.sqrt(2 * math.pi * math.e)) + 1 / 16
    assert least - 0.3 < found < least + 1.0
    assert 0 < run.history[-1]["bits"] < 50


def test_what_cannot_be_told_or_drawn_is_refused():
    facts = Facts((1, 4, 4))
    with pytest.raises(NerfcoreError, match="needs data that has labels"):
        DDPM(facts, told="labels")
    with pytest.raises(ValueError, match="nothing, labels, captions, given, got 'moods'"):
        DDPM(facts, told="moods")
    with pytest.raises(ValueError, match="ancestral, ddim"):
        DDPM(facts, sampler="euler")
