"""Scores of samples lie between their bounds, and a judge is only believed where it knows real pictures."""

from types import SimpleNamespace

import pytest
import torch

from nerfcore.data.examples import Examples
from nerfcore.metrics.generative import frechet_distance
from nerfcore.priors import scores
from nerfcore.priors.scores import draw_samples, feature_net, score_samples, train_judge


def rings(count, seed=0):
    """Pictures [N, 2, 1] of points around a circle: no Gaussian."""
    turn = 6.2832 * torch.rand(count, generator=torch.Generator().manual_seed(seed))
    return 0.5 * torch.stack((turn.cos(), turn.sin()), 1)[..., None]


def blobs(count, seed=0, size=8):
    """Examples of a bright left or right half, dark or bright otherwise: two questions."""
    generator = torch.Generator().manual_seed(seed)
    right, bright = (torch.randint(2, (count,), generator=generator) for _ in range(2))
    pictures = 0.1 * torch.randn(count, 1, size, size, generator=generator) - 0.4 + 0.4 * bright.view(-1, 1, 1, 1)
    for picture, half in zip(pictures, right, strict=True):
        picture[..., half * size // 2 :][..., : size // 2] += 0.5
    return Examples(pictures, right, ("left", "right"), attributes={"side": right, "light": bright})


def flat(pictures):
    return pictures.flatten(1)


def test_scores_of_held_out_pictures_of_the_truth_and_of_the_gaussian():
    train, test = rings(900), rings(400, 1)
    truth, same, gaussian = (score_samples(x, train, test, flat) for x in (rings(400, 2), test, torch.zeros(400, 2, 1)))
    assert same["distance"] == pytest.approx(0, abs=1e-9) and same["precision"] == same["recall"] == same["coverage"] == 1
    for name in ("floor", "ceiling", "kernel_floor", "count", "floor_error"):
        assert truth[name] == gaussian[name]
    assert truth["count"] == 400
    assert abs(truth["distance"] - truth["floor"]) < 4 * (truth["distance_error"] + truth["floor_error"])
    assert gaussian["distance"] == pytest.approx(2 * 0.125, rel=0.05)  # the variance of a cosine, a quarter of 1/2, twice
    assert gaussian["kernel_distance"] > 10 * abs(truth["kernel_floor"]) and gaussian["recall"] == 0


def test_the_ceiling_of_gaussian_pictures_is_their_floor():
    """And that of a ring is not, in features that see more than two moments."""

    def fourth(pictures):
        return torch.cat((flat(pictures), flat(pictures).square()), 1)

    normal = 0.2 * torch.randn(1500, 2, 1, generator=torch.Generator().manual_seed(3))
    found = score_samples(normal[:500], normal[500:], normal[:500], fourth)
    assert abs(found["ceiling"] - found["floor"]) < 4 * (found["ceiling_error"] + found["floor_error"])
    found = score_samples(rings(500, 4), rings(500, 5), rings(500, 6), fourth)
    assert found["ceiling"] > 10 * found["floor"] and found["ceiling"] - found["floor"] > 4 * found["ceiling_error"]


def test_fewer_samples_are_compared_with_as_few():
    train, test, samples = rings(300), rings(200, 1), rings(50, 2)
    found = score_samples(samples, train, test, flat)
    assert found["count"] == 50
    assert found["distance"] == pytest.approx(frechet_distance(flat(samples), flat(test[:50])), rel=1e-9)


def test_features_are_trained_once_for_each_data_set(monkeypatch, tmp_path):
    monkeypatch.setattr(scores, "cache_dir", lambda: tmp_path)
    trained = []
    train = scores.train_classifier
    monkeypatch.setattr(scores, "train_classifier", lambda *a, **k: trained.append(a[2]) or train(*a, **k))
    examples, other = blobs(64), blobs(64, 1)
    first, again, another = (feature_net(e, steps=2) for e in (examples, examples, other))
    assert trained == [[2, 2], [2, 2]]  # both questions, of each data set once
    pictures = examples.pictures
    assert torch.equal(first.features(pictures), again.features(pictures))
    assert not torch.equal(first.features(pictures), another.features(pictures))
    feature_net(Examples(examples.pictures), steps=2)
    assert trained[2] == [4]  # quarter turns


def test_a_judge_tells_right_from_wrong_and_how_well_it_knows_real_pictures():
    judge = train_judge(blobs(400, 7), steps=120)
    assert list(judge.real) == ["side", "light"] and min(judge.real.values()) > 0.95
    others = blobs(200, 8)
    good = judge.verdict("side", others.pictures, others.attributes["side"])
    assert good["accuracy"] > 0.95 and not good["void"] and good["real_accuracy"] == judge.real["side"]
    half = torch.where(torch.arange(200) < 100, 1 - others.labels, others.labels)
    bad = judge.verdict("side", others.pictures, half)
    assert bad["accuracy"] == pytest.approx(0.5, abs=0.05) and bad["error"] == pytest.approx((0.25 / 200) ** 0.5, rel=0.05)


def test_the_word_of_a_judge_that_knows_nothing_is_void():
    examples = blobs(200)
    noise = Examples(torch.randn(200, 1, 8, 8, generator=torch.Generator().manual_seed(1)), examples.labels)
    judge = train_judge(noise, steps=5)
    assert list(judge.real) == ["label"] and judge.verdict("label", noise.pictures, noise.labels)["void"]


def test_samples_are_drawn_in_parts_of_labels_and_captions_in_their_order(monkeypatch):
    monkeypatch.setattr(scores, "DRAWN_AT_ONCE", 4)

    def sample(count, generator, labels, captions):
        assert count == len(labels) == len(captions) <= 4
        noise = torch.rand(count, generator=generator)
        return torch.stack((labels.float(), torch.tensor([float(c) for c in captions]), noise), 1)[..., None]

    prior = SimpleNamespace(sample=sample, device=torch.device("cpu"))
    found = draw_samples(prior, 10, 5, torch.arange(10), [str(2 * i) for i in range(10)])[..., 0]
    assert found[:, 0].tolist() == list(range(10)) and found[:, 1].tolist() == list(range(0, 20, 2))
    assert found[:, 2].unique().numel() == 10
    assert torch.equal(found[..., None], draw_samples(prior, 10, 5, torch.arange(10), [str(2 * i) for i in range(10)]))
