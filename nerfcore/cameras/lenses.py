"""Lenses: how what lies before a camera falls on its picture plane, and back.

The plane has x right and y down; a camera's focal length and centre turn it into pixels. Near the axis the plane of a
central lens measures radians, that of an orthographic one world units. Coefficients are numbers, or 0-dim tensors
where gradients to them are wanted.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nerfcore.errors import SceneError

MAX_NEWTON_STEPS = 64
NEWTON_TOLERANCE = 1e-12  # of the picture plane: some 1e-9 pixels


class Lens(ABC):
    """What a camera projects with. is_central: all rays meet in the camera's centre. is_wide: it may see what lies
    behind the plane through that centre."""

    name: ClassVar[str]
    is_central: ClassVar[bool] = True
    is_wide: ClassVar[bool] = False

    @property
    def coefficients(self) -> dict[str, float]:
        """All of them, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @abstractmethod
    def flatten(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Plane positions [N, 2] of camera-space points [N, 3], and the mask [N] of points that the lens sees at all.

        Positions of the others are finite and mean nothing.
        """

    @abstractmethod
    def lift(self, plane: Tensor) -> tuple[Tensor, Tensor]:
        """Camera-space origins and unit directions [N, 3] of the rays through plane positions [N, 2], float64.

        Differentiable once. Raises SceneError where there is no such ray.
        """

    def covers(self, plane: Tensor) -> Tensor:
        """bool [N]: plane positions [N, 2] within the lens's image circle, if it has one."""
        return torch.ones_like(plane[:, 0], dtype=torch.bool)


@dataclass(frozen=True)
class Perspective(Lens):
    """A pinhole with radial and tangential distortion (Brown and Conrady) as OpenCV writes it.

    On x = X / depth and y = Y / depth, y down, with r2 = x² + y²:
    ``x' = x radial + 2 p1 x y + p2 (r2 + 2 x²)``, ``y' = y radial + 2 p2 x y + p1 (r2 + 2 y²)``,
    ``radial = (1 + k1 r2 + k2 r2² + k3 r2³ + k4 r2⁴) / (1 + d1 r2 + d2 r2² + d3 r2³)``.
    OpenCV's rational model calls d1, d2, d3 by the names k4, k5, k6 and has no term in r2⁴.
    """

    name: ClassVar[str] = "perspective"

    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    d1: float = 0.0
    d2: float = 0.0
    d3: float = 0.0

    def flatten(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Lens.flatten`. Not seen: points behind, and those so far off the axis that the distortion has
        turned back."""
        in_front = points[:, 2] < 0
        depth = torch.where(in_front, -points[:, 2], 1.0)
        plane = torch.stack([points[:, 0] / depth, -points[:, 1] / depth], dim=-1)
        return self._distort(plane), in_front & (plane.square().sum(-1) < self._fold**2)

    def lift(self, plane: Tensor) -> tuple[Tensor, Tensor]:
        x, y = self._undistort(plane).unbind(-1)
        direction = normalize(torch.stack([x, -y, -torch.ones_like(x)], dim=-1), dim=-1)
        return torch.zeros_like(direction), direction

    @cached_property
    def _is_distorted(self) -> bool:
        return any(isinstance(value, Tensor) or value for value in self.coefficients.values())

    @cached_property
    def _numerator(self) -> tuple:
        return 1.0, self.k1, self.k2, self.k3, self.k4

    @cached_property
    def _denominator(self) -> tuple:
        return 1.0, self.d1, self.d2, self.d3

    @cached_property
    def _fold(self) -> float:
        """The radius up to which r radial grows."""
        return math.sqrt(first_fold(self._numerator, self._denominator))

    def _radial(self, r2: Tensor) -> tuple[Tensor, Tensor]:
        """The factor at r2, and its derivative."""
        over, under = polynomial(self._numerator, r2), polynomial(self._denominator, r2)
        radial = over / under
        return radial, (slope(self._numerator, r2) - radial * slope(self._denominator, r2)) / under

    def _distort(self, plane: Tensor) -> Tensor:
        """Distorted positions [N, 2] of undistorted ones."""
        if not self._is_distorted:
            return plane
        x, y = plane.unbind(-1)
        r2 = x * x + y * y
        radial, _ = self._radial(r2)
        return torch.stack([
            x * radial + 2 * self.p1 * x * y + self.p2 * (r2 + 2 * x * x),
            y * radial + 2 * self.p2 * x * y + self.p1 * (r2 + 2 * y * y),
        ], dim=-1)

    def _undistort(self, distorted: Tensor) -> Tensor:
        """Undistorted positions [N, 2]: the radial part alone is a curve that rises, whose inverse starts Newton's
        method for the whole.

        Only the last Newton step is differentiated: it carries the derivative of the inverse, by the implicit function
        theorem.
        """
        if not self._is_distorted:
            return distorted
        with torch.no_grad():
            radius = distorted.norm(dim=-1)
            undistorted_radius = inverse_of_rising(self._curve, radius, self._fold)
            plane = distorted * (undistorted_radius / radius.clamp(min=1e-300))[:, None]
            for _ in range(MAX_NEWTON_STEPS):
                converged = (self._distort(plane) - distorted).abs().amax(-1) <= NEWTON_TOLERANCE * (1 + radius)
                if converged.all():
                    break
                plane = torch.where(converged[:, None], plane, self._newton_step(plane, distorted))
            bad = ~(converged & (plane.square().sum(-1) < self._fold**2))
        refuse(self, bad)
        return self._newton_step(plane, distorted)

    def _curve(self, radius: Tensor) -> tuple[Tensor, Tensor]:
        """The distorted radius without tangential terms, and its derivative."""
        r2 = radius * radius
        radial, radial_slope = self._radial(r2)
        return radius * radial, radial + 2 * r2 * radial_slope

    def _newton_step(self, plane: Tensor, distorted: Tensor) -> Tensor:
        x, y = plane.unbind(-1)
        r2 = x * x + y * y
        radial, radial_slope = self._radial(r2)
        # the Jacobian of `_distort`, which is symmetric: [[a, b], [b, d]]
        a = radial + 2 * radial_slope * x * x + 2 * self.p1 * y + 6 * self.p2 * x
        b = 2 * radial_slope * x * y + 2 * self.p1 * x + 2 * self.p2 * y
        d = radial + 2 * radial_slope * y * y + 2 * self.p2 * x + 6 * self.p1 * y
        x, y = (distorted - self._distort(plane)).unbind(-1)
        return plane + torch.stack([d * x - b * y, a * y - b * x], dim=-1) / (a * d - b * b)[:, None]


@dataclass(frozen=True)
class Fisheye(Lens):
    """A fisheye lens as OpenCV writes it (Kannala and Brandt 2006).

    A point at the angle θ off the axis falls at the distance ``θ' = θ (1 + k1 θ² + k2 θ⁴ + k3 θ⁶ + k4 θ⁸)`` from the
    middle of the plane, in its own direction. Angles beyond 90° are seen as long as θ' grows.
    """

    name: ClassVar[str] = "fisheye"
    is_wide: ClassVar[bool] = True

    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0

    def flatten(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Lens.flatten`. Not seen: points at the camera, and beyond the angle where θ' stops growing."""
        x, y, depth = points[:, 0], -points[:, 1], -points[:, 2]
        off_axis = (x != 0) | (y != 0)
        radius = torch.where(off_axis, x * x + y * y, 1.0).sqrt()
        theta = torch.atan2(radius, depth)
        stretch = torch.where(off_axis, self._curve(theta)[0] / radius, 1 / torch.where(depth > 0, depth, 1.0))
        seen = torch.where(off_axis, theta < self._limit, depth > 0)
        return torch.stack([x * stretch, y * stretch], dim=-1), seen

    def lift(self, plane: Tensor) -> tuple[Tensor, Tensor]:
        refuse(self, ~self.covers(plane))
        r2 = plane.square().sum(-1)
        off_axis = r2 > 1e-24  # nearer, sin θ / r is 1 to all digits
        radius = torch.where(off_axis, r2, 1.0).sqrt()
        with torch.no_grad():
            theta = inverse_of_rising(self._curve, torch.where(off_axis, radius, 0.0), self._limit)
        value, rise = self._curve(theta)
        theta = torch.where(off_axis, theta - (value - radius) / rise, 0.0)  # one step that autograd sees
        stretch = torch.where(off_axis, theta.sin() / radius, 1.0)
        x, y = plane.unbind(-1)
        direction = torch.stack([x * stretch, -y * stretch, -theta.cos()], dim=-1)
        return torch.zeros_like(direction), direction

    def covers(self, plane: Tensor) -> Tensor:
        rim, _ = self._curve(torch.tensor(self._limit, dtype=torch.float64))
        return plane.norm(dim=-1) < rim

    @cached_property
    def _coefficients(self) -> tuple:
        return 1.0, self.k1, self.k2, self.k3, self.k4

    @cached_property
    def _limit(self) -> float:
        """The angle up to which θ' grows, at most 180 degrees."""
        return min(math.sqrt(first_fold(self._coefficients)), math.pi)

    def _curve(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """θ' and its derivative."""
        theta2 = theta * theta
        factor = polynomial(self._coefficients, theta2)
        return theta * factor, factor + 2 * theta2 * slope(self._coefficients, theta2)


@dataclass(frozen=True)
class Equirectangular(Lens):
    """All around: x is the longitude, from -π to π, 0 straight ahead and growing to the right; y is the angle below
    the horizon, from -π / 2 to π / 2."""

    name: ClassVar[str] = "equirectangular"
    is_wide: ClassVar[bool] = True

    def flatten(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Lens.flatten`. Not seen: points at the camera. Above and below it the longitude has no
        derivative, and 0 is given."""
        x, y, z = points.unbind(-1)
        upright = (x == 0) & (z == 0)
        nowhere = upright & (y == 0)
        level = torch.where(upright, 1.0, x * x + z * z).sqrt()
        longitude = torch.atan2(x, torch.where(upright, 1.0, -z))
        below = torch.atan2(-y, torch.where(upright, nowhere.to(y), level))
        return torch.stack([longitude, below], dim=-1), ~nowhere

    def lift(self, plane: Tensor) -> tuple[Tensor, Tensor]:
        refuse(self, ~self.covers(plane))
        longitude, below = plane.unbind(-1)
        level = below.cos()
        direction = torch.stack([level * longitude.sin(), -below.sin(), -level * longitude.cos()], dim=-1)
        return torch.zeros_like(direction), direction

    def covers(self, plane: Tensor) -> Tensor:
        return plane[:, 1].abs() <= math.pi / 2 + NEWTON_TOLERANCE


@dataclass(frozen=True)
class Orthographic(Lens):
    """Parallel rays that start on the plane through the camera's centre: the focal length is pixels per world unit."""

    name: ClassVar[str] = "orthographic"
    is_central: ClassVar[bool] = False

    def flatten(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Lens.flatten`. Not seen: points behind."""
        x, y, z = points.unbind(-1)
        return torch.stack([x, -y], dim=-1), z < 0

    def lift(self, plane: Tensor) -> tuple[Tensor, Tensor]:
        x, y = plane.unbind(-1)
        origin = torch.stack([x, -y, torch.zeros_like(x)], dim=-1)
        return origin, torch.tensor([0.0, 0.0, -1.0]).to(origin).expand_as(origin)


LENSES = {lens.name: lens for lens in (Perspective, Fisheye, Equirectangular, Orthographic)}


def number(coefficient: float | Tensor) -> float:
    return coefficient.detach().item() if isinstance(coefficient, Tensor) else coefficient


def polynomial(coefficients: tuple, x: Tensor) -> Tensor:
    """``c0 + c1 x + c2 x² + …`` by Horner's rule."""
    value = torch.zeros_like(x)
    for coefficient in reversed(coefficients):
        value = value * x + coefficient
    return value


def slope(coefficients: tuple, x: Tensor) -> Tensor:
    """The derivative of :func:`polynomial`."""
    return polynomial(tuple(power * value for power, value in enumerate(coefficients))[1:], x)


def first_fold(numerator: tuple, denominator: tuple = (1.0,)) -> float:
    """The first u > 0 at which ``t f(t²)``, u = t², stops growing, or inf; f is a quotient of two polynomials."""
    over, under = (np.polynomial.Polynomial([number(value) for value in values]) for values in (numerator, denominator))
    rise = over * under + np.polynomial.Polynomial([0, 2]) * (over.deriv() * under - over * under.deriv())
    # roots of the reversed polynomials are 1 / u: no division by a tiny leading coefficient
    inverse = np.concatenate([np.roots(rise.coef), np.roots(under.coef)])
    largest = max((root.real for root in inverse if abs(root.imag) < 1e-9 * abs(root)), default=0.0)
    return 1 / largest if largest > 0 else math.inf


def inverse_of_rising(curve: Callable[[Tensor], tuple[Tensor, Tensor]], target: Tensor, limit: float) -> Tensor:
    """t [N] in [0, limit] where ``curve(t)`` meets ``target`` [N] >= 0, or comes nearest to it.

    curve gives its value, which rises from 0, and its derivative. Newton's method, kept between bounds by bisection.
    """
    low, high = torch.zeros_like(target), torch.full_like(target, limit)
    t = target.clamp(max=0.5 * limit)
    for _ in range(MAX_NEWTON_STEPS):
        value, rise = curve(t)
        error = value - target
        if (error.abs() <= NEWTON_TOLERANCE * (1 + target)).all():
            break
        low, high = torch.where(error < 0, t, low), torch.where(error < 0, high, t)
        step = t - error / rise
        middle = torch.where(high.isinf(), 2 * t, 0.5 * (low + high))
        t = torch.where((step > low) & (step < high), step, middle)
    return t


def refuse(lens: Lens, bad: Tensor) -> None:
    """Raises SceneError if any of the pixels, bool [N], is bad."""
    if bad.any():
        values = {name: number(value) for name, value in lens.coefficients.items()}
        given = ", ".join(f"{name} {value:g}" for name, value in values.items() if value) or "no distortion"
        raise SceneError(
            f"The {lens.name} lens ({given}) has no ray for some pixels of its picture; calibrate it again, undistort "
            "the photos, or leave out the pixels that it does not cover"
        )
