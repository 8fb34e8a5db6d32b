"""GLIDE: holes, and what fills them."""

import pytest
import torch

from nerfcore.data.examples import Examples
from nerfcore.errors import NerfcoreError
from nerfcore.priors.base import Batch, Turn
from nerfcore.priors.glide import GLIDE
from nerfcore.priors.training import facts_of, train_prior

SAYS = ("a day sky", "a deep sea")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def bands(count=64):
    """Pictures that are bright above and dark below, or the other way round, which their captions say; how bright they
    are they do not."""
    kind = torch.arange(count) % 2
    strength = 0.3 + 0.6 * torch.rand(count, generator=generator())
    upper = (strength * (1 - 2 * kind)).view(-1, 1, 1, 1).expand(-1, 1, 2, 4)
    return Examples(torch.cat((upper, -upper), 2), captions=tuple(SAYS[i] for i in kind.tolist()))


@pytest.fixture(scope="module")
def prior():
    config = dict(widths=(16, 32), patch=1, said_width=16, learning_rate=4e-3, average=0.9, evaluations=8, scale=1.0, whole=0.3)
    return train_prior("glide", bands(), steps=300, batch_size=32, **config).prior


def test_samples_are_what_captions_say(prior):
    asked = torch.arange(40) % 2
    upper = prior.sample(40, generator(), captions=[SAYS[i] for i in asked.tolist()])[:, 0, :2].mean((1, 2))
    assert ((upper > 0) == (asked == 0)).double().mean() > 0.9


def test_a_hole_is_filled_with_what_is_said_and_with_what_fits(prior):
    """The lower halves are made; how bright they are the upper halves tell."""
    pictures = bands(40).pictures
    hole = torch.zeros(40, 1, 4, 4)
    hole[:, :, 2:] = 1
    made = prior.edit(pictures, hole, bands(40).captions, generator())
    assert torch.equal(made[:, :, :2], pictures[:, :, :2]) and made.abs().max() <= 1
    lower, truth = made[:, 0, 2:].mean((1, 2)), pictures[:, 0, 2:].mean((1, 2))
    assert torch.corrcoef(torch.stack((lower, truth)))[0, 1] > 0.9
    inside = [torch.corrcoef(torch.stack((lower[i::2], truth[i::2])))[0, 1] for i in (0, 1)]
    assert min(inside) > 0.1  # of one kind as well


def test_holes_are_boxes_or_all(prior):
    turn = Turn(0, 0.0, generator())
    pictures = torch.ones(400, 1, 4, 4)
    beside = prior.seen(Batch(pictures, captions=("a",) * 400), turn)["beside"]
    known, hole = beside[:, :1], beside[:, 1:]
    assert torch.equal(known, 1 - hole) and set(hole.unique().tolist()) == {0.0, 1.0}
    whole = hole.flatten(1).all(1).double().mean().item()
    assert 0.25 < whole < 0.45 and hole.flatten(1).any(1).all()
    rows, columns = hole[:, 0].amax(2), hole[:, 0].amax(1)
    assert torch.equal(hole[:, 0], rows[:, :, None] * columns[:, None])
    assert (rows.diff(dim=1).abs().sum(1) <= 2).all()


def test_every_picture_needs_a_caption(prior):
    with pytest.raises(NerfcoreError, match="each picture needs a caption"):
        prior.edit(bands(2).pictures, torch.ones(2, 1, 4, 4), ["one"], generator())


def test_it_needs_captions():
    with pytest.raises(NerfcoreError, match="captions"):
        GLIDE(facts_of(Examples(torch.zeros(4, 1, 4, 4))))
