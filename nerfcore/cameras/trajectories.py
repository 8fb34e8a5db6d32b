"""Camera paths for videos: orbits, spirals, and splines through keyframes."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from nerfcore.cameras.poses import look_at, rotation_angle

FACING = 0.9  # length of the mean viewing direction above which cameras look the same way, and cross nowhere
TURNS = 2  # of a spiral, while it goes once forth and back
WRAPPED = 8  # keyframes before and behind a loop: what lies farther along a spline hardly moves it
DENSE = 64  # positions between two keyframes at which the length of a path is measured


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


def face_one_way(poses: Tensor) -> bool:
    """Whether cameras, poses [N, 3, 4], all look about the same way."""
    return bool(poses[:, :, 2].mean(0).norm() > FACING)


def spiral(pose: Tensor, radii, focus: float, n: int) -> Tensor:
    """Poses [n, 3, 4] that wind about a pose [3, 4] and look at the point ``focus`` in front of it (Mildenhall et al.
    2019, Local Light Field Fusion).

    The centre is at ``radii * (cos a, -sin a, -sin(a / 2))`` along the pose's axes, radii [3] and focus in world units,
    while the angle a makes two turns, after which the path is closed.
    """
    radii = torch.as_tensor(radii, dtype=pose.dtype, device=pose.device)
    angle = torch.arange(n, dtype=pose.dtype, device=pose.device) * (TURNS * math.tau / n)
    local = radii * torch.stack([angle.cos(), -angle.sin(), -(angle / TURNS).sin()], dim=-1)
    target = pose[:, 3] - focus * pose[:, 2]
    return look_at(local @ pose[:, :3].T + pose[:, 3], target, pose[:, 1])


def spiral_of(poses: Tensor, focus: float, n: int) -> Tensor:
    """A spiral [n, 3, 4] that suits the cameras of a capture that look the same way, poses [N, 3, 4].

    It winds about their mean pose, as far out along each axis as nine tenths of them are. Raises ValueError for cameras
    that look different ways.
    """
    if not face_one_way(poses):
        raise ValueError("a spiral suits cameras that all look the same way, and these do not; take an orbit")
    middle = mean_pose(poses)
    radii = ((poses[:, :, 3] - middle[:, 3]) @ middle[:, :3]).abs().quantile(0.9, dim=0)
    return spiral(middle, radii, focus, n)


def mean_pose(poses: Tensor) -> Tensor:
    """The pose [3, 4] in the middle of poses [N, 3, 4]: mean centre, mean viewing direction, mean up direction."""
    _, up, backward, centre = poses.mean(0).unbind(-1)
    return look_at(centre, centre - backward, up)


class Spline:
    """The smooth path through keyframes, poses [N, 3, 4], N >= 2: positions on a cubic spline, rotations on the spline
    on SO(3) of scipy, each with a continuous second derivative; a ``loop`` leads back to the first.

    Keyframes lie apart, on the parameter, by the root of how far they are apart in space: of the usual choices, with
    this one a spline strays least from the straight lines between its keyframes (Floater 2008, On the deviation of a
    parametric cubic spline interpolant from its data polygon). A whole turn counts as much as the extent of the path.
    """

    def __init__(self, poses: Tensor, loop: bool = False):
        if len(poses) < 2:
            raise ValueError(f"a path needs at least 2 keyframes, got {len(poses)}")
        poses = poses.detach().double().cpu()
        closed = torch.cat([poses, poses[:1]]) if loop else poses
        extent = torch.cdist(poses[:, :, 3], poses[:, :, 3]).max().item()
        self.turn_length = (extent or 1.0) / math.tau
        gaps = self._lengths(closed).sqrt()
        gaps = gaps.clamp(min=1e-3 * (gaps.mean().item() or 1.0))  # of keyframes that are the same
        self.knots = np.append(0.0, gaps.cumsum(0))  # [N], [N + 1] for a loop: the last is the first again
        rounds = -(-WRAPPED // len(poses)) if loop else 0
        around = np.concatenate([self.knots[:-1] + k * self.knots[-1] for k in range(-rounds, rounds + 1)])
        times = np.append(around, (rounds + 1) * self.knots[-1])
        repeated = torch.cat([closed[:-1]] * (2 * rounds + 1) + [closed[-1:]])
        end = "periodic" if loop else "natural"
        self._position = CubicSpline(self.knots, closed[:, :, 3].numpy(), bc_type=end)
        self._rotation = RotationSpline(times, Rotation.from_matrix(repeated[:, :, :3].numpy()))
        self.loop = loop

    def __call__(self, at: np.ndarray) -> Tensor:
        """Poses [n, 3, 4], float64, at parameters [n] between the first of ``knots`` and the last."""
        rotation = torch.from_numpy(self._rotation(at).as_matrix())
        return torch.cat([rotation, torch.from_numpy(self._position(at))[:, :, None]], dim=2)

    def parameters(self, n: int, constant_speed: bool = False) -> np.ndarray:
        """[n] parameters at equal steps, from end to end; of a loop without the last, which is the first again.

        constant_speed: equal steps along the path instead, where a camera that turns faster than it moves counts as
        moving.
        """
        share = np.linspace(0, 1, n, endpoint=not self.loop)
        if not constant_speed:
            return share * self.knots[-1]
        dense = np.linspace(self.knots[:-1], self.knots[1:], DENSE, endpoint=False, axis=1).ravel()
        dense = np.append(dense, self.knots[-1])
        length = np.append(0.0, self._lengths(self(dense)).cumsum(0))
        return np.interp(share * length[-1], length, dense)

    def _lengths(self, poses: Tensor) -> Tensor:
        """[N - 1] from each of poses [N, 3, 4] to the next."""
        moved = (poses[1:, :, 3] - poses[:-1, :, 3]).norm(dim=-1)
        return torch.maximum(moved, self.turn_length * rotation_angle(poses[1:, :, :3], poses[:-1, :, :3]))
