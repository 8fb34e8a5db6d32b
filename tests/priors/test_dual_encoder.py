"""The dual encoder: its loss against float64 loops, what it learns of a few pictures, and its limits."""

import math

import pytest
import torch

from nerfcore.data.shapes import shapes_examples
from nerfcore.errors import NerfcoreError
from nerfcore.priors.base import Batch, Facts, Turn
from nerfcore.priors.dual_encoder import DualEncoder
from nerfcore.priors.training import facts_of, train_prior

TURN = Turn(0, 0.0, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return shapes_examples("train", 16, 24, cache=tmp_path_factory.mktemp("shapes"))


def made(examples, **config):
    torch.manual_seed(0)
    return DualEncoder(facts_of(examples, 300), **DualEncoder.tiny, **config)


def test_loss_is_that_of_the_paper_in_loops(examples):
    prior = made(examples).double()
    index = torch.tensor([0, 3, 5, 8])
    pictures, _, captions = examples.take(index)
    assert len(set(captions)) == 4
    a, b = prior.embed_pictures(pictures.double()), prior.embed_captions(captions)
    logits = [[(x @ y).item() / 0.07 for y in b] for x in a]
    rows = [math.log(sum(math.exp(v) for v in row)) - row[i] for i, row in enumerate(logits)]
    columns = [math.log(sum(math.exp(row[j]) for row in logits)) - logits[j][j] for j in range(4)]
    expected = (sum(rows) + sum(columns)) / 8
    found = prior.loss("all", Batch(pictures.double(), None, captions), TURN)
    assert found["loss"].item() == pytest.approx(expected, rel=1e-5)  # the first scale is stored in float32


def test_embeddings_are_unit_vectors_and_similarities_their_cosines(examples):
    prior = made(examples)
    pictures, _, captions = examples.take(torch.arange(5))
    a, b = prior.embed_pictures(pictures), prior.embed_captions(captions[:3])
    assert torch.allclose(a.norm(dim=1), torch.ones(5)) and torch.allclose(b.norm(dim=1), torch.ones(3))
    cosines = torch.nn.functional.cosine_similarity(a[:, None], b[None], dim=2)
    assert (prior.similarity(pictures, captions[:3]) - cosines).abs().max() < 1e-6


def test_equal_captions_are_no_mistake(examples):
    """Of two pictures with one caption, either's is as right as the other's, in the loss and in what is retrieved."""
    prior = made(examples).double()
    pictures, _, captions = examples.take(torch.tensor([0, 3, 5, 8]))
    captions[3] = captions[0]
    batch = Batch(pictures.double(), None, captions)
    logits = prior.scale * prior.similarity(batch.pictures, captions)
    rows = logits.log_softmax(1)
    pairs = {0: (0, 3), 1: (1,), 2: (2,), 3: (0, 3)}
    columns = logits.log_softmax(0)
    expected = -sum(
        (rows[i, j] + columns[j, i]) / len(own) for i, own in pairs.items() for j in own
    ) / 8
    found = prior.loss("all", batch, TURN)
    assert found["loss"].item() == pytest.approx(expected.item(), rel=1e-6)
    likeliest = [captions[i] for i in logits.argmax(1).tolist()]
    assert found["retrieval"].item() == sum(a == b for a, b in zip(likeliest, captions, strict=True)) / 4
    same = Batch(pictures.double(), None, [captions[0]] * 4)
    assert prior.loss("all", same, TURN)["retrieval"].item() == 1


def test_scale_stops_at_a_hundred(examples):
    prior = made(examples)
    with torch.no_grad():
        prior.log_scale.fill_(9.0)
    prior.after_step(Batch(torch.empty(0)), TURN)
    assert prior.scale.item() == pytest.approx(100, rel=1e-5)


def test_it_learns_which_caption_is_whose(examples):
    run = train_prior("dual_encoder", examples, steps=80, seed=1, batch_size=24, **DualEncoder.tiny)
    distinct = list({caption: i for i, caption in enumerate(examples.captions)}.values())
    pictures, _, captions = examples.take(torch.tensor(distinct))
    with torch.no_grad():
        similarity = run.prior.similarity(pictures, captions)
    right = (similarity.argmax(1) == torch.arange(len(distinct))).float().mean()
    assert len(distinct) > 18 and right > 0.9


@pytest.mark.parametrize("shape", [(2, 16), (1, 8, 16), (1, 8, 8, 8)])
def test_any_number_of_dimensions(examples, shape):
    prior = DualEncoder(Facts(shape, merges=facts_of(examples, 300).merges), **DualEncoder.tiny)
    assert prior.similarity(torch.randn(3, *shape), ["a", "red cube"]).shape == (3, 2)


def test_captions_are_needed_and_nothing_is_drawn(examples):
    with pytest.raises(NerfcoreError, match="'dual_encoder' needs data that has captions"):
        DualEncoder(Facts((3, 16, 16)))
    with pytest.raises(NotImplementedError):
        made(examples).sample(1, torch.Generator())
