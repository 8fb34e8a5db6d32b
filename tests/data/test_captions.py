"""Byte-pair encoding against the paper's own example and a slow restatement."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerfcore.data.captions import BYTES, END, MERGES, PAD, Tokeniser

CAPTIONS = ["a small red torus left of a blue cube", "a large red cone", "a small blue sphere behind a red cube"]


@pytest.fixture(scope="module")
def tokeniser():
    return Tokeniser.trained(CAPTIONS, 300)


def slow_merges(words, count):
    """Algorithm 1 of Sennrich et al. 2016, on strings, for words in which no two pairs are ever equally frequent."""
    words = {tuple(word): n for word, n in words.items()}
    merges = []
    for _ in range(count):
        pairs = Counter()
        for symbols, n in words.items():
            for a, b in zip(symbols, symbols[1:], strict=False):
                pairs[a, b] += n
        ((a, b), most), (_, second) = pairs.most_common(2)
        assert most > second
        merges.append(a + b)
        merged = {}
        for symbols, n in words.items():
            out, i = [], 0
            while i < len(symbols):
                take = 2 if symbols[i : i + 2] == (a, b) else 1
                out.append("".join(symbols[i : i + take]))
                i += take
            merged[tuple(out)] = n
        words = merged
    return merges


def test_merges_are_those_of_the_algorithm():
    """Each word is a caption of its own, so that no space joins in."""
    words = {"aabb": 86, "bbbbaba": 87, "naabanan": 28, "bana": 83, "aabbban": 45}
    captions = [word for word, n in words.items() for _ in range(n)]
    found = Tokeniser.trained(captions, MERGES + 6)
    assert [found.spelling[MERGES + i].decode() for i in range(6)] == slow_merges(words, 6)


def test_words_are_joined_in_the_order_of_the_merges():
    """One merge after another, each wherever it fits: as training left its words."""
    tokeniser = Tokeniser.trained(["abcab bcabc cabca abab bcbc"] * 2, 2000)
    for word in ("abcabcab", "bcabab", "cabcbcab", "abbcab"):
        parts = [bytes([value]) for value in word.encode()]
        for a, b in tokeniser.merges:
            a, b, out = tokeniser.spelling[a], tokeniser.spelling[b], []
            while parts:
                joins = parts[:2] == [a, b]
                out.append(a + b if joins else parts[0])
                parts = parts[1 + joins :]
            parts = out
        row = tokeniser.encode([word], 16)[0]
        assert [tokeniser.spelling[token] for token in row[row > END]] == parts


def test_words_become_tokens_of_their_own():
    tokeniser = Tokeniser.trained(CAPTIONS, 2000)
    row = tokeniser.encode(["a red cube"], 16)[0]
    assert [tokeniser.spelling[token] for token in row[row > END]] == [b"a", b" red", b" cube"]


def test_order_of_captions_does_not_matter_and_counts_do(tokeniser):
    assert Tokeniser.trained(reversed(CAPTIONS), 300).merges == tokeniser.merges
    assert Tokeniser.trained(["xy"] * 3 + ["zw"] * 2, 259).merges == ((BYTES + ord("x"), BYTES + ord("y")),)
    assert Tokeniser.trained(["xy"] * 2 + ["zw"] * 3, 259).merges == ((BYTES + ord("z"), BYTES + ord("w")),)
    assert Tokeniser.trained(["xy"], 400).size == MERGES  # no pair comes twice


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_comes_back(tokeniser, text):
    tokens = tokeniser.encode([text, "a cube"], 200)
    whole = text.encode(errors="replace").decode()
    assert tokeniser.decode(tokens) == [whole, "a cube"]
    assert tokens.max() < tokeniser.size


def test_merges_rebuild_the_tokeniser(tokeniser):
    again = Tokeniser([list(pair) for pair in tokeniser.merges])  # as JSON has them
    assert torch.equal(again.encode(CAPTIONS, 48), tokeniser.encode(CAPTIONS, 48)) and again.size == MERGES + len(again.merges)
    with pytest.raises(ValueError, match="not before it"):
        Tokeniser([(5, MERGES)])


def test_rows_end_and_are_filled(tokeniser):
    rows = tokeniser.encode([CAPTIONS[0], "", "unknown words ☃"], 24)
    assert rows.shape == (3, 24) and rows[1].tolist() == [END] + [PAD] * 23
    for row in rows:
        end = row.tolist().index(END)
        assert (row[:end] > END).all() and (row[end + 1 :] == PAD).all()
    cut = tokeniser.encode([CAPTIONS[0]], 4)
    assert cut[0, -1] == END and CAPTIONS[0].startswith(tokeniser.decode(cut)[0])
    assert tokeniser.decode(torch.tensor([[BYTES + 0xE2, END]])) == ["�"]
