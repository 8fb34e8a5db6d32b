"""Adam over named parameters, with moments that can be saved."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from nerfcore.ops.adam import adam_step


class Adam:
    """Adam by :func:`nerfcore.ops.adam.adam_step`: hash entries that no sample met keep still, moments included."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], backend: str = "auto"):
        self.parameters, self.backend, self.step_count = dict(parameters), backend, 0
        self.moments = {n: (torch.zeros_like(p), torch.zeros_like(p)) for n, p in self.parameters.items()}

    def step(self, learning_rate: float) -> None:
        """One update from the ``.grad`` of every parameter, which is dropped."""
        self.step_count += 1
        for name, param in self.parameters.items():
            if param.grad is not None:
                adam_step(param, param.grad, *self.moments[name], self.step_count, learning_rate, backend=self.backend)
                param.grad = None

    def state(self) -> dict[str, Tensor]:
        return {f"adam.{n}.{i}": m for n, pair in self.moments.items() for i, m in enumerate(pair)}

    def load_state(self, tensors: dict[str, Tensor], step_count: int) -> None:
        self.step_count = step_count
        for name, pair in self.moments.items():
            for i, moment in enumerate(pair):
                moment.copy_(tensors[f"adam.{name}.{i}"])
