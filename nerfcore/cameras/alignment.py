"""Two sets of cameras of one capture, brought together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nerfcore.cameras.poses import rotation_exp
from nerfcore.errors import SceneError

LINE = 1e-5  # width over length of a set of centres that leaves a turn about itself open
VIEW_ITERATIONS = 10


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

    @classmethod
    def between_views(cls, source: Tensor, target: Tensor, points: Tensor) -> Similarity:
        """The one, not far from the identity, after which source poses [N, 3, 4] see points [N, 3], of the target's
        world, in the directions in which target poses [N, 3, 4] see them: point n for camera n.

        Photographs tell what a camera looks at much better than where on a circle about it the camera is, so that of
        refined cameras the centres of all together may be off while all see the same. Gauss-Newton on the difference of
        unit directions, with Cauchy's weights: what is far off compared with the median has little say. What the points
        leave open stays as it is.
        """
        source, target, points = (given.detach().double().cpu() for given in (source, target, points))
        if not len(points):
            return IDENTITY
        pivot, wanted, found = points.mean(0), _directions(target, points), IDENTITY

        def residual(step: Tensor) -> Tensor:
            return _directions(found.then(_small(step, pivot)).poses(source), points) - wanted

        for _ in range(VIEW_ITERATIONS):
            error, slope = residual(NO_STEP), torch.func.jacfwd(residual)(NO_STEP)
            size = error.norm(dim=-1)
            weight = 1 / (1 + (size / (2 * size.median()).clamp(min=1e-12)).square()).sqrt()[:, None]
            slope, error = (weight[..., None] * slope).flatten(0, 1), (weight * error).flatten()
            step = torch.linalg.lstsq(slope, -error, driver="gelsd").solution
            found = found.then(_small(step, pivot))
        return cls(float(found.scale), found.rotation, found.translation)

    def then(self, other: Similarity) -> Similarity:
        """This one followed by another."""
        translation = other.scale * other.rotation @ self.translation + other.translation
        return Similarity(self.scale * other.scale, other.rotation @ self.rotation, translation)

    def points(self, points: Tensor) -> Tensor:
        """Points [..., 3] moved; they keep their type."""
        return (self.scale * points.double() @ self.rotation.T + self.translation).to(points)

    def poses(self, poses: Tensor) -> Tensor:
        """Camera-to-world poses [..., 3, 4] moved; they keep their type."""
        rotation = (self.rotation @ poses[..., :3].double()).to(poses)
        return torch.cat([rotation, self.points(poses[..., 3])[..., None]], dim=-1)


IDENTITY = Similarity(1.0, torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
NO_STEP = torch.zeros(7, dtype=torch.float64)


def _small(step: Tensor, pivot: Tensor) -> Similarity:
    """Turn (3 numbers) and growth (1) about a pivot, and shift (3)."""
    turn, growth = rotation_exp(step[:3]), step[3].exp()
    return Similarity(growth, turn, pivot + step[4:] - growth * turn @ pivot)


def _directions(poses: Tensor, points: Tensor) -> Tensor:
    """Unit vectors [N, 3], in camera axes, from cameras [N, 3, 4] to points [N, 3]."""
    return normalize(((points - poses[:, :, 3])[:, None] @ poses[:, :, :3]).squeeze(1), dim=-1)
