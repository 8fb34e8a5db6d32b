"""Two sets of cameras of one capture, brought together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerfcore.errors import SceneError

LINE = 1e-5  # width over length of a set of centres that leaves a turn about itself open


@dataclass(frozen=True)
class Similarity:
    """``x -> scale * rotation @ x + translation``; rotation [3, 3] and translation [3], float64."""

    scale: float
    rotation: Tensor
    translation: Tensor

    @classmethod
    def between(cls, source: Tensor, target: Tensor) -> Similarity:
        """The one that brings points [N, 3] nearest to others, by the sum of squared distances (Umeyama 1991,
        equations 38 to 43).

        Raises SceneError where the points, fewer than three or all on a line, leave its rotation open.
        """
        source, target = source.detach().double().cpu(), target.detach().double().cpu()
        source_mean, target_mean = source.mean(0), target.mean(0)
        from_mean, to_mean = source - source_mean, target - target_mean
        u, stretch, v = torch.linalg.svd(to_mean.T @ from_mean)
        if not stretch[1] > LINE * stretch[0]:
            raise SceneError(
                f"{len(source)} camera centres on a line do not tell how a capture is turned; give at least three "
                "that are not"
            )
        unmirrored = torch.ones(3, dtype=torch.float64)
        unmirrored[2] = torch.linalg.det(u @ v).sign()
        rotation = u * unmirrored @ v
        scale = float((stretch * unmirrored).sum() / from_mean.square().sum())
        return cls(scale, rotation, target_mean - scale * rotation @ source_mean)

    def points(self, points: Tensor) -> Tensor:
        """Points [..., 3] moved; they keep their type."""
        return (self.scale * points.double() @ self.rotation.T + self.translation).to(points)

    def poses(self, poses: Tensor) -> Tensor:
        """Camera-to-world poses [..., 3, 4] moved; they keep their type."""
        rotation = (self.rotation @ poses[..., :3].double()).to(poses)
        return torch.cat([rotation, self.points(poses[..., 3])[..., None]], dim=-1)
