"""How far apart the weights of a ray lie."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nerfcore.ops._dispatch import check, use_kernel
from nerfcore.ops._guard import guarded
from nerfcore.types import Samples


@guarded("distortion")
def distortion(weights: Tensor, samples: Samples, backend: str = "auto") -> Tensor:
    """The distortion of each ray (Barron et al. 2022, equation 15): small where its weight lies in one short interval.

    ``sum_ij w_i w_j |m_i - m_j| + 1/3 sum_i w_i² (end_i - start_i)`` with m_i the middles of the intervals: the
    integral of the distance between two points of a ray, each drawn by its weight.

    weights [S]. samples: of each ray in order, in whatever variable the distances are to be measured; the paper's is
    the one in which samples are first spread evenly, from 0 to 1. Returns [R]; a ray without samples has 0. Samples
    that belong to no ray count for nothing. Time is linear in the number of samples.

    Differentiable in: weights (first order).

    >>> two = Samples(torch.tensor([0.0, 6.0]), torch.tensor([3.0, 9.0]), torch.tensor([0, 2]))
    >>> distortion(torch.tensor([0.5, 0.5]), two).item()  # 2 · 1/4 · |1.5 - 7.5| + 1/3 · (3/4 + 3/4)
    3.5
    """
    dims: dict[str, int] = {}
    weights = check("weights", weights, "S", dims)
    samples = check_samples("samples", samples, weights)
    if use_kernel(backend, weights):
        return _Distortion.apply(weights, samples.t_start, samples.t_end, samples.ray_offsets)
    return distortion_reference(weights, samples)


def check_samples(name: str, samples: Samples, weights: Tensor) -> Samples:
    """Samples contiguous, as many as there are weights [S] and of their type; ValueError in words."""
    dims = {"S": len(weights)}
    t_start = check(f"{name}.t_start", samples.t_start, "S", dims, like=weights)
    t_end = check(f"{name}.t_end", samples.t_end, "S", dims, like=weights)
    offsets = samples.ray_offsets.contiguous()
    if offsets.dtype != torch.int64 or offsets.device != weights.device:
        raise ValueError(
            f"{name}.ray_offsets must be int64 on {weights.device}, got {offsets.dtype} on {offsets.device}"
        )
    return Samples(t_start.detach(), t_end.detach(), offsets)


class _Distortion(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weights, t_start, t_end, offsets):
        ctx.save_for_backward(weights, t_start, t_end, offsets)
        return torch.ops.nerfcore.distortion_forward(weights, t_start, t_end, offsets)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_out):
        grad = torch.ops.nerfcore.distortion_backward(*ctx.saved_tensors, grad_out.contiguous())
        return grad, None, None, None


def distortion_reference(weights: Tensor, samples: Samples) -> Tensor:
    """The same by all pairs, [R, K, K]."""
    w, start, end = (padded(x, samples) for x in (weights, samples.t_start, samples.t_end))
    middle = 0.5 * (start + end)
    apart = (middle[:, :, None] - middle[:, None, :]).abs()
    return torch.einsum("ri,rj,rij->r", w, w, apart) + (w.square() * (end - start)).sum(1) / 3


def padded(values: Tensor, samples: Samples) -> Tensor:
    """Values [S] of the samples as [R, K], zero behind the last of a ray; K is the number of the longest one's."""
    offsets = samples.ray_offsets
    owned = int(offsets[-1])
    ray = samples.ray_indices[:owned]
    column = torch.arange(owned, device=values.device) - offsets[ray]
    rows = values.new_zeros(samples.num_rays, int(offsets.diff().max()) if samples.num_rays else 0)
    return rows.index_put((ray, column), values[:owned])
