"""What training minimises."""

from __future__ import annotations

import torch
from torch import Tensor

from nerfcore.fields import Field, UnboundedField
from nerfcore.ops.distortion import distortion
from nerfcore.ops.interlevel import interlevel
from nerfcore.renderer.volume import render_samples, sample_rays
from nerfcore.types import SampleLattice, Samples, TouchedGradient

DISTORTION_WEIGHT = 0.01  # as in Barron et al. 2022


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
    if not field.bounded:
        return proposal_loss(field, *rays, jitter, truth, backend)
    samples = sample_rays(*rays, lattice, jitter, capacity, backend)
    rgb, opacity, _, weights = render_samples(field, *rays, samples, backend)
    error = (rgb + (1 - opacity[:, None]) * background - truth).square().mean(1)
    if capacity is not None:
        error = error * samples.complete * (len(error) / samples.complete.sum().clamp(min=1))
    loss = error.mean()
    gradients = _gradients(loss, field, origin=origin, direction=direction, background=background, truth=truth)
    return loss.detach(), samples, weights.detach(), gradients


def proposal_loss(
    field: UnboundedField, origin: Tensor, direction: Tensor, jitter: Tensor, truth: Tensor, backend: str = "auto"
) -> tuple[Tensor, Samples, Tensor, dict[str, Tensor]]:
    """The same for a field with proposals, whose gradients are also of what teaches these, and of the distortion
    (Barron et al. 2022, equation 16).

    Behind everything there is the sky. A background that is no part of the field would ask all that is not opaque yet
    to be so, and cameras would be walled in by what only they see.
    """
    samples, proposed = field.propose(origin, direction, jitter)
    in_box = field.in_box(samples)
    rgb, opacity, _, weights = render_samples(field, origin, direction, in_box, backend)
    loss = (rgb + (1 - opacity[:, None]) * field.sky(direction) - truth).square().mean()
    unexplained = sum(interlevel(weights, samples, *proposal, backend=backend).mean() for proposal in proposed)
    spread = DISTORTION_WEIGHT * distortion(weights, samples, backend=backend).mean()
    gradients = _gradients(loss + unexplained + spread, field, origin=origin, direction=direction, truth=truth)
    return loss.detach(), in_box, weights.detach(), gradients


def over(background: Tensor, pixel: Tensor) -> Tensor:
    """Pixels [..., 3], or [..., 4] with straight alpha last, over a background [..., 3]."""
    return pixel if pixel.shape[-1] == 3 else torch.lerp(background, pixel[..., :3], pixel[..., 3:])


def _gradients(loss: Tensor, field: Field, **of_rays: Tensor) -> dict[str, Tensor]:
    """Of the loss, in each parameter of the field and in what of the rays requires it, by name."""
    wanted = dict(field.named_parameters())
    wanted |= {name: given for name, given in of_rays.items() if given.requires_grad}
    return dict(zip(wanted, torch.autograd.grad(loss, wanted.values()), strict=True))
