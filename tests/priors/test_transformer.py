"""The transformer over codes: what its bits are worth, what it is told, and pictures larger than those it learned."""

import pytest
import torch

from nerfcore.data.examples import Examples
from nerfcore.errors import NerfcoreError
from nerfcore.priors.base import Facts
from nerfcore.priors.training import train_prior
from nerfcore.priors.transformer import Transformer
from tests.priors.bands import WORDS, agreement, bands, generator

CODER = dict(prior="vqvae", codes=8, code_width=4, widths=(16,), learning_rate=1e-2)
SMALL = dict(coder=CODER, width=32, depth=1, heads=2, learning_rate=4e-3)


def made(spatial=(8, 8), **config):
    torch.manual_seed(0)
    prior = Transformer(Facts((1, *spatial)), **SMALL | config)
    torch.nn.init.normal_(prior.sequence.out.weight)  # so that what comes next depends on what came
    return prior.eval()


@pytest.mark.parametrize("told", ["labels", "captions"])
def test_it_draws_what_it_is_told_and_bits_say_how_much_it_knows(told):
    prior = train_prior("transformer", bands(), steps=250, batch_size=32, told=told, **SMALL).prior
    asked = dict(labels=torch.arange(40) % 2, captions=WORDS)
    assert agreement(prior.sample(40, generator(), **{told: asked[told]})) > 0.95
    pictures, labels, captions = bands().take(torch.arange(40))
    said = dict(labels=labels, captions=captions)[told]
    swapped = 1 - labels if told == "labels" else captions[1:] + captions[:1]
    right, wrong = (prior.bits(pictures, **{told: what}).mean() for what in (said, swapped))
    untold = prior.bits(pictures).mean()
    assert right < untold < wrong  # that it is one of two is worth a bit
    assert 0.7 < (untold - right) * prior.coder.places.numel() < 1.5


def test_what_it_draws_is_as_likely_as_it_says():
    """Two codes in a row: how often each pair comes, against its bits."""
    prior = made((2, 4), coder=CODER | dict(codes=3))
    drawn = torch.stack([prior.following(1)(torch.zeros(1, 0, dtype=torch.int64)).softmax(1)[0]] * 3)
    after = prior.following(3)
    after(torch.zeros(3, 0, dtype=torch.int64))
    pairs = drawn[0][:, None] * after(torch.arange(3)[:, None]).softmax(1)
    assert pairs.sum().item() == pytest.approx(1, abs=1e-5)
    prior.coder.decode = lambda index: index  # the codes themselves
    codes = prior.sample(6000, generator()).flatten(1)
    found = torch.bincount(3 * codes[:, 0] + codes[:, 1], minlength=9).view(3, 3) / 6000
    assert (found - pairs).abs().max() < 4 * 0.5 / 6000**0.5


def test_one_by_one_is_all_at_once():
    prior = made()
    index = torch.randint(8, (3, 16), generator=generator())
    whole = prior.sequence(index[:, :-1], **prior.said(3))
    step = prior.following(3)
    found = torch.stack([step(index[:, max(i - 1, 0) : i]) for i in range(16)], 1)
    assert (found - whole).abs().max() < 1e-5


def test_guidance_goes_away_from_what_is_said_of_nothing():
    torch.manual_seed(0)
    prior = Transformer(Facts((1, 8, 8), ("a", "b")), told="labels", scale=2.5, **SMALL).eval()
    torch.nn.init.normal_(prior.sequence.out.weight)
    none, labels = torch.zeros(2, 0, dtype=torch.int64), torch.tensor([0, 1])
    guided, plain = prior.following(2, labels)(none), prior.following(2)(none)
    prior.config["scale"] = 1.0
    told = prior.following(2, labels)(none)
    assert torch.allclose(guided, plain + 2.5 * (told - plain), atol=1e-5) and not torch.allclose(told, plain)


def test_a_large_picture_of_the_usual_size_is_a_usual_picture():
    prior = made()
    assert torch.equal(prior.sample_large(2, (4, 4), generator()), prior.sample(2, generator()))
    assert prior.sample_large(2, (5, 7), generator()).shape == (2, 1, 10, 14)
    with pytest.raises(ValueError, match="at least"):
        prior.sample_large(1, (3, 4), generator())


def test_windows_go_on_with_what_stands_in_them():
    """Of a rule that holds in every window, a chequerboard of two codes, larger pictures keep all of it."""
    y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    board = (((y // 2 + x // 2) % 2) * 1.6 - 0.8).float()
    pictures = torch.stack([board, -board]).repeat(16, 1, 1)[:, None]
    coder = CODER | dict(codes=2)
    prior = train_prior("transformer", Examples(pictures), steps=200, batch_size=32, **SMALL | dict(coder=coder)).prior
    cells = prior.sample_large(8, (9, 10), generator())[:, 0, ::2, ::2].sign()
    assert (cells[:, 1:] == -cells[:, :-1]).double().mean() > 0.99
    assert (cells[:, :, 1:] == -cells[:, :, :-1]).double().mean() > 0.99


def test_what_cannot_be_told_is_refused():
    with pytest.raises(NerfcoreError, match="labels"):
        Transformer(Facts((1, 8, 8)), told="labels", **SMALL)
    with pytest.raises(ValueError, match="moods"):
        Transformer(Facts((1, 8, 8)), told="moods", **SMALL)
