"""The neural tangent kernel of coordinate networks: Jacot et al. 2018; Tancik et al. 2020, sections 3 to 5.

A wide network that is trained by gradient descent fits as kernel regression does, with the kernel
``Θ(x, y) = ∂f(x)/∂θ · ∂f(y)/∂θ``: what belongs to a large eigenvalue is learned early, what belongs to a small one
hardly ever. Encoding coordinates before the network chooses the spectrum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import grad, vmap

from nerfcore.blocks.encoding import fourier_encoding

RIDGE = 1e-6  # of the mean of the kernel's diagonal: keeps the solution of kernel regression finite


def empirical_ntk(
    network: Callable[[Sequence[Tensor], Tensor], Tensor],
    parameters: Sequence[Tensor],
    x: Tensor,
    y: Tensor | None = None,
    chunk: int = 64,
) -> Tensor:
    """The kernel of one network as it is, at whatever parameters: Jacot et al. 2018, section 4.

    network(parameters, x [N, P]) -> [N], of torch operations. x [N, P]; y [M, P], or None for x. chunk: how many
    gradients of all parameters are held at a time, twice. Returns [N, M]. It can be mapped over parameters by
    :func:`torch.func.vmap`.
    """
    columns = x if y is None else y
    gradients = vmap(grad(lambda p, row: network(p, row[None]).squeeze(0)), (None, 0))

    def jacobian(rows: Tensor) -> Tensor:
        return torch.cat([g.flatten(1) for g in gradients(tuple(parameters), rows)], 1)

    blocks: list[list[Tensor]] = []
    for i, rows in enumerate(x.split(chunk)):
        first = jacobian(rows)
        mirrored = [] if y is not None else [blocks[j][i].T for j in range(i)]
        blocks.append(mirrored)
        for j, others in enumerate(columns.split(chunk)):
            if j >= len(mirrored):
                blocks[-1].append(first @ (first if y is None and j == i else jacobian(others)).T)
    return torch.cat([torch.cat(row, 1) for row in blocks])


def relu_ntk(x: Tensor, y: Tensor, hidden_layers: int) -> Tensor:
    """The kernel of :func:`relu_network` as its layers get infinitely wide: Jacot et al. 2018, theorem 1, with the
    arc-cosine kernels of Cho and Saul 2009 for the expectations.

    x [N, P], y [M, P] -> [N, M]. It is a function of x·x, y·y and x·y alone. Differentiable in: x, y where they are not
    parallel.
    """
    length = x.norm(dim=1)[:, None] * y.norm(dim=1)
    gram = kernel = x @ y.T
    for _ in range(hidden_layers):
        cosine = (gram / length).clamp(-1, 1)
        angle = torch.arccos(cosine)
        gram = length * (torch.sqrt(1 - cosine * cosine) + (math.pi - angle) * cosine) / math.pi
        kernel = gram + kernel * (math.pi - angle) / math.pi
    return kernel


def relu_network(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """A network without biases in the parametrisation of Jacot et al. 2018, where parameters are drawn from N(0, 1) and
    layers divide by the root of half their width. weights: matrices [P, m], [m, m], …, [m, 1]; x [N, P] -> [N]."""
    for w in weights[:-1]:
        x = torch.relu(x @ w) * (2 / w.shape[1]) ** 0.5
    return (x @ weights[-1]).squeeze(-1)


def draw_relu_network(inputs: int, width: int, hidden_layers: int, generator: torch.Generator) -> list[Tensor]:
    """Weights for :func:`relu_network`."""
    widths = [inputs, *[width] * hidden_layers, 1]
    return [torch.randn(i, o, generator=generator) for i, o in zip(widths[:-1], widths[1:], strict=True)]


def spectrum(kernel: Tensor) -> Tensor:
    """The eigenvalues [N] of a symmetric kernel [N, N], largest first."""
    return torch.linalg.eigvalsh((kernel + kernel.T) / 2).flip(0)


def torus_points(*shape: int) -> Tensor:
    """[N, D] float64 in [0, 1): the points of a grid on a torus, the last axis fastest."""
    return torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) / n for n in shape)).view(-1, len(shape))


def shift_profile(kernel: Tensor, shape: Sequence[int]) -> tuple[Tensor, float]:
    """How far a kernel [N, N] on :func:`torus_points` of this shape depends on the offset of two points alone.

    Returns its mean over all shifts [*shape], a function of the offset, and the largest distance of a number of the
    kernel from it, relative to its largest number: 0 for a kernel that is invariant.
    """
    rows = kernel.view(-1, *shape)
    starts = torch.cartesian_prod(*map(torch.arange, shape)).view(-1, len(shape)).tolist()
    axes = tuple(range(len(shape)))
    by_offset = torch.stack([row.roll([-s for s in start], axes) for row, start in zip(rows, starts, strict=True)])
    profile = by_offset.mean(0)
    return profile, ((by_offset - profile).abs().max() / profile.abs().max()).item()


def kernel_regression(kernel: Tensor, values: Tensor, cross: Tensor, ridge: float = RIDGE) -> Tensor:
    """What a network that was trained for ever predicts: Tancik et al. 2020, equation 2, for t to infinity.

    kernel [N, N] among training points, values [N, C] there, cross [M, N] between other points and them -> [M, C].
    """
    jitter = ridge * kernel.diagonal().mean() * torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device)
    return cross @ torch.linalg.solve(kernel + jitter, values)


def bandwidth_scan(
    bandwidths: Sequence[float],
    frequencies: Tensor,
    x: Tensor,
    values: Tensor,
    held_out: Tensor,
    truth: Tensor,
    hidden_layers: int = 3,
) -> Tensor:
    """The mean squared error on held-out points of infinitely wide networks on Gaussian features of each bandwidth, by
    kernel regression: which bandwidth a signal wants, before any network is trained.

    frequencies [D, M]: drawn with bandwidth 1, and multiplied. x [N, D], values [N, C]; held_out [K, D], truth [K, C].
    Returns [len(bandwidths)]. It takes memory for a kernel [N, N] and time for its solution.
    """
    errors = []
    for bandwidth in bandwidths:
        seen, unseen = (fourier_encoding(p, bandwidth * frequencies) for p in (x, held_out))
        kernel, cross = (relu_ntk(rows, seen, hidden_layers) for rows in (seen, unseen))
        errors.append((kernel_regression(kernel, values, cross) - truth).square().mean())
    return torch.stack(errors)
