"""Camera paths for videos."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from nerfcore.cameras.poses import look_at


def orbit(center, radius: float, elevation: float, n: int, up=(0.0, 0.0, 1.0)) -> Tensor:
    """Poses [n, 3, 4] of one turn around ``center``, at equal steps, counter-clockwise seen from where ``up`` points.

    center, up [3]; radius: distance to the center, world units; elevation: radians above the plane normal to ``up``,
    between -pi / 2 and pi / 2 exclusive.
    """
    center = torch.as_tensor(center, dtype=torch.float32)
    up = normalize(torch.as_tensor(up, dtype=torch.float32, device=center.device), dim=0)
    flattest = one_hot(up.abs().argmin(), 3).to(up)
    first = normalize(flattest - (flattest @ up) * up, dim=0)
    second = torch.linalg.cross(up, first)
    angle = (torch.arange(n, dtype=up.dtype, device=up.device) * (2 * math.pi / n))[:, None]
    level = math.cos(elevation) * (angle.cos() * first + angle.sin() * second)
    return look_at(center + radius * (level + math.sin(elevation) * up), center, up)


def looked_at(poses: Tensor) -> Tensor:
    """The point [3], float64, nearest to the optical axes of poses [N, 3, 4] (least squares); if the axes are almost
    parallel, the one nearest to the world's origin."""
    centre, backward = poses[:, :, 3].double(), poses[:, :, 2].double()
    across = torch.eye(3, dtype=torch.float64, device=poses.device) - backward[:, :, None] * backward[:, None, :]
    moment = (across @ centre[:, :, None]).sum(0)
    return (torch.linalg.pinv(across.sum(0), rtol=1e-3, hermitian=True) @ moment).squeeze(-1)


def orbit_of(poses: Tensor, n: int) -> Tensor:
    """An orbit [n, 3, 4] that suits the cameras of a capture, poses [N, 3, 4].

    It turns about the point they look at, about their mean up direction, at their mean distance and elevation.
    """
    target, up = looked_at(poses), normalize(poses[:, :, 1].double().mean(0), dim=0)
    arm = poses[:, :, 3].double() - target
    distance = arm.norm(dim=-1)
    elevation = torch.asin(((arm @ up) / distance).clamp(-1, 1)).mean()
    return orbit(target, distance.mean().item(), elevation.item(), n, up)
