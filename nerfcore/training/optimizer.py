"""Adam over named parameters, with moments that can be saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from nerfcore._extension import use_huge_pages
from nerfcore.ops._dispatch import use_kernel
from nerfcore.ops.adam import adam_scales, adam_step, adam_touched_step
from nerfcore.types import TouchedGradient

LONG_BETAS = (0.98, 0.998)
CHANCE = 3.0
"""How many times the mean square that noise gives a step may have, and not be made. More than 1, because noise in the
field makes gradients of successive steps alike."""

SMALL = 1e-30  # no square of a step is less, unless it is 0


class Adam:
    """Adam by :func:`nerfcore.ops.adam.adam_step`: hash entries that no sample met keep still, moments included.

    rate: how many times the learning rate of a step the parameter of a name has; all have it once, if not given.
    """

    def __init__(
        self, parameters: Iterable[tuple[str, nn.Parameter]], backend: str = "auto",
        rate: Callable[[str], float] = lambda name: 1.0,
    ):
        self.backend, self.rate, self.step_count = backend, rate, 0
        self.parameters: dict[str, nn.Parameter] = {}
        self.moments: dict[str, tuple[Tensor, ...]] = {}
        self.scales: dict[float, Tensor] = {}  # by rate
        self.follow(parameters)

    def follow(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        """From now on these are the parameters; those that are new, or others than before, begin without moments."""
        before, self.parameters = self.parameters, dict(parameters)
        for name, param in self.parameters.items():
            if before.get(name) is not param:
                self.moments[name] = self._no_moments(param)
                self.scales.setdefault(self.rate(name), torch.ones(2, dtype=torch.float64, device=param.device))
                if use_kernel(self.backend, param):  # asking for the reference must not compile anything
                    for tensor in (param, *self.moments[name]):
                        use_huge_pages(tensor)

    def _no_moments(self, param: Tensor) -> tuple[Tensor, ...]:
        return torch.zeros_like(param), torch.zeros_like(param)

    def begin_step(self, learning_rate: float) -> None:
        """Sets what differs from step to step."""
        self.step_count += 1
        for rate, scales in self.scales.items():
            adam_scales(self.step_count, rate * learning_rate, out=scales)

    def step(self, gradients: dict[str, Tensor | TouchedGradient]) -> None:
        """One update of the parameters that have a gradient; a :class:`TouchedGradient`, of a parameter's rows [V, C],
        is cleared."""
        for name, gradient in gradients.items():
            tensors, scales = (self.parameters[name], *self.moments[name]), self.scales[self.rate(name)]
            if isinstance(gradient, TouchedGradient):
                param, *moments = (tensor.flatten(0, -2) for tensor in tensors)
                adam_touched_step(param, gradient, *moments, scales, backend=self.backend)
            else:
                param, *moments = tensors
                adam_step(param, gradient, *moments, scales, backend=self.backend)

    def state(self) -> dict[str, Tensor]:
        return {f"adam.{n}.{i}": m for n, pair in self.moments.items() for i, m in enumerate(pair)}

    def load_state(self, tensors: dict[str, Tensor], step_count: int) -> None:
        self.step_count = step_count
        for name, pair in self.moments.items():
            for i, moment in enumerate(pair):
                moment.copy_(tensors[f"adam.{name}.{i}"])


class CautiousAdam(Adam):
    """Adam, over longer means, for parameters [N, ...] with a row for each of N like things, that moves them as far as
    their gradients were seen to agree.

    Adam's steps are as long where gradients are nothing but noise as where they agree: parameters that were right
    wander off. Here each column has its steps multiplied by ``max(0, 1 - CHANCE / z²)``, after James and Stein (1961).
    z² is the largest mean square of a step over the rows until now, in units of that of a step made of noise, for which
    a moving mean of gradients g has the variance ``(1 - beta1) / (1 + beta1) E[g²]``. The largest, because what once
    was seen to be wrong must also be put right to its last part, which noise hides. Steps at a rate of 0 see nothing.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], backend: str = "auto"):
        super().__init__(parameters, backend)
        (self.of_all,) = self.scales.values()
        self.by_chance = torch.ones((), device=self.of_all.device)

    def _no_moments(self, param: Tensor) -> tuple[Tensor, ...]:
        """The last one is the evidence that steps are no chance."""
        return *super()._no_moments(param), param.new_zeros(param.shape[1:])

    def begin_step(self, learning_rate: float) -> None:
        self.step_count += 1
        adam_scales(self.step_count, learning_rate, LONG_BETAS, out=self.of_all)
        beta, old = LONG_BETAS[0], LONG_BETAS[0] ** self.step_count
        self.by_chance.fill_(learning_rate**2 * (1 - beta) / (1 + beta) * (1 + old) / (1 - old))

    def evidence(self) -> float:
        """The largest z² of any column until now."""
        return max(evidence.max().item() for _, _, evidence in self.moments.values())

    @torch.no_grad()
    def step(self, gradients: dict[str, Tensor]) -> None:
        for name, gradient in gradients.items():
            param, (first, second, evidence) = self.parameters[name], self.moments[name]
            before = param.clone()
            adam_step(param, gradient, first, second, self.of_all, LONG_BETAS, backend=self.backend)
            seen = (param - before).square().mean(0) / self.by_chance.clamp(min=SMALL)
            torch.maximum(evidence, seen, out=evidence)
            param.copy_(torch.lerp(before, param, (1 - CHANCE / evidence).clamp(min=0)))
