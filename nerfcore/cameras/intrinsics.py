"""Pinhole cameras with OpenCV's radial and tangential distortion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from nerfcore.errors import SceneError

MAX_NEWTON_STEPS = 20
NEWTON_TOLERANCE = 1e-8  # pixels


@dataclass(frozen=True)
class Camera:
    """Size and intrinsics in pixels; the centre of pixel (i, j) is (i + 0.5, j + 0.5), x right and y down.

    Distortion follows Brown and Conrady as OpenCV writes it, on x = X / depth and y = Y / depth, y down, r2 = x² + y²:
    ``x' = x (1 + k1 r2 + k2 r2² + k3 r2³ + k4 r2⁴) + 2 p1 x y + p2 (r2 + 2 x²)``, and for y' with p1 and p2 exchanged.
    """

    width: int
    height: int
    fl_x: float
    fl_y: float
    cx: float
    cy: float
    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0
    p1: float = 0.0
    p2: float = 0.0

    def project(self, points_camera: Tensor) -> tuple[Tensor, Tensor]:
        """Pixel positions [N, 2] of camera-space points [N, 3], and the mask [N] of points this camera can see at all.

        The mask is False for points behind the camera, and for those so far off the axis that the distortion polynomial
        has turned back; their pixel positions mean nothing. It does not test the borders of the image.
        """
        in_front = points_camera[:, 2] < 0
        depth = torch.where(in_front, -points_camera[:, 2], 1.0)
        plane = torch.stack([points_camera[:, 0] / depth, -points_camera[:, 1] / depth], dim=-1)
        visible = in_front & (plane.square().sum(-1) < self._turning_radius2)
        return self._distort(plane) * plane.new_tensor(self._focal) + plane.new_tensor(self._centre), visible

    def unproject(self, pixel_xy: Tensor) -> Tensor:
        """Camera-space directions [N, 3] with z = -1 (not unit) through pixel positions [N, 2].

        The distortion is inverted by Newton's method in float64, exact to 1e-6 pixels; the result has the type of
        ``pixel_xy`` and is differentiable once. Raises SceneError where the distortion has no inverse.
        """
        focal = torch.tensor(self._focal, dtype=torch.float64, device=pixel_xy.device)
        centre = torch.tensor(self._centre, dtype=torch.float64, device=pixel_xy.device)
        distorted = (pixel_xy.double() - centre) / focal
        if any(self._distortion):
            plane = self._undistort(distorted)
        else:
            plane = distorted
        x, y = plane.unbind(-1)
        return torch.stack([x, -y, -torch.ones_like(x)], dim=-1).to(pixel_xy.dtype)

    def pixel_centres(self, device=None) -> Tensor:
        """[H * W, 2] float32: the centres of all pixels, row-major."""
        x = torch.arange(self.width, device=device) + 0.5
        y = torch.arange(self.height, device=device) + 0.5
        return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)

    def downscaled(self, factor: int) -> Camera:
        """The camera of the image of ``factor`` x ``factor`` blocks of this one's pixels; a remainder is cropped."""
        return self._rescaled(self.width // factor, self.height // factor, 1 / factor, 1 / factor)

    def resized(self, width: int, height: int) -> Camera:
        """The camera of the same picture resampled to another size."""
        return self._rescaled(width, height, width / self.width, height / self.height)

    def _rescaled(self, width: int, height: int, scale_x: float, scale_y: float) -> Camera:
        return replace(
            self, width=width, height=height,
            fl_x=self.fl_x * scale_x, cx=self.cx * scale_x, fl_y=self.fl_y * scale_y, cy=self.cy * scale_y,
        )

    @property
    def _focal(self) -> tuple[float, float]:
        return self.fl_x, self.fl_y

    @property
    def _centre(self) -> tuple[float, float]:
        return self.cx, self.cy

    @property
    def _distortion(self) -> tuple[float, ...]:
        return self.k1, self.k2, self.k3, self.k4, self.p1, self.p2

    @cached_property
    def _turning_radius2(self) -> float:
        """The r2 where r -> r (1 + k1 r2 + ...) stops growing: the first positive root of its derivative, or inf."""
        roots = np.roots([1, 3 * self.k1, 5 * self.k2, 7 * self.k3, 9 * self.k4])  # 1 / r2: never divides by a tiny k
        inverse = max((root.real for root in roots if abs(root.imag) < 1e-9 * abs(root)), default=0.0)
        return 1 / inverse if inverse > 0 else np.inf

    def _distort(self, plane: Tensor) -> Tensor:
        """Distorted positions [N, 2] of undistorted ones on the plane at depth 1."""
        x, y = plane.unbind(-1)
        r2 = x * x + y * y
        radial = 1 + r2 * (self.k1 + r2 * (self.k2 + r2 * (self.k3 + r2 * self.k4)))
        return torch.stack([
            x * radial + 2 * self.p1 * x * y + self.p2 * (r2 + 2 * x * x),
            y * radial + 2 * self.p2 * x * y + self.p1 * (r2 + 2 * y * y),
        ], dim=-1)

    def _distort_jacobian(self, plane: Tensor) -> Tensor:
        """[N, 2, 2], symmetric: the derivative of `_distort`."""
        x, y = plane.unbind(-1)
        r2 = x * x + y * y
        radial = 1 + r2 * (self.k1 + r2 * (self.k2 + r2 * (self.k3 + r2 * self.k4)))
        slope = 2 * (self.k1 + r2 * (2 * self.k2 + r2 * (3 * self.k3 + r2 * 4 * self.k4)))  # d radial / dx = slope x
        cross = slope * x * y + 2 * self.p1 * x + 2 * self.p2 * y
        return torch.stack([
            radial + slope * x * x + 2 * self.p1 * y + 6 * self.p2 * x, cross,
            cross, radial + slope * y * y + 2 * self.p2 * x + 6 * self.p1 * y,
        ], dim=-1).unflatten(-1, (2, 2))

    def _undistort(self, distorted: Tensor) -> Tensor:
        """Undistorted positions [N, 2], float64.

        Only the last Newton step is differentiated: it carries the derivative of the inverse, by the implicit function
        theorem.
        """
        tolerance = NEWTON_TOLERANCE / max(self._focal)
        with torch.no_grad():
            plane = distorted.clone()
            for _ in range(MAX_NEWTON_STEPS):
                plane = self._newton_step(plane, distorted)
                converged = (self._distort(plane) - distorted).abs().amax(-1) < tolerance
                if converged.all():
                    break
            bad = ~(converged & (plane.square().sum(-1) < self._turning_radius2))
        if bad.any():
            raise SceneError(
                f"The lens distortion {self._distortion} (k1..k4, p1, p2) cannot be inverted at {int(bad.sum())} of "
                f"{len(bad)} pixels of a {self.width}x{self.height} image; calibrate again or undistort the photos"
            )
        return self._newton_step(plane, distorted)

    def _newton_step(self, plane: Tensor, distorted: Tensor) -> Tensor:
        (a, b), (_, d) = (row.unbind(-1) for row in self._distort_jacobian(plane).unbind(-2))
        x, y = (distorted - self._distort(plane)).unbind(-1)
        return plane + torch.stack([d * x - b * y, a * y - b * x], dim=-1) / (a * d - b * b)[:, None]
