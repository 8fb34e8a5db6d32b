"""A reconstructed world put right: z up, the scene at the origin, and a length of about 1 to what cameras look at.

What a reconstruction finds is open up to a similarity. Photographers hold cameras level more often than not, and walk
around what they want: that tells all of it but metres.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nerfcore.cameras.alignment import Similarity
from nerfcore.data.bounds import focus_of

ROUNDS = 20
LEVEL = 0.02  # sine of the roll below which a camera counts as level
TRUST_IN_MEAN = 1e-3  # weight of the pictures' mean up, which decides only where level cameras leave it open


def upright(poses: Tensor, up: Tensor, points: Tensor, viewing_distance: float) -> Similarity:
    """The similarity from a reconstructed world to one that is put right.

    poses [N, 3, 4], float64: cameras in the reconstructed world. up [N, 3]: what was up when each was taken, in its
    camera's axes: (0, 1, 0) for a picture that is not stored turned. points [P, 3]: the sparse points.
    viewing_distance: the usual one of a camera from a point that it sees; it becomes 1.

    z is up by consensus of the cameras. The origin is the point that they look at; where they look the same way or
    outward, it is the median of the points. The first camera looks along y.
    """
    z = up_direction(poses, up)
    forward = -poses[0, :, 2]
    level = forward - (forward @ z) * z
    if level.norm() < LEVEL:  # it looks straight down: up in its picture is along y
        first_up = poses[0, :, :3] @ up[0]
        level = first_up - (first_up @ z) * z
    y = normalize(level, dim=0)
    rotation = torch.stack([torch.linalg.cross(y, z), y, z])
    focus = focus_of(poses)
    origin = (points @ rotation.T).median(0).values if focus is None else rotation @ torch.from_numpy(focus)
    scale = 1 / viewing_distance
    return Similarity(scale, rotation, -scale * origin)


def up_direction(poses: Tensor, up: Tensor) -> Tensor:
    """The unit vector [3] that is up for cameras, in the world of their poses [N, 3, 4]; up [N, 3] as in
    :func:`upright`.

    The horizon of a camera that is held level, wherever it looks, is at right angles to up. Sought is the direction
    with the least sum of |cosines to horizons|, by iterated weights, so that cameras turned on their side do not count;
    of its two signs the one nearer to the mean of what is up in the pictures. That mean decides where all horizons are
    parallel; alone it is wrong where cameras on one side look down.
    """
    upward = normalize((poses[:, :, :3] @ up[:, :, None]).squeeze(-1), dim=-1)
    horizon = normalize(torch.linalg.cross(-poses[:, :, 2], upward), dim=-1)
    mean = normalize(upward.mean(0), dim=0)
    prior = TRUST_IN_MEAN * (torch.eye(3, dtype=mean.dtype) - torch.outer(mean, mean))
    found = mean
    for _ in range(ROUNDS):
        weight = 1 / (horizon @ found).abs().clamp(min=LEVEL)
        moment = (horizon * weight[:, None]).T @ horizon / weight.sum()
        found = torch.linalg.eigh(moment + prior).eigenvectors[:, 0]
        found = found * torch.where(found @ mean < 0, -1.0, 1.0)
    return found
