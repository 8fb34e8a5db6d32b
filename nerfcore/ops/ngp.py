"""The training step and the picture of an Instant-NGP field, each in one operation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from nerfcore.ops._dispatch import check, use_kernel
from nerfcore.ops.composite import STOP_BELOW, composite_reference, fade_gradients, mean_stop, median_distance
from nerfcore.ops.hash_grid import HashGridLevels, hash_grid_reference
from nerfcore.ops.intersect import intersect_box_reference
from nerfcore.ops.march import longest_step, march_rays_reference
from nerfcore.ops.mlp import mlp_reference
from nerfcore.ops.spherical_harmonics import spherical_harmonics_reference
from nerfcore.types import SampleLattice, Samples, TouchedGradient


@dataclass(frozen=True)
class NgpNetworks:
    """What an Instant-NGP field consists of (Müller et al. 2022, section 5.4); see :func:`~nerfcore.ops.mlp.mlp`.

    levels and table [E, F]: the hash grid, in three dimensions; the table is of the type of the matrices or in half
    precision, as for :func:`~nerfcore.ops.hash_grid.hash_grid`. density: matrices from its features to an embedding
    [G], whose first value is the log density, cut at max_log_density. color: matrices from the embedding and the
    sh_degree² spherical harmonics of the direction, in this order, over at least one hidden layer to RGB before a
    sigmoid.
    """

    levels: HashGridLevels
    table: Tensor
    density: Sequence[Tensor]
    color: Sequence[Tensor]
    sh_degree: int
    max_log_density: float


class NgpGradients(NamedTuple):
    """Of a loss, in what :func:`ngp_loss` takes: the matrices of both networks, and what rays are drawn on and compared
    with, [R, 3] both."""

    background: Tensor
    truth: Tensor
    density: list[Tensor]
    color: list[Tensor]


def ngp_loss(
    networks: NgpNetworks, origin: Tensor, direction: Tensor, lattice: SampleLattice, background: Tensor, truth: Tensor,
    grad_table: TouchedGradient, jitter: Tensor | None = None, stop_below: float = STOP_BELOW,
    rays_per_chunk: int = 64, full_from: float = 0.0, backend: str = "auto",
) -> tuple[Tensor, Samples, Tensor, NgpGradients]:
    """Renders box rays over a background, compares them with the truth, and differentiates: marching, forward and
    backward pass at once, without the large tensors between the operations of which it consists.

    ``loss = mean((rgb + (1 - opacity) background - truth)²)`` with rgb and opacity of
    :func:`~nerfcore.ops.composite.composite`. origin, direction (unit), background, truth: [R, 3]; jitter [R] as in
    :func:`~nerfcore.ops.march.march_rays`.

    Returns loss (a scalar), the samples that light reached and their weights [S], and the gradients of the networks,
    the background and the truth; the gradient of the table is added to ``grad_table``. A ray is marched
    a few samples at a time, so that little is computed behind its end. rays_per_chunk: rays that are worked on
    together; best where they have about a thousand samples. full_from: distance from which on samples have their whole
    gradient, see :func:`~nerfcore.ops.composite.fade_gradients`. Float32 on the CPU; the same bits for any number of
    threads. Itself not differentiable.
    """
    networks, dims = _checked(networks)
    rays = [
        check(name, t, "R 3", dims, like=networks.density[0]).detach()
        for name, t in (("origin", origin), ("direction", direction), ("background", background), ("truth", truth))
    ]
    if jitter is not None:
        jitter = check("jitter", jitter, "R", dims, like=networks.density[0]).detach()
    check("grad_table.values", grad_table.values, "E F", dims, like=networks.density[0])
    check("grad_table.touched", grad_table.touched, "E", dims)
    if rays_per_chunk < 1:
        raise ValueError(f"rays_per_chunk must be at least 1, got {rays_per_chunk}")
    if not has_ngp_kernel(networks.density[0], backend):
        return ngp_loss_reference(networks, *rays[:2], lattice, *rays[2:], grad_table, jitter, stop_below, full_from)
    loss, t_start, t_end, ray_offsets, weights, of_background, of_truth, *grads = torch.ops.nerfcore.ngp_loss(
        *_arguments(networks), *rays[:2], jitter, *_lattice_arguments(lattice), stop_below, lattice.max_samples,
        rays_per_chunk, full_from, *rays[2:], grad_table.values, grad_table.touched,
    )
    samples = Samples(t_start, t_end, ray_offsets)
    depth = len(networks.density)
    gradients = NgpGradients(of_background, of_truth, grads[:depth], grads[depth:])
    return loss.to(torch.float32), samples, weights, gradients


def ngp_loss_bytes(networks: NgpNetworks, samples: int, chunk_samples: int, threads: int) -> int:
    """The most memory that :func:`ngp_loss` takes for itself, gradients of the networks included, if it meets so many
    samples, and any chunk of rays at most ``chunk_samples``.

    All samples keep their position, interval, weight and the gradient of their features until the table is updated;
    features, activations and their gradients are kept for the chunks that are worked on. Twice: buffers grow by
    doubling.
    """
    features, matrices = networks.levels.out_features, [*networks.density, *networks.color]
    widths = features + sum(w.shape[1] for w in matrices)
    everywhere = 3 + 6 + features
    in_work = 3 * 16 + sum(-(-width // 16) * 16 for width in (features, *(w.shape[1] for w in matrices)))
    weights = sum(w.numel() for w in matrices) + 16 * widths
    return 4 * (2 * samples * everywhere + 2 * threads * min(chunk_samples, samples) * in_work + 40 * weights)


def ngp_render(
    networks: NgpNetworks, origin: Tensor, direction: Tensor, lattice: SampleLattice, shows: float = 0.0,
    stop_below: float = STOP_BELOW, backend: str = "auto",
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Renders box rays: marching, field and compositing at once, a few samples of every ray at a time, so that little
    is computed behind surfaces.

    origin, direction (unit) [R, 3]. Samples whose weight is at most ``shows`` are left out of the colour, which takes
    that of the rest. Returns rgb [R, 3] without background and opacity [R], as
    :func:`~nerfcore.ops.composite.composite`; distance [R] = ``sum w_i t_i``, t_i being where an interval stops light
    in the mean (:func:`~nerfcore.ops.composite.mean_stop`); the median [R]
    (:func:`~nerfcore.ops.composite.median_distance`).
    Float32 on the CPU. Not differentiable.
    """
    networks, dims = _checked(networks)
    origin = check("origin", origin, "R 3", dims, like=networks.density[0]).detach()
    direction = check("direction", direction, "R 3", dims, like=networks.density[0]).detach()
    if not has_ngp_kernel(networks.density[0], backend):
        return ngp_render_reference(networks, origin, direction, lattice, shows, stop_below)
    return torch.ops.nerfcore.ngp_render(
        *_arguments(networks), origin, direction, *_lattice_arguments(lattice), stop_below, lattice.max_samples, shows
    )


