"""What training minimises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nerfcore.fields import Field
from nerfcore.renderer.volume import in_appearance, render_samples, sample_rays
from nerfcore.types import SampleLattice, Samples, TouchedGradient


def photometric_loss(
    field: Field, origin: Tensor, direction: Tensor, lattice: SampleLattice, jitter: Tensor, background: Tensor,
    truth: Tensor, expected_samples: int, capacity: int | None = None, backend: str = "auto",
    depth: DepthTerm | None = None, full_from: float = 0.0, spread: Tensor | None = None,
    touched: Mapping[str, TouchedGradient] | None = None, code: Tensor | None = None,
) -> tuple[Tensor, Samples, Tensor, dict[str, Tensor | TouchedGradient]]:
    """Mean squared error of box rays [R] rendered over ``background`` [R, 3] against ``truth`` [R, 3].

    expected_samples: about how many samples the rays will have. capacity: room for so many samples, and no wait for a
    GPU (see :func:`~nerfcore.ops.march.march_rays`); rays that do not fit do not count. Returns the loss, the samples
    that were looked at, their weights [S], and the gradient of each parameter by name; also that of "background" and
    "truth", and of "origin" and "direction", which no fused step gives, where these require one. depth: a term that the
    gradients, but not the loss that is returned, have besides; no fused step has it. full_from: samples of a field that
    marches and that are nearer to their camera have less of their gradient, see
    :func:`~nerfcore.ops.composite.fade_gradients`. spread [R]: of the rays, see :class:`~nerfcore.types.Rays`. touched:
    of the field's tables, added to and returned where the step is not fused, see
    :meth:`~nerfcore.fields.base.Field.adding_to`. code [R, K]: of the appearances of the photographs, whose gradient is
    returned as well if it requires one; no fused step takes it.
    """
    batch = origin, direction, lattice, jitter, background, truth
    fits_alone = depth is None and code is None and not (origin.requires_grad or direction.requires_grad)
    if fits_alone and (fused := field.fused_loss(*batch, expected_samples, full_from)) is not None:
        return fused
    with field.adding_to(touched or {}):
        loss, samples, weights, gradients = modular_loss(
            field, *batch, capacity, backend, depth, full_from, spread, code
        )
    return loss, samples, weights, gradients | (touched or {})


def modular_loss(
    field: Field, origin: Tensor, direction: Tensor, lattice: SampleLattice, jitter: Tensor, background: Tensor,
    truth: Tensor, capacity: int | None = None, backend: str = "auto", depth: DepthTerm | None = None,
    full_from: float = 0.0, spread: Tensor | None = None, code: Tensor | None = None,
) -> tuple[Tensor, Samples, Tensor, dict[str, Tensor]]:
    """The same, operation by operation."""
    rays = origin, direction
    if not field.marches:
        return placed_loss(field, *rays, jitter, background, truth, backend, depth, spread, code)
    samples = sample_rays(*rays, lattice, jitter, capacity, backend)
    rgb, opacity, _, weights = render_samples(field, *rays, samples, backend, full_from, spread, code)
    behind = _behind(field, direction, background, code)
    error = (rgb + (1 - opacity[:, None]) * behind - truth).square().mean(1)
    if capacity is not None:
        error = error * samples.complete * (len(error) / samples.complete.sum().clamp(min=1))
    loss, guided = error.mean(), 0.0 if depth is None else depth(weights, samples)
    of_rays = dict(origin=origin, direction=direction, background=background, truth=truth, code=code)
    return loss.detach(), samples, weights.detach(), _gradients(loss + guided, field, of_rays)


def placed_loss(
    field: Field, origin: Tensor, direction: Tensor, jitter: Tensor, background: Tensor, truth: Tensor,
    backend: str = "auto", depth: DepthTerm | None = None, spread: Tensor | None = None, code: Tensor | None = None,
) -> tuple[Tensor, Samples, Tensor, dict[str, Tensor]]:
    """The same for a field that places its samples itself, whose gradients are also of what teaches it to.

    Behind everything in a field without an end there is its sky. A background that is no part of the field would ask
    all that is not opaque yet to be so, and cameras would be walled in by what only they see.
    """
    samples, proposed = field.place_samples(origin, direction, jitter)
    rgb, opacity, _, weights = render_samples(field, origin, direction, samples, backend, spread=spread, code=code)
    behind = _behind(field, direction, background, code)
    loss = (rgb + (1 - opacity[:, None]) * behind - truth).square().mean()
    taught = field.proposal_loss(proposed, weights, behind, truth, backend)
    guided = 0.0 if depth is None else depth(weights, samples)
    of_rays = dict(origin=origin, direction=direction, background=background, truth=truth, code=code)
    return loss.detach(), samples, weights.detach(), _gradients(loss + taught + guided, field, of_rays)


@dataclass(frozen=True)
class DepthTerm:
    """What is asked of the weights along rays whose surface is known. distance [R], in the units of the samples: how
    far along each ray it is, 0 where that is not known. weight: of the term beside the photometric loss."""

    distance: Tensor
    weight: float

    def __call__(self, weights: Tensor, samples: Samples) -> Tensor:
        """weight times the mean of :func:`stopped_elsewhere` over the rays that have all their samples here, those of
        unknown distance among them."""
        complete = samples.complete
        missed = stopped_elsewhere(weights, samples, self.distance) * complete
        return self.weight * missed.sum() / complete.sum().clamp(min=1)


def stopped_elsewhere(weights: Tensor, samples: Samples, distance: Tensor) -> Tensor:
    """[R]: how far from the surface light is stopped, by the weights [S] of samples; 0 where distance [R] is 0.

    ``1 - sum w_i (1 - e_i)`` with ``e_i = min(|t_i / distance - 1|, 1)``: the mean distance between where a ray ends
    and where it should, relative to the latter and at most 1, which is also what light that is not stopped costs. The
    mean of where a ray ends, as pictures of distance show it, may be right where no light is stopped at the surface;
    this is the earth mover's distance from the weights to all of them there, in the place of the Kullback-Leibler
    divergence of DS-NeRF (Deng et al. 2022, section 4) and of the squares of URF (Rematas et al. 2022, section 4.2): it
    has no width to choose, and a wrong measurement pulls no more than any other. Differentiable in: weights.
    """
    known = distance > 0
    ray = samples.ray_indices
    error = (samples.t_mid / distance.where(known, 1.0).index_select(0, ray) - 1).abs().clamp(max=1)
    there = torch.zeros_like(distance).index_add(0, ray, weights * (1 - error))
    return torch.where(known, 1 - there, 0.0)


def over(background: Tensor, pixel: Tensor) -> Tensor:
    """Pixels [..., 3], or [..., 4] with straight alpha last, over a background [..., 3]."""
    return pixel if pixel.shape[-1] == 3 else torch.lerp(background, pixel[..., :3], pixel[..., 3:])


def _behind(field: Field, direction: Tensor, background: Tensor, code: Tensor | None) -> Tensor:
    """[R, 3]: what rays see that nothing holds up."""
    return field.sky(direction, **in_appearance(code)) if field.has_sky else background


def _gradients(loss: Tensor, field: Field, of_rays: dict[str, Tensor | None]) -> dict[str, Tensor]:
    """Of the loss, in each parameter of the field and in what of the rays requires it, by name. Nothing hangs on the
    background where a field has a sky."""
    wanted = dict(field.named_parameters())
    wanted |= {name: given for name, given in of_rays.items() if given is not None and given.requires_grad}
    if field.has_sky:
        wanted.pop("background", None)
    return dict(zip(wanted, torch.autograd.grad(loss, wanted.values()), strict=True))
