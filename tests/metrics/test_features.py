"""Classifiers: they learn, repeat themselves, and know what they were asked."""

import sys
import time
import types

import pytest
import torch
from torch import nn

from nerfcore.errors import NerfcoreError
from nerfcore.metrics.features import (
    INCEPTION,
    Classifier,
    features_of,
    inception_features,
    predictions,
    quarter_turns,
    train_classifier,
)


def bars(count, seed=0, size=8):
    """Pictures of one bright line in noise; labels: is it upright, and is it in the nearer half?"""
    generator = torch.Generator().manual_seed(seed)
    upright, place = (torch.randint(n, (count,), generator=generator) for n in (2, size))
    pictures = 0.2 * torch.randn(count, 1, size, size, generator=generator)
    for picture, turned, at in zip(pictures, upright, place, strict=True):
        (picture if turned else picture.mT)[0, :, at] += 1
    return pictures.clamp(-1, 1), upright, (place < size // 2).long()


def test_it_learns_two_questions_at_once_and_answers_them_on_other_pictures():
    pictures, *labels = bars(400)
    others, *truth = bars(200, seed=1)
    net = train_classifier(pictures, torch.stack(labels, 1), (2, 2), steps=120, shift=0)
    right = (predictions(others, net) == torch.stack(truth, 1)).float().mean(0)
    assert net(others).shape == (200, 4) and (right > 0.95).all()
    features = features_of(others, net)
    assert features.shape == (200, 64)
    assert 0.5 < features.var(0).mean() < 2  # of mean 0 and variance 1 over what it learned from


def test_the_same_seed_gives_the_same_network_and_the_global_generator_stays():
    pictures, labels, _ = bars(64)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    nets = [train_classifier(pictures, labels, 2, steps=3, seed=seed, mirrored=True) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    first, again, other = (net.to_features[0].weight for net in nets)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not any(p.requires_grad for p in nets[0].parameters()) and not nets[0].training


def test_without_labels_it_learns_quarter_turns():
    ramp = torch.linspace(-1, 1, 8).expand(1, 8, 8)
    pictures = ramp + 0.1 * torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    net = train_classifier(pictures, None, 4, steps=60)
    turned, turns = quarter_turns(pictures, torch.Generator().manual_seed(3))
    assert turns.unique().tolist() == [0, 1, 2, 3]
    assert torch.equal(torch.rot90(turned[0], -int(turns[0]), (1, 2)), pictures[0])
    assert (predictions(turned, net)[:, 0] == turns).float().mean() > 0.9


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_features_are_differentiable_in_pictures_of_any_dimension(dims):
    net = Classifier(2, 16, 3, width=10, dims=dims).eval()
    pictures = torch.rand(2, 2, *[16] * dims, requires_grad=True)
    assert [m.shape[2] for m in net.maps(pictures)] == [8, 4]
    (gradient,) = torch.autograd.grad(net.features(pictures).square().sum(), pictures)
    assert gradient.shape == pictures.shape and gradient.abs().sum() > 0


def test_moving_pictures_repeats_their_edges():
    from nerfcore.metrics.features import _moved

    picture = torch.arange(5.0).expand(64, 1, 5, 5)
    moved = _moved(picture, 1, False, torch.Generator().manual_seed(0))[:, 0, 2]
    rows = {tuple(row) for row in moved.tolist()}
    assert rows == {(0, 1, 2, 3, 4), (0, 0, 1, 2, 3), (1, 2, 3, 4, 4)}
    flipped = _moved(picture, 0, True, torch.Generator().manual_seed(0))[:, 0, 2]
    assert {tuple(row) for row in flipped.tolist()} == {(0, 1, 2, 3, 4), (4, 3, 2, 1, 0)}


@pytest.mark.parametrize(
    ("labels", "settings", "words"),
    [
        (torch.zeros(4).long(), dict(), "steps or seconds"),
        (torch.tensor([0, 1, 2, 3]), dict(steps=1), r"from 0 to \[2\]"),
        (None, dict(steps=1), "quarter turns"),
    ],
)
def test_errors_in_words(labels, settings, words):
    with pytest.raises(NerfcoreError, match=words):
        train_classifier(torch.zeros(4, 1, 8, 8), labels, 3, **settings)


def test_pictures_of_wrong_shapes_are_said_to_be():
    with pytest.raises(ValueError, match="equal sides"):
        train_classifier(torch.zeros(4, 1, 8, 9), torch.zeros(4).long(), 2, steps=2)
    with pytest.raises(ValueError, match="at least 4 pixels"):
        Classifier(1, 3, 2)


def test_seconds_end_training():
    pictures, labels, _ = bars(32)
    started = time.perf_counter()
    train_classifier(pictures, labels, 2, seconds=0.3)
    assert 0.3 <= time.perf_counter() - started < 10


def test_pictures_that_are_not_finite_are_said_to_be():
    with pytest.raises(NerfcoreError, match="not finite at step 0"):
        train_classifier(torch.full((4, 1, 8, 8), torch.nan), torch.zeros(4).long(), 2, steps=2)


class Stub(nn.Module):
    """In the place of torchvision's network: the mean of each channel."""

    def __init__(self):
        super().__init__()
        self.scale, self.fc = nn.Parameter(torch.zeros(())), nn.Linear(3, 2)

    def forward(self, pictures):
        return self.fc(self.scale * pictures.mean((2, 3)))


def test_inception_says_what_is_missing_and_is_never_fetched(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(NerfcoreError, match="need torchvision"):
        inception_features()
    module = types.ModuleType("torchvision.models")
    module.inception_v3 = lambda weights, transform_input, init_weights: Stub()
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", module)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(NerfcoreError, match=INCEPTION):
        inception_features()
    (tmp_path / "checkpoints").mkdir()
    torch.save(Stub().state_dict() | {"scale": torch.tensor(2.0)}, tmp_path / "checkpoints" / INCEPTION)
    features = features_of(torch.full((3, 1, 16, 16), 0.25), inception_features())
    assert torch.allclose(features, torch.full((3, 3), 0.5))  # of the weights in the file, one channel as three
