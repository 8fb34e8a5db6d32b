"""Matrices of small networks, and how parameters are first drawn."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def matrices(*widths: int) -> nn.ParameterList:
    """Of a network with these numbers of inputs, hidden neurons and outputs; zero."""
    return nn.ParameterList(torch.zeros(i, o) for i, o in zip(widths[:-1], widths[1:], strict=True))


@torch.no_grad()
def draw(table: Tensor, networks: Iterable[Tensor], generator: torch.Generator) -> None:
    """Draws parameters: a table uniform in ±1e-4 (Müller et al. 2022, section 4), and :func:`draw_matrices`."""
    table.uniform_(-1e-4, 1e-4, generator=generator)
    draw_matrices(networks, generator)


@torch.no_grad()
def draw_matrices(networks: Iterable[Tensor], generator: torch.Generator) -> None:
    """Draws matrices [inputs, outputs] after He et al. 2015."""
    for w in networks:
        w.uniform_(-1, 1, generator=generator).mul_((6 / w.shape[0]) ** 0.5)