def ngp_density(networks: NgpNetworks, x: Tensor, backend: str = "auto") -> Tensor:
    """Density [N] at points x [N, 3] of the box, for occupancy grids and meshes. Float32 on the CPU. Not
    differentiable."""
    networks, dims = _checked(networks)
    x = check("x", x, "N 3", dims, like=networks.density[0]).detach()
    if not has_ngp_kernel(networks.density[0], backend):
        return _density_reference(networks, x)[0].detach()
    return torch.ops.nerfcore.ngp_density(*_arguments(networks), x)


def has_ngp_kernel(parameter: Tensor, backend: str = "auto") -> bool:
    """Whether a compiled kernel serves a field of which this is a parameter: float32 on the CPU."""
    return not parameter.is_cuda and parameter.dtype == torch.float32 and use_kernel(backend, parameter)


def _checked(networks: NgpNetworks) -> tuple[NgpNetworks, dict[str, int]]:
    """The same, detached and contiguous, and the sizes of its table."""
    levels = networks.levels
    dims = {"E": levels.num_entries, "F": levels.features}
    if levels.dims != 3 or levels.smooth:
        kind = f"{'a smooth one ' if levels.smooth else ''}with {levels.dims}"
        raise ValueError(f"a fused field has a hash grid of three dimensions, interpolated linearly, got {kind}")
    table, like = check("table", networks.table.detach(), "E F", dims, halves=True), networks.density[0]
    if table.dtype not in (like.dtype, torch.float16, torch.bfloat16):
        raise ValueError(f"table must be {like.dtype} like density, torch.float16 or torch.bfloat16, got {table.dtype}")
    if table.device != like.device:
        raise ValueError(f"table must be on {like.device} like density, got {table.device}")
    density = _matrices("density", networks.density, levels.out_features, like)
    color = _matrices("color", networks.color, density[-1].shape[1] + networks.sh_degree**2, like)
    if len(color) < 2 or color[-1].shape[1] != 3 or not 1 <= networks.sh_degree <= 4:
        shapes = [list(w.shape) for w in color]
        raise ValueError(
            f"color needs a hidden layer and 3 outputs, sh_degree 1 to 4; got {shapes}, {networks.sh_degree}"
        )
    return replace(networks, table=table, density=density, color=color), dims


