"""Volume compositing of packed samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerfcore.ops._dispatch import by_reference, check, use_kernel
from nerfcore.ops._guard import guarded
from nerfcore.types import Samples

STOP_BELOW = 1e-4
"""Transmittance at which a ray ends, as in Müller et al. 2022."""


@guarded("rgb_out", "opacity", "distance", "weights")
def composite(
    sigma: Tensor, rgb: Tensor, samples: Samples, stop_below: float = STOP_BELOW, backend: str = "auto"
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Colour, opacity, distance and weights of each ray by the quadrature of Mildenhall et al. 2020, equation 3.

    With ``dt`` the interval lengths: ``w_i = T_i (1 - exp(-sigma_i dt_i))``, ``T_{i+1} = T_i exp(-sigma_i dt_i)``.

    sigma [S] density per unit of t, >= 0. rgb [S, 3]. A ray ends once its transmittance is below ``stop_below`` (0 =
    never); samples behind the end weigh 0. Returns rgb [R, 3] (no background added: add ``(1 - opacity) *
    background``), opacity [R], distance [R] = ``sum w_i t_i`` with t_i the middle of the interval (divide by opacity
    for the expected distance), and weights [S]. A ray without samples has zeros. ``opacity + final transmittance = 1``.
    Samples that belong to no ray weigh 0.

    Differentiable in: sigma, rgb (first order).

    >>> one = Samples(torch.tensor([0.0]), torch.tensor([2.0]), torch.tensor([0, 1]))
    >>> rgb, opacity, distance, weights = composite(torch.tensor([0.5]), torch.ones(1, 3), one)
    >>> [round(x.item(), 4) for x in (opacity, distance, weights)]
    [0.6321, 0.6321, 0.6321]
    """
    dims: dict[str, int] = {}
    sigma = check("sigma", sigma, "S", dims)
    rgb = check("rgb", rgb, "S 3", dims, like=sigma)
    t_start = check("samples.t_start", samples.t_start, "S", dims, like=sigma)
    t_end = check("samples.t_end", samples.t_end, "S", dims, like=sigma)
    offsets = samples.ray_offsets.contiguous()
    if offsets.dtype != torch.int64 or offsets.device != sigma.device:
        raise ValueError(
            f"samples.ray_offsets must be int64 on {sigma.device}, got {offsets.dtype} on {offsets.device}"
        )
    if use_kernel(backend, sigma):
        return _Composite.apply(sigma, rgb, t_start, t_end, offsets, stop_below)
    return composite_reference(sigma, rgb, Samples(t_start, t_end, offsets), stop_below)


def fade_gradients(values: Tensor, samples: Samples, full_from: float) -> Tensor:
    """The same values [S, ...] of samples; their gradient is ``min(1, (t / full_from)²)`` times what it was, with t the
    middle of the interval (Philip and Deschaintre 2023, Floaters no more).

    Space is seen by the more pixels the nearer it is to a camera, by the square of its distance: without this it learns
    so much faster there, and from one camera alone, that it stays full of what explains this camera's photograph.
    full_from: distance from which on gradients are whole; 0 = everywhere. Differentiable in: values, as stated.
    """
    if not full_from:
        return values
    share = (samples.t_mid / full_from).square().clamp(max=1)
    return torch.lerp(values.detach(), values, share.view(-1, *[1] * (values.ndim - 1)))


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, sigma, rgb, t_start, t_end, offsets, stop_below):
        rgb_out, opacity, distance, weight, after = torch.ops.nerfcore.composite_forward(
            sigma, rgb, t_start, t_end, offsets, stop_below
        )
        ctx.save_for_backward(sigma, rgb, t_start, t_end, offsets, weight, after)
        ctx.stop_below = stop_below
        ctx.set_materialize_grads(False)
        return rgb_out, opacity, distance, weight

    @staticmethod
    def backward(ctx, grad_rgb_out, grad_opacity, grad_distance, grad_weight):
        sigma, rgb, t_start, t_end, offsets, weight, after = ctx.saved_tensors
        grads = (grad_rgb_out, grad_opacity, grad_distance, grad_weight)
        if torch.is_grad_enabled():  # create_graph
            samples, stop_below = Samples(t_start, t_end, offsets), ctx.stop_below
            found = by_reference(lambda s, c: composite_reference(s, c, samples, stop_below), (sigma, rgb), grads)
            return *found, None, None, None, None
        grad_sigma, grad_rgb = torch.ops.nerfcore.composite_backward(
            rgb, t_start, t_end, offsets, weight, after, *(None if g is None else g.contiguous() for g in grads)
        )
        return grad_sigma, grad_rgb, None, None, None, None


