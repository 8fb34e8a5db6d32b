"""What training minimises."""

from __future__ import annotations

import torch
from torch import Tensor

from nerfcore.fields.base import Field
from nerfcore.renderer.volume import render_samples
from nerfcore.types import Samples, TouchedGradient


def photometric_loss(
    field: Field,
    origin: Tensor,
    direction: Tensor,
    samples: Samples,
    background: Tensor,
    truth: Tensor,
    backend: str = "auto",
) -> tuple[Tensor, Tensor, dict[str, Tensor | TouchedGradient]]:
    """Mean squared error of sampled box rays [R] rendered over ``background`` [R, 3] against ``truth`` [R, 3].

    Returns the loss, the weights [S] of the samples, and the gradient of each parameter by name.
    """
    if (fused := field.fused_loss(origin, direction, samples, background, truth)) is not None:
        return fused
    rgb, opacity, _, weights = render_samples(field, origin, direction, samples, backend)
    loss = torch.nn.functional.mse_loss(rgb + (1 - opacity[:, None]) * background, truth)
    names, parameters = zip(*field.named_parameters(), strict=True)
    return loss.detach(), weights.detach(), dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))
