"""Attention against its equation written out, and what masks and biases may not let through."""

import math

import pytest
import torch

from nerfcore.priors.blocks.attention import Attention, Past, TransformerBlock


def made(*arguments):
    torch.manual_seed(0)
    return Attention(*arguments).double()


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def by_loops(layer, x, context, seen, bias):
    """Equation 1 of the paper, one head, example and token at a time; seen [B, T, S]."""
    width, heads = x.shape[-1] // layer.heads, layer.heads
    query, (key, value) = layer.query(x), layer.key_value(context).chunk(2, -1)
    mixed = torch.zeros_like(query)
    for b in range(len(x)):
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            for t in range(x.shape[1]):
                logits = [
                    query[b, t, part] @ key[b, s, part] / math.sqrt(width) + bias[b, h, t, s]
                    for s in range(context.shape[1])
                    if seen[b, t, s]
                ]
                values = value[b, seen[b, t], part]
                mixed[b, t, part] = torch.stack(logits).softmax(0) @ values
    return layer.out(mixed)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_attention_is_its_equation(causal, masked, biased):
    layer, x = made(6, 2), randn(2, 4, 6)
    mask = torch.tensor([[True, True, False, True], [True, False, False, False]])
    bias = randn(2, 2, 4, 4, seed=1)
    seen = torch.ones(2, 4, 4, dtype=torch.bool)
    seen = seen.tril() if causal else seen
    seen = seen & mask[:, None] if masked else seen
    found = layer(x, mask=mask if masked else None, causal=causal, bias=bias if biased else None)
    expected = by_loops(layer, x, x, seen, bias if biased else 0 * bias)
    assert (found - expected).abs().max() < 1e-12


@pytest.mark.parametrize("parts", [(7,), (1,) * 7, (3, 1, 3), (4, 2, 1)])
def test_tokens_may_come_in_parts(parts):
    """Blocks that remember give what they give of the whole sequence, with and without padding."""
    torch.manual_seed(0)
    block, x, mask = TransformerBlock(6, 2).double(), randn(2, 7, 6), torch.ones(2, 7, dtype=torch.bool)
    mask[1, 0] = False
    for seen in (None, mask):
        whole, past, start, found = block(x, mask=seen, causal=True), Past(), 0, []
        for count in parts:
            end = start + count
            found.append(block(x[:, start:end], mask=None if seen is None else seen[:, :end], causal=True, past=past))
            start = end
        apart = (torch.cat(found, 1) - whole)[:, 1:] if seen is not None else torch.cat(found, 1) - whole
        assert apart.abs().max() < 1e-12 and past.key.shape == (2, 2, 7, 3)


def test_cross_attention_is_its_equation():
    layer, x, context = made(6, 3, 5), randn(2, 4, 6), randn(2, 7, 5, seed=1)
    everything = torch.ones(2, 4, 7, dtype=torch.bool)
    expected = by_loops(layer, x, context, everything, torch.zeros(2, 3, 4, 7).double())
    assert (layer(x, context) - expected).abs().max() < 1e-12


def test_what_is_masked_has_no_gradient_and_nothing_seen_is_finite():
    layer, x = made(6, 2), randn(2, 4, 6).requires_grad_()
    mask = torch.tensor([[True, True, False, True], [False] * 4])
    found = layer(x, mask=mask)
    assert torch.isfinite(found).all()
    (slope,) = torch.autograd.grad(found[0, 0].sum(), x)
    assert slope[0, 2].abs().max() == 0 and slope[0, 3].abs().max() > 0


def test_a_block_mixes_tokens_by_both_attentions():
    torch.manual_seed(0)
    block = TransformerBlock(6, 2, 5).double()
    x, context = randn(1, 3, 6).requires_grad_(), randn(1, 4, 5, seed=1).requires_grad_()
    out = block(x, context, causal=True, context_mask=torch.tensor([[True, False, True, True]]))
    of_x, of_context = torch.autograd.grad(out[0, 1].sum(), (x, context))
    assert of_x[0, 2].abs().max() == 0 and of_x[0, 0].abs().max() > 0
    assert of_context[0, 1].abs().max() == 0 and of_context[0, 3].abs().max() > 0
    with pytest.raises(ValueError, match="context_width"):
        block(x)


def test_width_must_fit_heads():
    with pytest.raises(ValueError, match="multiple of heads"):
        Attention(6, 4)
