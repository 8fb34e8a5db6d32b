"""What guides a sampler: functions from denoisers ``(x, level) -> Denoised`` to denoisers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nerfcore.priors.blocks.denoiser import Denoised, over
from nerfcore.priors.blocks.samplers import Denoise


def classifier_free(said: Denoise, unsaid: Denoise, scale: float) -> Denoise:
    """Away from what a model makes of a picture of which nothing is said, towards what it makes of one of which
    something is (Ho and Salimans 2021, equation 6). scale 1 is the model itself, 0 the one that is told nothing."""

    def denoise(x: Tensor, level: Tensor) -> Denoised:
        here, mix = said(x, level)
        return Denoised(torch.lerp(unsaid(x, level).picture, here, scale), mix)

    return said if scale == 1 else denoise


def guided(denoise: Denoise, log_likelihood: Callable[[Tensor, Tensor], Tensor], scale: float) -> Denoise:
    """Uphill: the picture moves by the gradient of what a network that knows noise, ``(x, level) -> [B]``, thinks of x
    (Dhariwal and Nichol 2021, algorithm 2; with the similarity of a picture and a caption Nichol et al. 2021, section
    2.4). By Tweedie's formula the picture of a density is ``x + level² ∇ log p(x)``, so scale 1 is Bayes's rule."""

    def moved(x: Tensor, level: Tensor) -> Denoised:
        picture, mix = denoise(x, level)
        with torch.enable_grad():
            at = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(log_likelihood(at, level).sum(), at)
        return Denoised(picture + scale * over(level, x) ** 2 * slope, mix)

    return moved


def clipped(denoise: Denoise) -> Denoise:
    """Pictures in [-1, 1]."""

    def inside(x: Tensor, level: Tensor) -> Denoised:
        picture, mix = denoise(x, level)
        return Denoised(picture.clamp(-1, 1), mix)

    return inside


def dynamically_clipped(denoise: Denoise, share: float = 0.995) -> Denoise:
    """Each picture is clipped where that share of its values is below, at 1 or above, and divided by that, so that
    guidance does not saturate it (Saharia et al. 2022, section 2.3)."""

    def inside(x: Tensor, level: Tensor) -> Denoised:
        picture, mix = denoise(x, level)
        most = over(picture.abs().flatten(1).quantile(share, dim=1).clamp(min=1), x)
        return Denoised(picture.clamp(-most, most) / most, mix)

    return inside


def filled(denoise: Denoise, known: Tensor, mask: Tensor) -> Denoise:
    """What is known stays: pictures of which only places with mask 1 are made, others are those of ``known``."""

    def inside(x: Tensor, level: Tensor) -> Denoised:
        picture, mix = denoise(x, level)
        return Denoised(torch.lerp(known, picture, mask), mix)

    return inside


def score_distillation(denoise: Denoise, pictures: Tensor, level: Tensor, generator: torch.Generator) -> Tensor:
    """A scalar whose gradient by pictures [B, C, *spatial] leads them to where a denoiser finds them likely: the mean
    of ``(1 - ᾱ) (noise that it sees - noise that was added)`` at levels [] or [B] (Poole et al. 2023, equation 3, with
    their weight). Its value says nothing. Differentiable in: pictures, once; not through the denoiser."""
    level = over(level, pictures)
    with torch.no_grad():
        noise = torch.randn(pictures.shape, generator=generator, device=generator.device).to(pictures)
        seen = denoise(pictures + level * noise, level.flatten()).picture
        slope = level / (1 + level**2) * (pictures - seen)  # the noise seen is (x - picture) / level
    return (slope * pictures).flatten(1).sum(1).mean()
