"""The training step of Instant-NGP in one operation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nerfcore.ops._dispatch import check, use_kernel
from nerfcore.ops.composite import STOP_BELOW, composite_reference
from nerfcore.ops.hash_grid import HashGridLevels, hash_grid_reference
from nerfcore.ops.mlp import mlp_reference
from nerfcore.ops.spherical_harmonics import spherical_harmonics_reference
from nerfcore.types import Samples, TouchedGradient


@dataclass(frozen=True)
class NgpNetworks:
    """What an Instant-NGP field consists of (Müller et al. 2022, section 5.4); see :func:`~nerfcore.ops.mlp.mlp`.

    levels and table [E, F]: the hash grid, in three dimensions. density: matrices from its features to an embedding
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


def ngp_loss(
    networks: NgpNetworks, origin: Tensor, direction: Tensor, samples: Samples, background: Tensor, truth: Tensor,
    grad_table: TouchedGradient, stop_below: float = STOP_BELOW, backend: str = "auto",
) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """Renders box rays over a background, compares them with the truth, and differentiates: forward and backward pass
    at once, without the large tensors between the operations of which it consists.

    ``loss = mean((rgb + (1 - opacity) background - truth)²)`` with rgb and opacity of
    :func:`~nerfcore.ops.composite.composite`. origin, direction (unit), background, truth: [R, 3].

    Returns loss (a scalar), the weights [S] of the samples, and the gradients of ``networks.density`` and
    ``networks.color``; the gradient of the table is added to ``grad_table``. Samples behind the end of their ray cost
    no colour and no gradient. Float32 on the CPU; the same bits for any number of threads. Itself not differentiable.
    """
    dims = {"E": networks.levels.num_entries, "F": networks.levels.features, "I": networks.levels.out_features}
    if networks.levels.dims != 3:
        raise ValueError(f"a radiance field has three dimensions, got a hash grid with {networks.levels.dims}")
    table = check("table", networks.table.detach(), "E F", dims)
    density = _matrices("density", networks.density, dims["I"], table)
    color = _matrices("color", networks.color, density[-1].shape[1] + networks.sh_degree**2, table)
    if len(color) < 2 or color[-1].shape[1] != 3 or not 1 <= networks.sh_degree <= 4:
        shapes = [list(w.shape) for w in color]
        raise ValueError(f"color needs a hidden layer and 3 outputs, sh_degree 1 to 4; got {shapes}, {networks.sh_degree}")
    rays = [
        check(name, t, "R 3", dims, like=table)
        for name, t in (("origin", origin), ("direction", direction), ("background", background), ("truth", truth))
    ]
    t_start = check("samples.t_start", samples.t_start, "S", dims, like=table)
    t_end = check("samples.t_end", samples.t_end, "S", dims, like=table)
    if len(samples.ray_offsets) != len(origin) + 1 or samples.ray_offsets.dtype != torch.int64:
        raise ValueError(f"samples must belong to {len(origin)} rays, got {samples.num_rays}")
    check("grad_table.values", grad_table.values, "E F", dims, like=table)
    check("grad_table.touched", grad_table.touched, "E", dims)
    samples = Samples(t_start, t_end, samples.ray_offsets.contiguous())
    networks = NgpNetworks(networks.levels, table, density, color, networks.sh_degree, networks.max_log_density)
    if not use_kernel(backend, table) or table.is_cuda or table.dtype != torch.float32:
        return ngp_loss_reference(networks, *rays[:2], samples, *rays[2:], grad_table, stop_below)
    levels = networks.levels
    loss, weights, *grads = torch.ops.nerfcore.ngp_loss(
        table, density, color, levels.scale, levels.resolution, levels.offset, networks.sh_degree,
        networks.max_log_density, *rays[:2], t_start, t_end, samples.ray_offsets, stop_below, *rays[2:],
        grad_table.values, grad_table.touched,
    )
    return loss.to(table.dtype), weights, grads[: len(density)], grads[len(density) :]


def _matrices(name: str, weights: Sequence[Tensor], width: int, like: Tensor) -> list[Tensor]:
    checked = []
    for layer, w in enumerate(weights):
        dims = {"I": width}
        checked.append(check(f"{name}[{layer}]", w.detach(), "I O", dims, like=like))
        width = dims["O"]
    return checked


@torch.enable_grad()
def ngp_loss_reference(
    networks: NgpNetworks, origin: Tensor, direction: Tensor, samples: Samples, background: Tensor, truth: Tensor,
    grad_table: TouchedGradient, stop_below: float = STOP_BELOW,
) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """The same from the references of the operations, by automatic differentiation."""
    table, *matrices = (t.detach().requires_grad_() for t in (networks.table, *networks.density, *networks.color))
    density, color = matrices[: len(networks.density)], matrices[len(networks.density) :]
    ray = samples.ray_indices
    x = origin[ray] + direction[ray] * samples.t_mid[:, None]
    embedding = mlp_reference(hash_grid_reference(x, table, networks.levels), density)
    sigma = torch.exp(embedding[:, 0].clamp(max=networks.max_log_density))
    code = spherical_harmonics_reference(direction, networks.sh_degree)[ray]
    rgb = mlp_reference(torch.cat((embedding, code), 1), color, "sigmoid")
    rgb, opacity, _, weights = composite_reference(sigma, rgb, samples, stop_below)
    loss = torch.nn.functional.mse_loss(rgb + (1 - opacity[:, None]) * background, truth)
    gradient, *grads = torch.autograd.grad(loss, [table, *matrices])
    grad_table.values.add_(gradient)
    grad_table.touched[(gradient != 0).any(1)] = 1
    return loss.detach(), weights.detach(), grads[: len(density)], grads[len(density) :]
