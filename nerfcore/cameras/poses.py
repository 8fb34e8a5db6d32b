"""Camera poses, and the one place that states their axes.

A pose [3, 4] maps camera to world: ``x_world = pose[:, :3] @ x_camera + pose[:, 3]``. Camera axes are those of OpenGL
and Blender: +x right, +y up, the camera looks along -z. Readers convert to this; nothing else does.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerfcore.errors import SceneError

ROTATION_TOLERANCE = 1e-2


def look_at(eye, target, up=(0.0, 0.0, 1.0)) -> Tensor:
    """The pose [..., 3, 4] of a camera at ``eye`` that looks at ``target``, with ``up`` pointing up in the picture.

    eye, target, up [..., 3] (tensors or sequences, broadcast), world units. Raises ValueError where the view direction
    is zero or parallel to ``up``.

    >>> look_at((0.0, -3.0, 0.0), (0.0, 0.0, 0.0))[:, 1].tolist()  # the picture's up is the world's z
    [0.0, 0.0, 1.0]
    """
    eye = torch.as_tensor(eye, dtype=torch.float32)
    target = torch.as_tensor(target, dtype=eye.dtype, device=eye.device)
    up = torch.as_tensor(up, dtype=eye.dtype, device=eye.device)
    backward = eye - target
    right = torch.linalg.cross(*torch.broadcast_tensors(up, backward), dim=-1)
    limit = 1e-6 * up.norm(dim=-1) * backward.norm(dim=-1)
    if not (right.norm(dim=-1) > limit).all():
        raise ValueError("look_at needs a view direction neither zero nor parallel to up; move eye or change up")
    backward = torch.nn.functional.normalize(backward, dim=-1)
    right = torch.nn.functional.normalize(right, dim=-1)
    true_up = torch.linalg.cross(backward, right, dim=-1)
    return torch.stack([right, true_up, backward, eye.expand_as(right)], dim=-1)


def rotation_exp(vector: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] about axes, by angles in radians that are their lengths: vector [..., 3].

    Rodrigues' formula ``I + (sin θ / θ) K + ((1 - cos θ) / θ²) K²``, K the matrix of the cross product with the vector.
    Differentiable, at 0 too.
    """
    angle = torch.linalg.vector_norm(vector, dim=-1)[..., None, None]
    identity = torch.eye(3, dtype=vector.dtype, device=vector.device)
    k = torch.linalg.cross(vector[..., None, :], identity.expand(*vector.shape, 3), dim=-1).mT
    # sinc(x) is sin πx / πx; both quotients are even in the angle, so that the norm's kink at 0 does no harm
    return identity + torch.sinc(angle / math.pi) * k + 0.5 * torch.sinc(angle / math.tau).square() * (k @ k)


def rotation_angle(first: Tensor, second: Tensor) -> Tensor:
    """Angles [...], radians in [0, π], of the rotations between matrices [..., 3, 3]; exact for small ones too."""
    return 2 * torch.asin(((first - second).square().sum((-2, -1)) / 8).sqrt().clamp(max=1))


def check_pose(pose, where: str) -> Tensor:
    """The pose [3, 4], float64, of a [3, 4] or [4, 4] matrix (nested lists or tensor) that came from ``where``.

    Its rotation is the nearest one (in the least-squares sense) to what stands there: a uniform scale, which some
    exporters leave, and rounding are gone; the translation stays. Raises SceneError, starting with ``where``, if the
    matrix has another shape, is not finite (in float32), or is far from a rotation.
    """
    try:
        matrix = torch.as_tensor(pose, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        matrix = torch.empty(0)
    if matrix.shape not in ((3, 4), (4, 4)):
        raise SceneError(f"{where}: the pose is not a 4x4 matrix of numbers; write a camera-to-world matrix there")
    if not matrix.float().isfinite().all():
        raise SceneError(f"{where}: the pose holds NaN or infinity; repair the pose or remove this frame")
    rotation, translation = matrix[:3, :3], matrix[:3, 3:]
    lengths = rotation.norm(dim=0)
    if lengths.min() > (1 - ROTATION_TOLERANCE) * lengths.max():
        rotation = rotation / lengths
    error = (rotation.T @ rotation - torch.eye(3, dtype=torch.float64)).abs().max()
    if not error <= ROTATION_TOLERANCE:
        raise SceneError(f"{where}: the pose's 3x3 part is not a rotation (its axes are not orthonormal); repair it")
    if torch.linalg.det(rotation) < 0:
        raise SceneError(f"{where}: the pose mirrors space (determinant -1); negate one axis of its 3x3 part")
    left, _, right = torch.linalg.svd(rotation)
    return torch.cat([left @ right, translation], dim=1)


def to_opencv_axes(pose: Tensor) -> Tensor:
    """A pose [..., 3, 4] with the camera axes of OpenCV and COLMAP, y down and looking along +z, from ours; and back:
    it is its own inverse."""
    return pose * pose.new_tensor([1.0, -1.0, -1.0, 1.0])
