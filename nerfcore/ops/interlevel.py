"""How much of the weights along a ray a proposal leaves unexplained."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nerfcore.ops._dispatch import check, use_kernel
from nerfcore.ops._guard import guarded
from nerfcore.ops.distortion import check_samples, padded
from nerfcore.types import Samples


@guarded("loss")
def interlevel(
    weights: Tensor, samples: Samples, proposed_weights: Tensor, proposed: Samples, backend: str = "auto"
) -> Tensor:
    """What teaches a proposal where the weights of a ray lie (Barron et al. 2022, equations 12 and 13).

    The weight w_i of an interval can be at most its bound, the sum of the proposal's weights over all intervals that
    overlap it: ``sum_i max(0, w_i - bound_i)² / w_i``. A proposal may say more than there is, never less.

    weights [S] >= 0 of samples, which are what the proposal aims at: no gradient goes there. proposed_weights [P] >= 0
    of the samples ``proposed``, of the same rays. Intervals of a ray are in order and do not overlap one another; those
    that only touch do not overlap. Returns [R]. Samples that belong to no ray count for nothing. Time is linear in the
    number of samples.

    Differentiable in: proposed_weights (first order).

    >>> fine = Samples(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]), torch.tensor([0, 2]))
    >>> coarse = Samples(torch.tensor([0.0, 1.5]), torch.tensor([1.5, 2.0]), torch.tensor([0, 2]))
    >>> interlevel(torch.tensor([0.5, 0.25]), fine, torch.tensor([0.25, 0.0]), coarse).item()  # (1/4)² / (1/2)
    0.125
    """
    weights = check("weights", weights, "S", {}).detach()
    proposed_weights = check("proposed_weights", proposed_weights, "P", {}, like=weights)
    samples = check_samples("samples", samples, weights)
    proposed = check_samples("proposed", proposed, proposed_weights)
    if samples.num_rays != proposed.num_rays:
        raise ValueError(
            f"proposed must be of the same rays as samples: got {proposed.num_rays} rays and {samples.num_rays}"
        )
    if use_kernel(backend, weights):
        fine = weights, samples.t_start, samples.t_end, samples.ray_offsets
        return _Interlevel.apply(*fine, proposed_weights, proposed.t_start, proposed.t_end, proposed.ray_offsets)
    return interlevel_reference(weights, samples, proposed_weights, proposed)


class _Interlevel(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *inputs):
        ctx.save_for_backward(*inputs)
        return torch.ops.nerfcore.interlevel_forward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_out):
        grad = torch.ops.nerfcore.interlevel_backward(*ctx.saved_tensors, grad_out.contiguous())
        return None, None, None, None, grad, None, None, None


def interlevel_reference(weights: Tensor, samples: Samples, proposed_weights: Tensor, proposed: Samples) -> Tensor:
    """The same by all pairs of an interval and a proposal, [R, K, M]."""
    w, start, end = (padded(x, samples).unsqueeze(2) for x in (weights, samples.t_start, samples.t_end))
    p, p_start, p_end = (
        padded(x, proposed).unsqueeze(1) for x in (proposed_weights, proposed.t_start, proposed.t_end)
    )
    bound = torch.where((p_start < end) & (start < p_end), p, 0).sum(2)
    w = w.squeeze(2)
    excess = (w - bound).clamp(min=0)
    return (excess.square() / torch.where(excess > 0, w, 1)).sum(1)
