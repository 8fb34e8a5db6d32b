"""Adam over named parameters, with moments that can be saved."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from nerfcore._extension import use_huge_pages
from nerfcore.ops._dispatch import use_kernel
from nerfcore.ops.adam import adam_scales, adam_step, adam_touched_step
from nerfcore.types import TouchedGradient


class Adam:
    """Adam by :func:`nerfcore.ops.adam.adam_step`: hash entries that no sample met keep still, moments included."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], backend: str = "auto"):
        self.parameters, self.backend, self.step_count = dict(parameters), backend, 0
        self.moments = {n: (torch.zeros_like(p), torch.zeros_like(p)) for n, p in self.parameters.items()}
        self.scales = torch.ones(2, dtype=torch.float64, device=next(iter(self.parameters.values())).device)
        for name, param in self.parameters.items():
            if use_kernel(backend, param):  # asking for the reference must not compile anything
                for tensor in (param, *self.moments[name]):
                    use_huge_pages(tensor)

    def begin_step(self, learning_rate: float) -> None:
        """Sets what differs from step to step."""
        self.step_count += 1
        adam_scales(self.step_count, learning_rate, out=self.scales)

    def step(self, gradients: dict[str, Tensor | TouchedGradient]) -> None:
        """One update of the parameters that have a gradient; a :class:`TouchedGradient` is cleared."""
        for name, gradient in gradients.items():
            update = adam_touched_step if isinstance(gradient, TouchedGradient) else adam_step
            update(self.parameters[name], gradient, *self.moments[name], self.scales, backend=self.backend)

    def state(self) -> dict[str, Tensor]:
        return {f"adam.{n}.{i}": m for n, pair in self.moments.items() for i, m in enumerate(pair)}

    def load_state(self, tensors: dict[str, Tensor], step_count: int) -> None:
        self.step_count = step_count
        for name, pair in self.moments.items():
            for i, moment in enumerate(pair):
                moment.copy_(tensors[f"adam.{name}.{i}"])
