"""Real spherical harmonics of a direction."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerfcore.ops._dispatch import LastDerivative, check, use_kernel
from nerfcore.ops._guard import guarded


@guarded("out")
def spherical_harmonics(direction: Tensor, degree: int, backend: str = "auto") -> Tensor:
    """Real, orthonormal spherical harmonics of bands 0 to ``degree - 1`` (Ramamoorthi and Hanrahan 2001).

    direction [N, 3], unit length; degree 1 to 4. Returns [N, degree²]: band l holds m = -l to l, with the
    Condon–Shortley phase, the order and signs of Müller et al. 2022. In the complex Y of
    ``scipy.special.sph_harm_y(l, |m|, polar, azimuth)`` a component is √2 Im Y for m < 0, Y for m = 0 and √2 Re Y
    for m > 0.

    Differentiable in: direction (second order), as the polynomials in x, y, z that they are: the gradient is that of
    the polynomial and need not be tangent to the sphere, and directions that are not unit are not normalised.

    >>> [round(v, 4) for v in spherical_harmonics(torch.tensor([[0.0, 0.0, 1.0]]), degree=2)[0].tolist()]
    [0.2821, -0.0, 0.4886, -0.0]
    """
    direction = check("direction", direction, "N 3", {})
    if degree not in (1, 2, 3, 4):
        raise ValueError(f"degree must be 1, 2, 3 or 4, got {degree}")
    if use_kernel(backend, direction):
        return _SphericalHarmonics.apply(direction, degree)
    return spherical_harmonics_reference(direction, degree)


class _SphericalHarmonics(torch.autograd.Function):
    @staticmethod
    def forward(ctx, direction, degree):
        ctx.save_for_backward(direction)
        ctx.degree = degree
        return torch.ops.nerfcore.spherical_harmonics_forward(direction, degree)

    @staticmethod
    def backward(ctx, grad_out):
        (direction,) = ctx.saved_tensors
        return _SphericalHarmonicsBackward.apply(direction, ctx.degree, grad_out.contiguous()), None


class _SphericalHarmonicsBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, direction, degree, grad_out):
        ctx.save_for_backward(direction, grad_out)
        ctx.degree = degree
        return torch.ops.nerfcore.spherical_harmonics_backward(direction, degree, grad_out)

    @staticmethod
    def backward(ctx, along):
        direction, grad_out = ctx.saved_tensors
        grad_direction, grad_grad_out = (
            LastDerivative.apply(grad, "spherical_harmonics", direction, along, grad_out)
            for grad in torch.ops.nerfcore.spherical_harmonics_backward2(
                direction, along.contiguous(), ctx.degree, grad_out
            )
        )
        return grad_direction, None, grad_grad_out


def spherical_harmonics_reference(direction: Tensor, degree: int) -> Tensor:
    def root(numerator: int, denominator: int) -> float:
        return math.sqrt(numerator / (denominator * math.pi))

    x, y, z = direction.unbind(-1)
    bands = [torch.full_like(x, root(1, 4))]
    if degree > 1:
        bands += [-root(3, 4) * y, root(3, 4) * z, -root(3, 4) * x]
    if degree > 2:
        bands += [
            root(15, 4) * x * y, -root(15, 4) * y * z, root(5, 16) * (3 * z * z - 1),
            -root(15, 4) * x * z, root(15, 16) * (x * x - y * y),
        ]
    if degree > 3:
        bands += [
            root(35, 32) * y * (y * y - 3 * x * x), root(105, 4) * x * y * z, root(21, 32) * y * (1 - 5 * z * z),
            root(7, 16) * z * (5 * z * z - 3), root(21, 32) * x * (1 - 5 * z * z), root(105, 16) * z * (x * x - y * y),
            root(35, 32) * x * (3 * y * y - x * x),
        ]
    return torch.stack(bands, -1)
