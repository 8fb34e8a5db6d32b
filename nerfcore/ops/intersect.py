"""Ray–box intersection."""

from __future__ import annotations

import torch
from torch import Tensor

from nerfcore.ops._dispatch import check, use_kernel


def intersect_box(
    origin: Tensor,
    direction: Tensor,
    box_min: Tensor,
    box_max: Tensor,
    near: float = 0.0,
    far: float = float("inf"),
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Where each ray enters and leaves an axis-aligned box, by the slab method (Kay and Kajiya 1986).

    origin, direction [R, 3]; box_min, box_max [3]. Returns (t_in, t_out), each [R], clipped to ``[near, far]``;
    a ray that misses, or holds a NaN, has ``t_out == t_in == near``. Not differentiable.

    >>> o, d = torch.tensor([[-1.0, 0.5, 0.5]]), torch.tensor([[1.0, 0.0, 0.0]])
    >>> [t.item() for t in intersect_box(o, d, torch.zeros(3), torch.ones(3))]
    [1.0, 2.0]
    """
    dims: dict[str, int] = {}
    origin = check("origin", origin, "R 3", dims)
    direction = check("direction", direction, "R 3", dims, like=origin)
    box_min = check("box_min", box_min, "3", dims, like=origin)
    box_max = check("box_max", box_max, "3", dims, like=origin)
    if use_kernel(backend, origin):
        return torch.ops.nerfcore.intersect_forward(
            origin.detach(), direction.detach(), box_min.detach(), box_max.detach(), near, far
        )
    return intersect_box_reference(origin, direction, box_min, box_max, near, far)


@torch.no_grad()
def intersect_box_reference(
    origin: Tensor, direction: Tensor, box_min: Tensor, box_max: Tensor, near: float = 0.0, far: float = float("inf")
) -> tuple[Tensor, Tensor]:
    a, b = (box_min - origin) / direction, (box_max - origin) / direction
    parallel = direction == 0
    inside = (origin >= box_min) & (origin <= box_max)
    enter = torch.minimum(a, b).masked_fill(parallel, -float("inf")).amax(-1).clamp(min=near)
    leave = torch.maximum(a, b).masked_fill(parallel, float("inf")).amin(-1).clamp(max=far)
    hit = (inside | ~parallel).all(-1) & (enter < leave)
    return torch.where(hit, enter, near), torch.where(hit, leave, near)
