"""Sequences: what is remembered changes nothing, nothing is seen before it comes, and what is drawn is as likely."""

import pytest
import torch

from nerfcore.priors.blocks.sequence import CausalTransformer, choose, draw_sequence


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def made(**options):
    torch.manual_seed(0)
    return CausalTransformer(11, 9, 8, 2, 2, **options).double()


def test_logits_are_the_same_token_by_token():
    net, index = made(context_width=5), torch.randint(11, (3, 8), generator=generator())
    first, context = torch.randn(3, 1, 8, generator=generator()).double(), torch.randn(3, 4, 5, generator=generator()).double()
    whole = net(index, first, context)
    assert whole.shape == (3, 9, 11)
    past, found = net.nothing(), []
    found.append(net(index[:, :0], first, context, past=past))
    found += [net(index[:, i : i + 1], context=context, past=past) for i in range(8)]
    assert (torch.cat(found, 1) - whole).abs().max() < 1e-12


def test_nothing_is_seen_before_it_comes():
    net, index = made(), torch.randint(11, (1, 9), generator=generator())
    other = index.clone()
    other[0, 5] = (other[0, 5] + 1) % 11
    apart = (net(index) - net(other)).abs().amax((0, 2))
    assert apart[:5].max() == 0 and apart[5:].min() > 0


def test_a_sequence_has_an_end():
    net = made()
    with pytest.raises(ValueError, match="9 places"):
        net(torch.zeros(1, 10, dtype=torch.int64))


@pytest.mark.parametrize("how, kept", [
    ({}, {0, 1, 2, 3}), (dict(top_k=2), {0, 1}), (dict(top_p=0.7), {0, 1}), (dict(top_p=0.4), {0}),
    (dict(top_k=3, top_p=0.95), {0, 1, 2}),
])
def test_tokens_are_drawn_by_what_is_kept(how, kept):
    shares = torch.tensor([0.5, 0.25, 0.15, 0.1])
    drawn = choose(shares.log().expand(40_000, 4), generator(), **how)
    expected = shares * torch.tensor([float(i in kept) for i in range(4)])
    found = torch.bincount(drawn, minlength=4) / len(drawn)
    assert torch.allclose(found, expected / expected.sum(), atol=0.01)
    hot = choose(shares.log().expand(40_000, 4), generator(), temperature=2.0)
    assert torch.allclose(torch.bincount(hot) / len(hot), shares.sqrt() / shares.sqrt().sum(), atol=0.01)


def test_a_chain_is_drawn_from_its_transitions():
    """Of two tokens, where the next one is another with probability 0.8."""
    table = torch.tensor([[0.2, 0.8], [0.8, 0.2]]).log()

    def step(last):
        return table[last[:, 0]] if last.shape[1] else torch.zeros(len(last), 2)

    found = draw_sequence(step, 2000, 12, generator())
    assert found.shape == (2000, 12)
    assert (found[:, 1:] != found[:, :-1]).double().mean().item() == pytest.approx(0.8, abs=0.01)
    assert found[:, 0].double().mean().item() == pytest.approx(0.5, abs=0.04)
