"""Imagen: pyramids, what stages see, which of them learns when, and what the last one draws."""

import pytest
import torch

from nerfcore.errors import NerfcoreError
from nerfcore.priors.base import Batch, Facts, Turn
from nerfcore.priors.blocks.discriminator import halve
from nerfcore.priors.blocks.style import double
from nerfcore.priors.imagen import MOST_BLUR, Imagen
from nerfcore.priors.training import PriorConfig, PriorTrainer, facts_of, train_prior
from tests.priors.bands import WORDS, agreement, bands, generator

SMALL = Imagen.tiny | dict(spans=(0.2, 0.5, 0.3))


def test_it_draws_what_captions_say_and_larger_pictures_are_like_the_smaller_ones():
    config = SMALL | dict(reader=dict(width=16, widths=(8,), text_width=16, text_depth=1))
    prior = train_prior("imagen", bands(), steps=250, batch_size=32, **config).prior
    small, large = prior.grown(40, generator(), WORDS)
    assert small.shape == (40, 1, 2, 2) and large.shape == (40, 1, 4, 4)
    assert min(agreement(small), agreement(large)) > 0.9
    assert (halve(large) - small).abs().mean() < 0.25


def trainer(**config):
    return PriorTrainer(bands(), PriorConfig("imagen", steps=10, config=SMALL | config, batch_size=8))


def test_one_part_learns_at_a_time_and_the_text_encoder_stays():
    run, parts = trainer(), ("reader", "stages.0.diffuser", "stages.1.diffuser")
    moved, means = [], []
    for _ in range(10):
        before = {name: value.clone() for name, value in run.prior.state_dict().items()}
        run.step()
        changed = [name for name, value in run.prior.state_dict().items() if not torch.equal(value, before[name])]
        moved.append({part for part in parts if any(name.startswith(part + ".") for name in changed)})
        means.append({i for i in (0, 1) if any(name.startswith(f"stages.{i}.average") for name in changed)})
    assert moved == 2 * [{parts[0]}] + 5 * [{parts[1]}] + 3 * [{parts[2]}]
    assert means == 2 * [set()] + 5 * [{0}] + 3 * [{1}]


def test_an_enlarger_sees_the_half_of_a_picture_with_noise_of_the_level_that_it_is_told():
    stage = trainer().prior.stages[1]
    pictures = 0.5 * torch.randn(2000, 1, 4, 4, generator=generator(1))
    batch = Batch(pictures, None, ["sky"] * 2000)
    seen = stage.seen(batch, Turn(0, 0.0, generator()))["beside"]
    level = seen[:, 1, 0, 0]
    assert (seen[:, 1] == level[:, None, None]).all() and level.min() >= 0 and level.max() <= MOST_BLUR
    clean = stage.beside(halve(pictures), torch.zeros(2000), generator())["beside"][:, :1]
    assert torch.equal(clean, double(halve(pictures)))
    scale = 1 / (1 + level.square()).sqrt()
    noise = stage.beside(torch.zeros(2000, 1, 2, 2), level, generator())["beside"][:, :1]
    centre = noise[:, 0].mean((1, 2)) / (scale * level)  # of four independent values
    assert centre.std().item() == pytest.approx(0.5, rel=0.1)


def test_spans_sides_and_captions_have_to_fit():
    facts = facts_of(bands())
    for spans in ((1.0,), (0.5, 0.6), (0.0, 1.0)):
        with pytest.raises(ValueError, match="spans"):
            Imagen(facts, **SMALL | dict(spans=spans))
    with pytest.raises(ValueError, match="halved"):
        Imagen(Facts((1, 6, 6), (), facts.merges), **SMALL | dict(spans=(0.25,) * 4))
    with pytest.raises(NerfcoreError, match="captions"):
        Imagen(facts, **SMALL).sample(2, generator())
