"""Guidance by a classifier of noisy pictures."""

import pytest
import torch

from nerfcore.data.examples import Examples
from nerfcore.errors import NerfcoreError
from nerfcore.priors.guided import Guided
from nerfcore.priors.training import facts_of, train_prior
from tests.priors.bands import bands, generator


def test_the_classifier_leads_where_the_diffusion_alone_is_told_nothing():
    config = dict(widths=(16, 32), patch=1, learning_rate=4e-3, average=0.9, evaluations=12)
    run = train_prior("guided", bands(strength=0.6, spread=0.1), steps=150, batch_size=32, **config)
    prior, asked = run.prior, torch.arange(60) % 2
    right = []
    for prior.config["scale"] in (0.0, 1.0, 4.0):
        upper = prior.sample(60, generator(), asked)[:, 0, :2].mean((1, 2))
        right.append(((upper > 0) == (asked == 0)).double().mean().item())
    assert 0.3 < right[0] < 0.7 and right[1] > 0.8 and right[2] > 0.9
    assert run.history[-1]["classifier_right"] > 0.7
    clean, level = bands(strength=0.6, spread=0.1).pictures, torch.tensor(0.02)
    assert (prior.classifier(clean, level).argmax(1) == bands(strength=0.6, spread=0.1).labels).double().mean() > 0.95
    blind = prior.classifier(clean + 50 * torch.randn(clean.shape, generator=generator()), torch.tensor(50.0))
    assert blind.softmax(1).amax(1).mean() < 0.8  # where nothing is to be seen it is not sure


def test_it_needs_labels():
    with pytest.raises(NerfcoreError, match="labels"):
        Guided(facts_of(Examples(torch.zeros(4, 1, 4, 4))))
