"""DALL-E 2: embeddings and their principal components, both priors, and variations."""

import pytest
import torch

from nerfcore.errors import NerfcoreError
from nerfcore.priors.dalle2 import DALLE2, EmbeddingSequence
from nerfcore.priors.training import facts_of, train_prior
from tests.priors.bands import WORDS, agreement, bands, generator


@pytest.fixture(scope="module")
def prior():
    config = DALLE2.tiny | dict(priors=("diffusion", "autoregressive"), encoder_span=0.15, decoder_span=0.45)
    return train_prior("dalle2", bands(), steps=350, batch_size=32, **config).prior


@pytest.mark.parametrize("by", ["diffusion", "autoregressive"])
def test_both_priors_lead_from_captions_to_their_pictures(prior, by, monkeypatch):
    monkeypatch.setattr(prior, "by", by)
    assert agreement(prior.sample(40, generator(), captions=WORDS)) > 0.9
    said, pictures = prior.read(WORDS), bands(40).pictures
    found, true = prior.priors[by].sample(said, generator()), prior.embed(pictures)
    own, other = ((found - at).square().mean() for at in (true, true.roll(1, 0)))
    assert own < 0.5 * other
    if by == "diffusion":  # a caption's own embedding is not where pictures are
        assert own < 0.5 * (said.vector - true).square().mean()


def test_variations_keep_what_a_picture_shows(prior):
    pictures = bands(40).pictures
    made = prior.variations(pictures, generator())
    assert ((made[:, :, :2].mean((1, 2, 3)) > 0) == (pictures[:, :, :2].mean((1, 2, 3)) > 0)).double().mean() > 0.9
    assert not torch.equal(made, prior.variations(pictures, generator(1)))


def test_components_are_those_of_a_singular_value_decomposition():
    part = EmbeddingSequence(6, 4, dict(components=3, bins=400, width=8, depth=1, heads=2))
    x = torch.randn(500, 6, generator=generator()) @ torch.diag(torch.tensor([3.0, 0.1, 1.0, 0.01, 2.0, 0.05])) + 5
    for some in x.split(100):
        part.see(some)
    mean, axes, deviation = part.axes()
    _, values, vectors = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    assert torch.allclose(mean, x.mean(0), atol=1e-4)
    assert torch.allclose(deviation, values[:3] / 500**0.5, rtol=1e-2)
    assert torch.allclose((axes.T @ vectors[:3].T).abs(), torch.eye(3), atol=1e-2)
    inside = ((x - mean) @ axes / deviation).abs().amax(1) < 2.9  # within what bins cover
    back = (mean + ((part.binned(x) + 0.5) / 400 * 2 - 1) * 3 * deviation @ axes.T)[inside]
    assert (back - x[inside]).square().mean() < 0.01  # what the other components hold, and half a bin


def test_what_cannot_be_is_refused():
    facts = facts_of(bands())
    for priors in ((), ("oracle",)):
        with pytest.raises(ValueError, match="diffusion, autoregressive"):
            DALLE2(facts, **DALLE2.tiny | dict(priors=priors))
    with pytest.raises(NerfcoreError, match="captions"):
        DALLE2(facts, **DALLE2.tiny).sample(2, generator())