def composite_reference(
    sigma: Tensor, rgb: Tensor, samples: Samples, stop_below: float = STOP_BELOW
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same on rays padded to the longest one, [R, K]."""
    offsets, num_rays = samples.ray_offsets, samples.num_rays
    unowned = len(sigma) - int(offsets[-1])
    if unowned:
        sigma, rgb, t_start, t_end = (x[: offsets[-1]] for x in (sigma, rgb, samples.t_start, samples.t_end))
        *rays, weight = composite_reference(sigma, rgb, Samples(t_start, t_end, offsets), stop_below)
        return *rays, torch.nn.functional.pad(weight, (0, unowned))
    count = offsets[1:] - offsets[:-1]
    longest = int(count.max()) if num_rays else 0
    ray = samples.ray_indices
    column = torch.arange(len(sigma), device=sigma.device) - offsets[ray]
    depth = sigma.new_zeros(num_rays, longest + 1).index_put(
        (ray, column + 1), sigma * (samples.t_end - samples.t_start)
    )
    transmittance = torch.exp(-torch.cumsum(depth, 1))[ray, column]  # T_i: depth before sample i
    weight = transmittance * -torch.expm1(-depth[ray, column + 1])
    weight = torch.where(transmittance >= stop_below, weight, 0)
    opacity = sigma.new_zeros(num_rays).index_add(0, ray, weight)
    distance = sigma.new_zeros(num_rays).index_add(0, ray, weight * samples.t_mid)
    rgb_out = sigma.new_zeros(num_rays, 3).index_add(0, ray, weight[:, None] * rgb)
    return rgb_out, opacity, distance, weight


@torch.no_grad()
def mean_stop(sigma: Tensor, length: Tensor) -> Tensor:
    """[S]: how far into an interval of this length [S] and density [S] the light that it stops is stopped in the mean:
    ``1 / sigma - length / (exp(sigma length) - 1)``, half of the length where the density is small, 0 where it is not.
    Not differentiable."""
    thickness = sigma * length
    exact = length * (1 / thickness - 1 / torch.expm1(thickness))
    return torch.where(thickness > 1e-2, exact, length * (0.5 - thickness / 12))


@torch.no_grad()
def median_distance(sigma: Tensor, samples: Samples, depth: Tensor | None = None) -> Tensor:
    """[R]: where transmittance falls through 1/2, exactly for densities that are constant in every interval; 0 where it
    does not.

    sigma [S] as in :func:`composite`. depth [R]: optical depth of what lies before the samples; None for nothing. What
    the weighted mean shows between two surfaces, the median shows at one of them. Not differentiable.
    """
    if not len(sigma):
        return sigma.new_zeros(samples.num_rays)
    ray = samples.ray_indices
    thickness = (sigma * (samples.t_end - samples.t_start)).double()
    before = thickness.cumsum(0) - thickness
    begin = samples.ray_offsets[:-1].clamp(max=len(sigma) - 1)
    before = before - before.index_select(0, begin).index_select(0, ray)
    if depth is not None:
        before = before + depth.index_select(0, ray)
    half = math.log(2)
    crosses = (before < half) & (before + thickness >= half)
    t = samples.t_start + ((half - before) / sigma.where(crosses, 1.0)).to(sigma)
    return sigma.new_zeros(samples.num_rays).index_add_(0, ray, torch.where(crosses, t, 0.0))
