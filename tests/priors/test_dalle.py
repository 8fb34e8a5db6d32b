"""DALL-E: one stream of words and codes, and the best of several samples."""

import math

import torch
from torch.nn.functional import cross_entropy

from nerfcore.priors.base import Batch, Turn
from nerfcore.priors.dalle import CAPTION_WEIGHT, DALLE
from nerfcore.priors.training import facts_of, train_prior
from tests.priors.bands import WORDS, agreement, bands, generator

CODER = dict(prior="vqvae", codes=8, code_width=4, widths=(16,), learning_rate=1e-2)
SMALL = dict(coder=CODER, width=32, depth=1, heads=2, length=8, learning_rate=4e-3)


def made(**config):
    torch.manual_seed(0)
    prior = DALLE(facts_of(bands()), **SMALL | config)
    torch.nn.init.normal_(prior.sequence.out.weight)
    return prior.eval()


def test_it_draws_what_captions_say():
    prior = train_prior("dalle", bands(), steps=250, batch_size=32, **SMALL).prior
    assert agreement(prior.sample(40, generator(), captions=WORDS)) > 0.95


def test_the_loss_is_that_of_words_and_codes_by_their_weights():
    """By the logits of one whole stream, in which every token sees all that come before it."""
    prior, examples = made(silent=0.0), bands(6)
    batch = Batch(*examples.take(torch.arange(6)))
    with torch.no_grad():
        found = prior.loss("order", batch, Turn(0, 0.5, generator()))
        words, codes = prior.words(batch.captions), prior.coder.encode(batch.pictures).flatten(1)
        first = torch.cat((prior.start.expand(6, 1, -1), prior.sequence.embedding(words)), 1)
        logits = prior.sequence(codes[:, :-1] + prior.tokeniser.size, first)
    kinds = prior.tokeniser.size
    of_words = cross_entropy(logits[:, :8, :kinds].flatten(0, 1), words.flatten(), ignore_index=0)
    of_codes = cross_entropy(logits[:, 8:, kinds:].flatten(0, 1), codes.flatten())
    expected = CAPTION_WEIGHT * of_words + (1 - CAPTION_WEIGHT) * of_codes
    assert torch.allclose(found["loss"], expected, atol=1e-5)
    assert torch.allclose(prior.bits(batch.pictures, captions=batch.captions).mean(), of_codes / math.log(2), atol=1e-5)


def test_one_by_one_is_all_at_once():
    prior, index = made(), torch.randint(8, (2, 4), generator=generator())
    whole, step = prior.logits(index[:, :-1], **prior.said(2, captions=["sky", "sea"])), prior.following(2, captions=["sky", "sea"])
    found = torch.stack([step(index[:, max(i - 1, 0) : i]) for i in range(4)], 1)
    assert found.shape == (2, 4, 8) and (found - whole).abs().max() < 1e-5


def test_nothing_said_is_a_caption_without_words():
    prior, silent = made(), torch.tensor([True, False])
    assert torch.equal(prior.words(["sky", "sea"], silent), prior.words(["", "sea"]))
    assert torch.equal(prior.said(1)["first"], prior.said(1, captions=[""])["first"])


def test_the_best_is_the_nearest_to_its_caption():
    prior = made()
    drawn = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 4, 4)
    prior.sample = lambda count, generator, captions: drawn

    class Encoder:
        """Embeddings on a circle: pictures by their value, captions at 1 and at 3."""

        def embed_pictures(self, pictures):
            return on_circle(pictures.mean((1, 2, 3)))

        def embed_captions(self, captions):
            return on_circle(torch.tensor([{"sky": 1.2, "sea": 3.1}[caption] for caption in captions]))

    def on_circle(angle):
        return torch.stack((angle.cos(), angle.sin()), 1)

    best = prior.best(["sky", "sea"], 3, Encoder(), generator())
    assert best[:, 0, 0, 0].tolist() == [1.0, 3.0]
