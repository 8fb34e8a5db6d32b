"""What a network is told: that it is what was said, that silence is the same for all, and what is refused."""

import pytest
import torch

from nerfcore.data.captions import Tokeniser
from nerfcore.priors.base import Batch, Facts, Turn
from nerfcore.priors.blocks.condition import Condition, Given, needed, said_of

CAPTIONS = ("a red cube", "a blue cube", "a red cone")
MERGES = Tokeniser.trained(CAPTIONS, 270).merges


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def made(told):
    torch.manual_seed(0)
    condition = Condition.of(told, Facts((1, 4, 4), ("a", "b"), MERGES), 8, given=5, tokens=True)
    torch.nn.init.normal_(condition.nothing)
    return condition


def said(told, at):
    """The same of each told kind, of examples at some places."""
    tokens = torch.randn(3, 6, 5, generator=generator())
    mask = torch.arange(6) < torch.tensor([2, 4, 6])[:, None]
    what = dict(
        labels=torch.tensor([0, 1, 0])[at], captions=[CAPTIONS[i] for i in at],
        given=Given(tokens[at, 0], tokens[at], mask[at]),
    )
    return {told: what[told]}


@pytest.mark.parametrize("told", ["labels", "captions", "given"])
def test_each_is_told_its_own_and_silence_is_one_for_all(told):
    condition = made(told)
    all_three = condition(3, **said(told, [0, 1, 2]))
    for i in range(3):
        alone = condition(1, **said(told, [i]))
        assert torch.allclose(alone["vector"][0], all_three["vector"][i], atol=1e-6)
    assert not torch.equal(all_three["vector"][0], all_three["vector"][1])
    nothing = condition(3)
    assert all(torch.equal(vector, condition.nothing) for vector in nothing["vector"])
    part = condition(3, **said(told, [0, 1, 2]), silent=torch.tensor([True, False, True]))
    assert torch.equal(part["vector"][0], condition.nothing) and torch.equal(part["vector"][1], all_three["vector"][1])
    assert (condition.context_width is not None) == ("context" in nothing) == ("context" in all_three)
    if "context" in part:
        assert (part["context"][0] == condition.nothing).all() and (nothing["context"] == condition.nothing).all()
        assert torch.equal(part["context"][1], all_three["context"][1])
        assert torch.equal(part["mask"], all_three["mask"])


def test_nothing_has_no_condition_and_only_what_is_told_is_said():
    assert Condition.of("nothing", Facts((1, 4, 4)), 8) is None
    batch, turn = Batch(torch.zeros(1000, 1, 2, 2), torch.arange(1000), ["a"] * 1000), Turn(0, 0.0, generator())
    assert set(said_of(batch, "nothing", 0.1, turn)) == {"silent"}
    found = said_of(batch, "captions", 0.1, turn)
    assert set(found) == {"captions", "silent"} and 0.07 < found["silent"].double().mean() < 0.13
    assert said_of(batch, "given", 0.0, turn, given="embeddings")["given"] == "embeddings"


def test_needed_facts():
    assert needed("labels", ("merges",)) == ("merges", "labels") and needed("captions", ("merges",)) == ("merges",)
    with pytest.raises(ValueError, match="nothing, labels, captions, given"):
        needed("moods")
