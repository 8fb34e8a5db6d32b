"""Captions as tokens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

PAD, END, BYTES = 0, 1, 2  # tokens: filling, the end of a caption, and the first of the 256 bytes
MERGES = BYTES + 256  # the first of the pairs that are one token
WORD = re.compile(r" ?[^ ]+| +")


class Tokeniser:
    """Byte-pair encoding (Sennrich et al. 2016, algorithm 1) of the bytes of UTF-8: any text has tokens.

    merges: pair i is the two tokens that token ``258 + i`` stands for; tokens 2 to 257 are bytes, 0 fills, 1 ends.
    Raises ValueError where a pair holds a token that comes after it.
    """

    def __init__(self, merges: Iterable[Sequence[int]]):
        self.merges = tuple((int(a), int(b)) for a, b in merges)
        self.spelling = [b"", b"", *(bytes([value]) for value in range(256))]
        for pair in self.merges:
            if not all(BYTES <= token < len(self.spelling) for token in pair):
                raise ValueError(f"the pair {pair} of token {len(self.spelling)} holds a token that is not before it")
            self.spelling.append(b"".join(self.spelling[token] for token in pair))
        self._rank = {pair: rank for rank, pair in enumerate(self.merges)}
        self._words: dict[str, list[int]] = {}

    @classmethod
    def trained(cls, captions: Iterable[str], vocabulary: int = 512) -> Tokeniser:
        """Joins the most frequent pair within words, in equal cases the smallest, until there are so many tokens or no
        pair comes twice. Words keep the space before them."""
        counts = Counter(word for caption, n in Counter(captions).items() for word in WORD.findall(caption) * n)
        words = {word: [BYTES + value for value in word.encode(errors="replace")] for word in counts}
        merges: list[tuple[int, int]] = []
        while MERGES + len(merges) < vocabulary:
            pairs: Counter[tuple[int, int]] = Counter()
            for word, tokens in words.items():
                for pair in zip(tokens, tokens[1:], strict=False):
                    pairs[pair] += counts[word]
            best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
            if best is None or pairs[best] < 2:
                break
            words = {word: _joined(tokens, best, MERGES + len(merges)) for word, tokens in words.items()}
            merges.append(best)
        return cls(merges)

    @property
    def size(self) -> int:
        """The number of tokens."""
        return len(self.spelling)

    def encode(self, captions: Sequence[str], length: int) -> Tensor:
        """int64 [B, length]: the tokens of each caption, at most ``length - 1`` of them, the end, and zeros."""
        rows = torch.zeros(len(captions), length, dtype=torch.int64)
        for row, caption in zip(rows, captions, strict=True):
            tokens = [token for word in WORD.findall(caption) for token in self._word(word)][: length - 1]
            row[: len(tokens) + 1] = torch.tensor([*tokens, END])
        return rows

    def decode(self, tokens: Tensor) -> list[str]:
        """The captions of [B, T] up to their ends; bytes that are no text, where one was cut, become U+FFFD."""
        rows = ([*row, END] for row in tokens.tolist())
        spelt = (b"".join(self.spelling[token] for token in row[: row.index(END)]) for row in rows)
        return [text.decode(errors="replace") for text in spelt]

    def _word(self, word: str) -> list[int]:
        if word not in self._words:
            tokens = [BYTES + value for value in word.encode(errors="replace")]
            while ranks := [self._rank[p] for p in zip(tokens, tokens[1:], strict=False) if p in self._rank]:
                tokens = _joined(tokens, self.merges[min(ranks)], MERGES + min(ranks))
            self._words[word] = tokens
        return self._words[word]


def _joined(tokens: list[int], pair: tuple[int, int], token: int) -> list[int]:
    """With every occurrence of the pair, from the left, as one token."""
    joined: list[int] = []
    for value in tokens:
        if joined and (joined[-1], value) == pair:
            joined[-1] = token
        else:
            joined.append(value)
    return joined
