"""Sequences of tokens one after another: the transformer that knows what comes next, and how what comes is drawn."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nerfcore.priors.blocks.attention import Past, TransformerBlock


class CausalTransformer(nn.Module):
    """Logits of each token from those before it (Radford et al. 2019), whose blocks normalise first and places learn.

    tokens: how many kinds there are; length: of the longest sequence; context_width: of what it also looks at.
    """

    def __init__(
        self, tokens: int, length: int, width: int = 128, depth: int = 4, heads: int = 4,
        context_width: int | None = None,
    ):
        super().__init__()
        self.length = length
        self.embedding, self.place = nn.Embedding(tokens, width), nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, context_width) for _ in range(depth))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, tokens, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(
        self, index: Tensor, first: Tensor | None = None, context: Tensor | None = None,
        context_mask: Tensor | None = None, past: list[Past] | None = None,
    ) -> Tensor:
        """index [B, T] of tokens; first [B, F, width]: what stands before them, such as a class, F counts as places.
        Returns logits [B, F + T, tokens] of what comes after each. past: one for each block, from :meth:`nothing`, of
        the places before these. Differentiable in: first, context."""
        x = self.embedding(index)
        if first is not None:
            x = torch.cat((first, x), 1)
        start = 0 if past is None or past[0].key is None else past[0].key.shape[2]
        if start + x.shape[1] > self.length:
            raise ValueError(f"a sequence has {self.length} places at most, got {start + x.shape[1]}")
        x = x + self.place[start : start + x.shape[1]]
        for number, block in enumerate(self.blocks):
            before = None if past is None else past[number]
            x = block(x, context, causal=True, context_mask=context_mask, past=before)
        return self.out(self.norm(x))

    def nothing(self) -> list[Past]:
        """Before the first token."""
        return [Past() for _ in self.blocks]


def choose(
    logits: Tensor, generator: torch.Generator, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> Tensor:
    """Tokens [B] drawn from logits [B, K] over the temperature: of the ``top_k`` likeliest, if not 0, and of the fewest
    that have ``top_p`` of the probability (Holtzman et al. 2020, section 3.1)."""
    logits = logits / temperature
    if top_k:
        least = logits.topk(min(top_k, logits.shape[1])).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1:
        shares, order = logits.softmax(1).sort(descending=True)
        beyond = shares.cumsum(1) - shares >= top_p
        logits = logits.masked_fill(torch.zeros_like(beyond).scatter(1, order, beyond), -torch.inf)
    return torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


def stepwise(logits: Callable[..., Tensor], told: dict[str, Tensor], past: list[Past]) -> Callable[[Tensor], Tensor]:
    """A function ``(last [B, L]) -> [B, K]``: logits of what comes after all tokens that it was given so far, by
    ``(index, **told, past) -> [B, T, K]``, as a :class:`CausalTransformer` is, and a past that is empty."""
    left = dict(told)

    def step(last: Tensor) -> Tensor:
        found = logits(last, **left, past=past)[:, -1]
        left.pop("first", None)  # it is in the past now
        return found

    return step


def draw_sequence(
    step: Callable[[Tensor], Tensor], count: int, length: int, generator: torch.Generator, **how
) -> Tensor:
    """[count, length] of tokens, one after another: ``step`` takes the last ones [count, 1], at first none [count, 0],
    and gives the logits [count, K] of the next; how: of :func:`choose`."""
    found = torch.zeros(count, 0, dtype=torch.int64, device=generator.device)
    for _ in range(length):
        found = torch.cat((found, choose(step(found[:, -1:]), generator, **how)[:, None]), 1)
    return found