def _arguments(networks: NgpNetworks) -> tuple:
    levels = networks.levels
    return (
        networks.table, networks.density, networks.color, levels.scale, levels.resolution, levels.offset,
        networks.sh_degree, networks.max_log_density,
    )


def _lattice_arguments(lattice: SampleLattice) -> tuple:
    return (
        lattice.bits.contiguous(), lattice.resolution, lattice.cascades, lattice.step,
        longest_step(lattice.step, lattice.resolution), lattice.cone_angle, lattice.near,
    )


def _matrices(name: str, weights: Sequence[Tensor], width: int, like: Tensor) -> list[Tensor]:
    checked = []
    for layer, w in enumerate(weights):
        dims = {"I": width}
        checked.append(check(f"{name}[{layer}]", w.detach(), "I O", dims, like=like))
        width = dims["O"]
    return checked


@torch.enable_grad()
def ngp_loss_reference(
    networks: NgpNetworks, origin: Tensor, direction: Tensor, lattice: SampleLattice, background: Tensor, truth: Tensor,
    grad_table: TouchedGradient, jitter: Tensor | None, stop_below: float, full_from: float,
) -> tuple[Tensor, Samples, Tensor, NgpGradients]:
    """The same from the references of the operations, by automatic differentiation."""
    table = networks.table.to(networks.density[0].dtype)
    table, *matrices = (t.detach().requires_grad_() for t in (table, *networks.density, *networks.color))
    background, truth = (given.detach().requires_grad_() for given in (background, truth))
    depth = len(networks.density)
    density, color = matrices[:depth], matrices[depth:]
    samples = _samples_reference(origin, direction, lattice, jitter)
    sigma, rgb = _field_reference(
        replace(networks, table=table, density=density, color=color), origin, direction, samples
    )
    sigma, rgb = (fade_gradients(values, samples, full_from) for values in (sigma, rgb))
    rgb, opacity, _, weights = composite_reference(sigma, rgb, samples, stop_below)
    loss = torch.nn.functional.mse_loss(rgb + (1 - opacity[:, None]) * background, truth)
    gradient, of_background, of_truth, *grads = torch.autograd.grad(loss, [table, background, truth, *matrices])
    grad_table.values.add_(gradient)
    grad_table.touched[(gradient != 0).any(1)] = 1
    return loss.detach(), samples, weights.detach(), NgpGradients(of_background, of_truth, grads[:depth], grads[depth:])


@torch.no_grad()
def ngp_render_reference(
    networks: NgpNetworks, origin: Tensor, direction: Tensor, lattice: SampleLattice, shows: float, stop_below: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same from the references of the operations."""
    samples = _samples_reference(origin, direction, lattice, None)
    sigma, rgb = _field_reference(networks, origin, direction, samples)
    _, opacity, _, weights = composite_reference(sigma, rgb, samples, stop_below)
    shown = torch.where(weights > shows, weights, 0)
    color = torch.zeros_like(origin).index_add_(0, samples.ray_indices, shown[:, None] * rgb)
    shown_weight = torch.zeros_like(opacity).index_add_(0, samples.ray_indices, shown)
    color *= (opacity / shown_weight.clamp(min=1e-10))[:, None]
    stops = samples.t_start + mean_stop(sigma, samples.t_end - samples.t_start)
    distance = torch.zeros_like(opacity).index_add_(0, samples.ray_indices, weights * stops)
    return color, opacity, distance, median_distance(sigma, samples)


def _samples_reference(
    origin: Tensor, direction: Tensor, lattice: SampleLattice, jitter: Tensor | None
) -> Samples:
    t_in, t_out = intersect_box_reference(origin, direction, origin.new_zeros(3), origin.new_ones(3), lattice.near)
    return march_rays_reference(
        origin, direction, t_in, t_out, lattice.bits, lattice.resolution, lattice.cascades, lattice.step,
        lattice.cone_angle, jitter, lattice.max_samples,
    )


def _field_reference(
    networks: NgpNetworks, origin: Tensor, direction: Tensor, samples: Samples
) -> tuple[Tensor, Tensor]:
    """Density [S] and colour [S, 3] of the samples."""
    ray = samples.ray_indices
    sigma, embedding = _density_reference(networks, origin[ray] + direction[ray] * samples.t_mid[:, None])
    code = spherical_harmonics_reference(direction, networks.sh_degree)[ray]
    return sigma, mlp_reference(torch.cat((embedding, code), 1), networks.color, "sigmoid")


def _density_reference(networks: NgpNetworks, x: Tensor) -> tuple[Tensor, Tensor]:
    embedding = mlp_reference(hash_grid_reference(x, networks.table, networks.levels), networks.density)
    return torch.exp(embedding[:, 0].clamp(max=networks.max_log_density)), embedding
