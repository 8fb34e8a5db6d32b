"""What a network's output says of the clean picture, and the losses by which it learns to say it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nerfcore.priors.blocks.likelihood import gaussian_divergence, level_likelihood
from nerfcore.priors.blocks.schedule import log_variance, posterior, scale_of

TARGETS = ("noise", "picture", "velocity")


class Denoised(NamedTuple):
    """picture: the mean of the clean pictures that a noisy one [B, C, *spatial] may come from. mix: of the same shape,
    in [0, 1], where the variance of a step is learned, see :func:`~nerfcore.priors.blocks.schedule.log_variance`."""

    picture: Tensor
    mix: Tensor | None = None


class Denoiser(nn.Module):
    """A network as a function from noisy pictures to clean ones.

    The network is ``(x, noise, **said) -> output``: x [B, C, *spatial] and noise [B] as :func:`preconditioned` makes
    them, what is said of the picture passed on. Its output is the ``target``:
    "noise" (Ho et al. 2020), "picture", or "velocity", ``√ᾱ noise - √(1 - ᾱ) picture`` (Salimans and Ho 2022, section
    4); with ``learns_variance`` it has twice the channels, and the second half is the mix.
    """

    def __init__(self, network: nn.Module, target: str = "velocity", learns_variance: bool = False):
        super().__init__()
        if target not in TARGETS:
            raise ValueError(f"the target must be one of {', '.join(TARGETS)}, got {target!r}")
        self.network, self.target, self.learns_variance = network, target, learns_variance

    def forward(self, x: Tensor, level: Tensor, **said) -> Denoised:
        """x [B, C, *spatial], pictures with noise of deviation ``level``, [] or [B]. Differentiable in: x, said."""
        level = over(level, x)
        output, mix = self._output(x, level, said)
        return Denoised(self._picture(output, x, level), mix)

    def losses(
        self, pictures: Tensor, noise: Tensor, level: Tensor, lower: Tensor | None = None, **said
    ) -> tuple[Tensor, Tensor | None]:
        """L_simple of Ho et al. 2020, equation 14, of the target, as means of squares [B]; and where the variance is
        learned the term of the bound of the step to the ``lower`` level, in bits per value [B], by which only the
        variance learns (Nichol and Dhariwal 2021, section 3.1). pictures, noise [B, C, *spatial]; levels [B].
        Differentiable in: the parameters, said."""
        level = over(level, pictures)
        x = pictures + level * noise
        output, mix = self._output(x, level, said)
        scale = scale_of(level)
        truth = {"noise": noise, "picture": pictures, "velocity": scale * (noise - level * pictures)}[self.target]
        simple = (output - truth).square().flatten(1).mean(1)
        if mix is None:
            return simple, None
        denoised = Denoised(self._picture(output.detach(), x, level), mix)
        return simple, bound_term(denoised, pictures, x, level, over(lower, pictures))

    def _output(self, x: Tensor, level: Tensor, said: dict) -> tuple[Tensor, Tensor | None]:
        output = self.network(*preconditioned(x, level), **said)
        if not self.learns_variance:
            return output, None
        output, mix = output.chunk(2, 1)
        return output, mix.sigmoid()

    def _picture(self, output: Tensor, x: Tensor, level: Tensor) -> Tensor:
        if self.target == "picture":
            return output
        scale = scale_of(level)
        return x - level * output if self.target == "noise" else scale * (scale * x - level * output)


def preconditioned(x: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """What networks see of a noisy picture x [B, …] and its level, as :func:`over` makes it: the picture with variance
    1, and the logarithm of the level over 4, [B] (Karras et al. 2022, table 1). Differentiable in: x."""
    return scale_of(level) * x, level.flatten().log() / 4


def over(level: Tensor, x: Tensor) -> Tensor:
    """level [] or [B], of any type -> [B, 1, …], as it broadcasts over x [B, …]."""
    return level.to(x).expand(len(x)).view(-1, *[1] * (x.ndim - 1))


def bound_term(denoised: Denoised, pictures: Tensor, x: Tensor, level: Tensor, lower: Tensor) -> Tensor:
    """L_(t-1) of Ho et al. 2020, equation 5, in bits per value, [B]: the divergence of the step that ``denoised`` says
    from the true one, whose picture is known; where the lower level is 0 minus the log probability of the picture, L_0.
    Levels [B, 1, …] as :func:`over` makes them. Differentiable in: denoised."""
    mix = torch.ones_like(x) if denoised.mix is None else denoised.mix
    log_deviation = 0.5 * log_variance(mix, level, lower)
    mean, _ = posterior(denoised.picture, x, level, lower)
    true_mean, true_variance = posterior(pictures, x, level, lower)
    # a divergence of 0 / 0 would be no number: there the other term is taken, of which it must not spoil the gradient
    true = 0.5 * torch.where(lower > 0, true_variance, 1.0).log().expand_as(x)
    divergence = gaussian_divergence(true_mean, true, mean, log_deviation)
    last = -level_likelihood(pictures, mean, log_deviation)
    return torch.where(lower.flatten() > 0, divergence, last) / (x[0].numel() * math.log(2))


def bound(
    denoise: Callable[..., Denoised], pictures: Tensor, levels: Tensor, generator: torch.Generator
) -> Tensor:
    """An upper bound of minus log p of each picture [B, C, *spatial], in bits per value (Ho et al. 2020, equation 5):
    [B], the sum of the terms of all ``levels`` [T] of the chain, rising, and of what its end says of the picture."""
    top = over(levels[-1], pictures)
    scale = scale_of(top)
    total = gaussian_divergence(scale * pictures, (scale * top).log().expand_as(pictures))
    total = total / (pictures[0].numel() * math.log(2))
    for level, lower in zip(levels, (levels.new_zeros(()), *levels), strict=False):
        level, lower = over(level, pictures), over(lower, pictures)
        noise = torch.randn(pictures.shape, generator=generator, device=generator.device).to(pictures)
        x = pictures + level * noise
        total = total + bound_term(denoise(x, level.flatten()), pictures, x, level, lower)
    return total
