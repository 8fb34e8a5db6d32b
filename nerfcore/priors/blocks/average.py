"""Means of a module's parameters over the time it trains."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn


class Average(nn.Module):
    """A copy of a module whose parameters follow the module's as an exponential moving mean.

    The copy is ``average.module`` and takes no gradient; :meth:`forward` is the copy's. decay: share of the old mean
    that an update keeps. Early on it keeps ``(1 + n) / (10 + n)`` at most after n updates, so that the first parameters
    are forgotten. Buffers, such as running means of a batch norm, are copied.
    """

    def __init__(self, module: nn.Module, decay: float = 0.999):
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        self.module, self.decay = deepcopy(module).requires_grad_(False), decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """One step towards a module of the same structure."""
        count = self.updates.item()
        self.updates += 1
        part = 1 - min(self.decay, (1 + count) / (10 + count))
        for mean, new in zip(self.module.parameters(), module.parameters(), strict=True):
            mean.lerp_(new, part)
        for mean, new in zip(self.module.buffers(), module.buffers(), strict=True):
            mean.copy_(new)

    def forward(self, *args, **options):
        return self.module(*args, **options)
