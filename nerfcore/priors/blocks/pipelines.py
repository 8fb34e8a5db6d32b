"""Pipelines of the diffusers library, if it is installed, as denoisers of ours: to sample, guide and distil."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerfcore.errors import NerfcoreError
from nerfcore.priors.blocks.denoiser import Denoiser

TARGETS = {"epsilon": "noise", "sample": "picture", "v_prediction": "velocity"}


class PipelineDenoiser(Denoiser):
    """The ``unet`` of a diffusers pipeline, whose ``scheduler`` says its noise and its target, as a
    :class:`~nerfcore.priors.blocks.denoiser.Denoiser`: what it takes and says are ours, pictures [B, C, *spatial] with
    noise of deviation ``level``. ``levels`` [T]: those that it was trained on, rising, for samplers.

    Of a pipeline with a ``vae`` the pictures are its codes, see :meth:`encode` and :meth:`decode`; what it is told are
    arguments of its unet, see :meth:`said`. A variance that it learned is not used. Raises NerfcoreError for a pipeline
    that is no diffusion of this kind.
    """

    def __init__(self, pipeline):
        alphas = getattr(getattr(pipeline, "scheduler", None), "alphas_cumprod", None)
        if alphas is None or getattr(pipeline, "unet", None) is None:
            raise NerfcoreError(
                f"{type(pipeline).__name__} has no unet with a scheduler of alphas_cumprod; give a diffusers pipeline "
                "such as DDPMPipeline or StableDiffusionPipeline"
            )
        kind = pipeline.scheduler.config.prediction_type
        if kind not in TARGETS:
            raise NerfcoreError(f"its scheduler predicts {kind!r}, which is none of {', '.join(TARGETS)}")
        levels = ((1 - alphas.double()) / alphas.double()).sqrt()
        super().__init__(_Timed(pipeline.unet, levels), TARGETS[kind])
        self.pipeline = pipeline
        self.register_buffer("levels", levels)

    @torch.no_grad()
    def said(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """What its text encoder makes of prompts, for :meth:`forward`; of empty ones for what is said of nothing."""
        hidden, *_ = self.pipeline.encode_prompt(list(prompts), self.levels.device, 1, False)
        return {"encoder_hidden_states": hidden}

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, h, w] in [-1, 1] -> codes. Differentiable in: pictures."""
        vae = self.pipeline.vae
        return (vae.encode(pictures).latent_dist.mode() - _shift(vae)) * vae.config.scaling_factor

    def decode(self, codes: Tensor) -> Tensor:
        """Codes -> pictures, in [-1, 1] or nearly. Differentiable in: codes."""
        vae = self.pipeline.vae
        return vae.decode(codes / vae.config.scaling_factor + _shift(vae)).sample


class _Timed(nn.Module):
    """A unet that is told the number of a level, as a network that is told its logarithm over 4. Numbers between two
    levels are those that are even in the logarithm."""

    def __init__(self, unet: nn.Module, levels: Tensor):
        super().__init__()
        self.unet = unet
        self.register_buffer("logarithms", levels.log())

    def forward(self, x: Tensor, noise: Tensor, **said) -> Tensor:
        wanted, known = 4 * noise.double(), self.logarithms
        above = torch.searchsorted(known, wanted.contiguous()).clamp(1, len(known) - 1)
        share = (wanted - known[above - 1]) / (known[above] - known[above - 1])
        time = (above - 1 + share).clamp(0, len(known) - 1)
        return self.unet(x, time.to(x), **said).sample[:, : x.shape[1]]


def _shift(vae: nn.Module) -> float:
    return getattr(vae.config, "shift_factor", None) or 0.0
