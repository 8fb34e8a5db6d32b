"""What training minimises."""

from __future__ import annotations

import torch
from torch import Tensor

from nerfcore.fields.base import Field
from nerfcore.renderer.volume import render_samples, sample_rays
from nerfcore.types import SampleLattice, Samples, TouchedGradient


def photometric_loss(
    field: Field, origin: Tensor, direction: Tensor, lattice: SampleLattice, jitter: Tensor, background: Tensor,
    truth: Tensor, expected_samples: int, capacity: int | None = None, backend: str = "auto",
) -> tuple[Tensor, Samples, Tensor, dict[str, Tensor | TouchedGradient]]:
    """Mean squared error of box rays [R] rendered over ``background`` [R, 3] against ``truth`` [R, 3].

    expected_samples: about how many samples the rays will have. capacity: room for so many samples, and no wait for a
    GPU (see :func:`~nerfcore.ops.march.march_rays`); rays that do not fit do not count. Returns the loss, the samples
    that were looked at, their weights [S], and the gradient of each parameter by name; also that
    of "origin", "direction", "background" and "truth" where these require one, which no fused step gives.
    """
    batch = origin, direction, lattice, jitter, background, truth
    fits_alone = not any(given.requires_grad for given in (origin, direction, background, truth))
    if fits_alone and (fused := field.fused_loss(*batch, expected_samples)) is not None:
        return fused
    return modular_loss(field, *batch, capacity, backend)


def modular_loss(
    field: Field, origin: Tensor, direction: Tensor, lattice: SampleLattice, jitter: Tensor, background: Tensor,
    truth: Tensor, capacity: int | None = None, backend: str = "auto",
) -> tuple[Tensor, Samples, Tensor, dict[str, Tensor]]:
    """The same, operation by operation."""
    rays = origin, direction
    samples = sample_rays(*rays, lattice, jitter, capacity, backend)
    rgb, opacity, _, weights = render_samples(field, *rays, samples, backend)
    error = (rgb + (1 - opacity[:, None]) * background - truth).square().mean(1)
    if capacity is not None:
        error = error * samples.complete * (len(error) / samples.complete.sum().clamp(min=1))
    loss = error.mean()
    wanted = dict(field.named_parameters())
    of_rays = dict(origin=origin, direction=direction, background=background, truth=truth)
    wanted |= {name: given for name, given in of_rays.items() if given.requires_grad}
    gradients = torch.autograd.grad(loss, wanted.values())
    return loss.detach(), samples, weights.detach(), dict(zip(wanted, gradients, strict=True))


def over(background: Tensor, pixel: Tensor) -> Tensor:
    """Pixels [..., 3], or [..., 4] with straight alpha last, over a background [..., 3]."""
    return pixel if pixel.shape[-1] == 3 else torch.lerp(background, pixel[..., :3], pixel[..., 3:])
