"""Samples drawn along rays in proportion to weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerfcore.ops._dispatch import check, use_kernel


def sample_pdf(
    borders: Tensor, weights: Tensor, num_samples: int, jitter: Tensor | None = None, floor: float = 0.0,
    backend: str = "auto",
) -> Tensor:
    """Inverse-transform sampling of a piecewise-constant density along rays (Mildenhall et al. 2020, section 5.2).

    borders [R, B + 1], increasing and finite, cut a ray into B bins; weights [R, B] >= 0 say how much of the density
    each bin holds and need not sum to 1. ``floor`` is added to every weight, so that no bin is left out: 1e-5 in the
    paper's code. A ray whose weights are all zero is sampled uniformly between its first border and its last.

    Returns positions [R, N], ascending along a ray, N = num_samples: sample k is where the fraction ``(k + jitter) /
    N`` of the weight lies in front of it. jitter in [0, 1) is [R, N] (stratified sampling), [R] (the samples of a ray
    shift together) or None for 0.5. Bins of weight zero hold no samples. A ray with a weight that is negative or not
    a number, or whose weights sum to infinity, has positions that are not numbers.

    Not differentiable: positions carry no gradient, to the weights or to the borders, as in Mildenhall et al. 2020 and
    in the proposal sampling of Barron et al. 2022.

    >>> borders, weights = torch.tensor([[0.0, 1.0, 3.0]]), torch.tensor([[1.0, 1.0]])
    >>> sample_pdf(borders, weights, num_samples=2).tolist()
    [[0.5, 2.0]]
    """
    dims: dict[str, int] = {}
    weights = check("weights", weights, "R B", dims).detach()
    if dims["B"] < 1 or num_samples < 1 or not 0 <= floor < math.inf:
        raise ValueError(
            f"sampling needs at least one bin, num_samples >= 1 and a finite floor >= 0, got {dims['B']} bins, "
            f"num_samples={num_samples}, floor={floor}"
        )
    borders = check("borders", borders, f"R {dims['B'] + 1}", dims, like=weights).detach()
    if jitter is not None:
        shape = "R" if isinstance(jitter, Tensor) and jitter.ndim == 1 else f"R {num_samples}"
        jitter = check("jitter", jitter, shape, dims, like=weights).detach()
    if use_kernel(backend, weights):
        return torch.ops.nerfcore.pdf_forward(borders, weights, jitter, num_samples, floor)
    return sample_pdf_reference(borders, weights, num_samples, jitter, floor)


@torch.no_grad()
def sample_pdf_reference(
    borders: Tensor, weights: Tensor, num_samples: int, jitter: Tensor | None = None, floor: float = 0.0
) -> Tensor:
    """The same by a search for every sample, in units of samples: a bin's share of them is N times its weight."""
    rays, bins = weights.shape
    proper = (weights >= 0).all(1)
    weights = weights + floor
    weights = torch.where((weights == 0).all(1, keepdim=True), borders.diff(dim=1), weights)
    total = weights.sum(1, keepdim=True)
    share = num_samples * (weights / total)
    edge = torch.nn.functional.pad(share.cumsum(1), (1, 0))
    jitter = torch.full_like(total, 0.5) if jitter is None else jitter.view(rays, -1)
    at = torch.arange(num_samples, device=weights.device) + jitter
    bin = torch.searchsorted(edge[:, 1:].contiguous(), at, right=True)
    last = ((share > 0) * torch.arange(bins, device=weights.device)).amax(1, keepdim=True)
    bin = torch.minimum(bin, last)  # what rounding leaves over lies at the end
    lower, upper = borders.gather(1, bin), borders.gather(1, bin + 1)
    part = ((at - edge.gather(1, bin)) / share.gather(1, bin)).clamp(0, 1)
    positions = torch.minimum(lower + part * (upper - lower), upper)
    positions = torch.where(total == 0, borders[:, :1], positions)
    return torch.where(proper[:, None] & total.isfinite(), positions, math.nan)
