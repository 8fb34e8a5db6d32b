"""What every prior promises, of each in its smallest form."""

import itertools
import json

import pytest
import torch

from nerfcore.data.examples import Examples
from nerfcore.priors.base import Prior, prior_named, prior_names
from nerfcore.priors.training import load_prior, train_prior
from nerfcore.training import loop

NAMES = prior_names()
COLOURS = list(itertools.product((-0.7, 0.7), repeat=3))  # the corners of a cube
WORDS = ("night", "sky", "leaf", "sea", "rose", "plum", "corn", "snow")


def eight():
    """Pictures [8, 3, 4, 4] of one colour above and its opposite below, which differ in more than one way each."""
    upper = torch.tensor(COLOURS)[:, :, None, None].expand(8, 3, 2, 4)
    names = tuple(f"a {word} flag" for word in WORDS)
    return Examples(torch.cat((upper, -upper), 2), torch.arange(8) % 2, ("dark", "light"), names, "flags")


def trained(name, steps, out=None, **settings):
    return train_prior(name, eight(), out, steps=steps, device="cpu", **prior_named(name).tiny | settings)


def parameters(prior):
    return {name: value.clone() for name, value in prior.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def asked(prior):
    """What a sample is drawn of, where the prior is conditioned."""
    _, labels, captions = eight().take(torch.arange(5))
    return dict(
        labels=labels if "labels" in prior.needs else None, captions=captions if "merges" in prior.needs else None
    )


def answer(prior):
    """What a prior makes of pictures or of noise: something that depends on all its parameters that matter later."""
    if draws(prior):
        return prior.sample(5, torch.Generator().manual_seed(3), **asked(prior))
    pictures, _, captions = eight().take(torch.arange(5))
    return prior.similarity(pictures, captions)


def draws(prior):
    return _has(prior, "sample")


def encodes(prior):
    return _has(prior, "reconstruct")


def _has(prior, name):
    """Of a prior or its class: does it do what the base leaves open?"""
    return getattr(prior if isinstance(prior, type) else type(prior), name) is not getattr(Prior, name)


def test_every_prior_is_registered_under_the_name_of_its_file():
    assert len(NAMES) >= 13 and all(prior_named(name).name == name for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_can_do_is_what_is_checked_here(name):
    cls = prior_named(name)
    assert draws(cls) != hasattr(cls, "similarity") and (draws(cls) or not encodes(cls))
    assert cls.tiny and set(cls.needs) <= {"labels", "merges"}


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_and_the_steps_say_all(name):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = trained(name, 3, seed=1).prior
    assert torch.equal(before, torch.random.get_rng_state())  # it leaves the global generator alone
    torch.manual_seed(6)
    assert same(parameters(first), parameters(trained(name, 3, seed=1).prior))
    assert not same(parameters(first), parameters(trained(name, 3, seed=2).prior))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_loaded_is_what_was_saved(name, tmp_path):
    prior = trained(name, 3, tmp_path).prior
    loaded = load_prior(tmp_path, "cpu")
    assert same(parameters(prior), parameters(loaded))
    assert json.dumps(loaded.config) == json.dumps(prior.config)
    assert loaded.facts == prior.facts and not loaded.training
    assert torch.equal(answer(prior), answer(loaded))
    assert (tmp_path / "report.html").is_file() and (tmp_path / "samples.png").is_file() == draws(prior)


@pytest.mark.parametrize("name", NAMES)
def test_going_on_is_as_if_nothing_had_been_between(name, tmp_path, monkeypatch):
    whole = trained(name, 5, seed=3, batch_size=3)
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)

    def stop(progress):
        if progress.stage == "training" and progress.step == 2:
            raise KeyboardInterrupt

    half = trained(name, 5, tmp_path, seed=3, batch_size=3, on_progress=stop)
    assert half.interrupted and half.steps == 2
    rest = trained(name, 5, tmp_path, seed=3, batch_size=3, resume=True)
    assert rest.steps == 5 and not rest.interrupted
    assert same(parameters(whole.prior), parameters(rest.prior))


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_pictures_that_a_generator_decides(name):
    prior = trained(name, 2).prior
    first = answer(prior)
    assert torch.equal(first, answer(prior))
    if not draws(prior):
        assert first.shape == (5, 5)
        return
    assert first.shape == (5, 3, 4, 4) and first.dtype == torch.float32
    assert first.abs().max() <= (1 if encodes(prior) else 1.5)
    assert not torch.equal(first, prior.sample(5, torch.Generator().manual_seed(4), **asked(prior)))


@pytest.mark.parametrize("name", NAMES)
def test_half_as_many_digits_of_products_change_little(name):
    whole, half = (trained(name, 1, precision=kind) for kind in ("float32", "bfloat16"))
    assert not same(parameters(whole.prior), parameters(half.prior))
    for key, value in parameters(whole.prior).items():
        assert half.prior.state_dict()[key].dtype == value.dtype
    for figure, value in whole.history[-1].items():
        if figure not in ("seconds", "examples_per_second"):
            assert half.history[-1][figure] == pytest.approx(value, rel=0.02, abs=0.02), figure


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_eight_pictures(name):
    """Those that encode make them again; those that draw, draw what is nearer to one of them than before; the one that
    compares knows which caption is whose."""
    pictures, _, captions = eight().take(torch.arange(8))
    if encodes(prior_named(name)):
        prior = trained(name, 400, batch_size=8).prior
        assert (prior.reconstruct(pictures) - pictures).square().mean() < 0.05 * pictures.var()
    elif draws(prior_named(name)):
        far, near = (to_nearest(trained(name, steps, batch_size=8).prior, pictures) for steps in (1, 200))
        assert near < 0.6 * far
    else:
        prior = trained(name, 150, batch_size=8).prior
        assert (prior.similarity(pictures, captions).argmax(1) == torch.arange(8)).all()


def to_nearest(prior, pictures):
    captions = [f"a {WORDS[i % 8]} flag" for i in range(32)]
    found = prior.sample(
        32, torch.Generator().manual_seed(0), torch.arange(32) % 2 if "labels" in prior.needs else None,
        captions if "merges" in prior.needs else None,
    )
    return torch.cdist(found.flatten(1), pictures.flatten(1)).square().amin(1).mean().item()
