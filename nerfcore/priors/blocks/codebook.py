"""Vector quantisation (van den Oord et al. 2017): the nearest of a few learned vectors stands for each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, mse_loss

KEPT = 0.99  # share of the moving means that an update keeps
DEAD = 0.05  # of what a code would have if all were used alike; one that is used less starts anew


class Quantised(NamedTuple):
    """vectors [B, width, *spatial], from the codebook, with the gradient of what was quantised; index [B, *spatial];
    loss: what binds encoder and codebook to each other."""

    vectors: Tensor
    index: Tensor
    loss: Tensor


class Codebook(nn.Module):
    """``size`` vectors of ``width`` numbers.

    learn: "ema", vectors are moving means of what chose them (appendix A.1 of the paper), or "gradient" (equation 3).
    commitment: β of equation 3. Codes that hardly anything chooses start anew at vectors of the batch (Dhariwal et al.
    2020, section 3.1): at first that is all of them. ``usage`` [size]: shares of the recent choices.
    """

    def __init__(self, size: int, width: int, learn: str = "ema", commitment: float = 0.25):
        super().__init__()
        if learn not in ("ema", "gradient"):
            raise ValueError(f"a codebook learns by ema or gradient, got {learn!r}")
        self.size, self.learn, self.commitment = size, learn, commitment
        self.vectors = nn.Parameter(torch.randn(size, width), requires_grad=learn == "gradient")
        self.register_buffer("usage", torch.zeros(size))
        self.register_buffer("sums", torch.zeros(size, width))  # of ema: usage times vectors

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Quantised:
        """x [B, width, *spatial]. With a generator the codebook learns: it counts, moves and starts codes anew.
        Differentiable in: x, straight through the choice; the loss also in the vectors that learn by gradient."""
        x = x.to(self.vectors.dtype)  # under torch.autocast it may have another
        flat = x.movedim(1, -1).flatten(0, -2)
        if generator is not None:
            self._restart(flat.detach(), generator)
        index = self.nearest(flat.detach()).view(x.shape[:1] + x.shape[2:])
        chosen = self.lookup(index)
        loss = self.commitment * mse_loss(x, chosen.detach())
        if self.learn == "gradient":
            loss = loss + mse_loss(chosen, x.detach())
        if generator is not None:
            self.count(index, flat.detach())
        return Quantised(x + (chosen - x).detach(), index, loss)

    def nearest(self, flat: Tensor) -> Tensor:
        """[N, width] -> [N]: the number of the nearest code."""
        return (self.vectors.detach().square().sum(1) - 2 * flat @ self.vectors.detach().T).argmin(1)

    def distances(self, x: Tensor) -> Tensor:
        """Squared, of x [B, width, *spatial] to each code, [B, size, *spatial]. Differentiable in: x, the vectors."""
        flat = x.movedim(1, -1)
        squares = flat.square().sum(-1, keepdim=True) + self.vectors.square().sum(1)
        return (squares - 2 * flat @ self.vectors.T).clamp(min=0).movedim(-1, 1)

    def lookup(self, index: Tensor) -> Tensor:
        """[B, *spatial] -> [B, width, *spatial]. Differentiable in: the codebook's vectors."""
        return embedding(index, self.vectors).movedim(-1, 1)

    def mixed(self, weights: Tensor) -> Tensor:
        """Means of the vectors by weights [B, size, *spatial], [B, width, *spatial]. Differentiable in: weights, the
        vectors."""
        return torch.einsum("bk...,kw->bw...", weights, self.vectors)

    @torch.no_grad()
    def count(self, index: Tensor, flat: Tensor | None = None) -> None:
        """Moves the usage by choices of any shape, and with ema the vectors by what chose them, flat [N, width]."""
        chose = index.flatten()
        share = torch.bincount(chose, minlength=self.size).to(self.usage) / len(chose)
        self.usage.lerp_(share, 1 - KEPT)
        if self.learn == "ema" and flat is not None:
            self.sums.lerp_(torch.zeros_like(self.sums).index_add_(0, chose, flat / len(chose)), 1 - KEPT)
            self.vectors.copy_(self.sums / self.usage.clamp(min=1e-3 * DEAD / self.size)[:, None])

    @torch.no_grad()
    def _restart(self, flat: Tensor, generator: torch.Generator) -> None:
        dead = self.usage < DEAD / self.size
        drawn = flat[torch.randint(len(flat), (self.size,), generator=generator, device=flat.device)]
        self.vectors.copy_(torch.where(dead[:, None], drawn, self.vectors))
        self.usage.masked_fill_(dead, 1 / self.size)
        self.sums.copy_(torch.where(dead[:, None], drawn / self.size, self.sums))
