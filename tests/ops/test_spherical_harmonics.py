from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from nerfcore import _extension
from nerfcore.ops.spherical_harmonics import spherical_harmonics, spherical_harmonics_reference
from nerfcore.testing import assert_matches


def random_directions(seed, n=500, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(n, 3, generator=generator, dtype=torch.float64), dim=-1).to(dtype)


def sphere_quadrature():
    """Directions and weights that integrate polynomials to degree 7 on the sphere: Gauss in z, uniform in azimuth."""
    z, weight = np.polynomial.legendre.leggauss(4)
    azimuth = np.arange(8) * (2 * math.pi / 8)
    z, azimuth = (a.ravel() for a in np.meshgrid(z, azimuth, indexing="ij"))
    radius = np.sqrt(1 - z**2)
    direction = torch.tensor(np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], -1))
    return direction, torch.tensor(np.repeat(weight, 8) * (2 * math.pi / 8))


# --- worked example


def test_the_x_axis(backend, device):
    values = spherical_harmonics(torch.tensor([[1.0, 0.0, 0.0]], device=device), 3, backend=backend)[0].tolist()
    expected = [0.28209479, 0, 0, -0.48860251, 0, 0, -0.31539157, 0, 0.54627422]
    assert values == pytest.approx(expected, abs=1e-7)


# --- independent oracles


def test_equals_scipy(backend, device):
    direction = random_directions(0, dtype=torch.float64)
    x, y, z = direction.numpy().T
    polar, azimuth = np.arccos(z), np.arctan2(y, x)
    columns = []
    for band in range(4):
        for m in range(-band, band + 1):
            value = sph_harm_y(band, abs(m), polar, azimuth)
            columns.append(value.real if m == 0 else math.sqrt(2) * (value.imag if m < 0 else value.real))
    found = spherical_harmonics(direction.to(device), 4, backend=backend).cpu()
    assert np.abs(found.numpy() - np.stack(columns, -1)).max() < 1e-14


def test_orthonormal_on_the_sphere(backend, device):
    direction, weight = sphere_quadrature()
    values = spherical_harmonics(direction.to(device), 4, backend=backend).cpu()
    gram = values.T @ (weight[:, None] * values)
    assert (gram - torch.eye(16)).abs().max() < 1e-14


# --- every backend gives the reference's numbers


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_reference(backend, device, dtype, degree):
    direction = random_directions(1, dtype=dtype)
    grad_out = torch.randn(len(direction), degree**2, generator=torch.Generator().manual_seed(2), dtype=dtype)

    def values_and_gradient(encode, dtype, device="cpu"):
        x = direction.to(device, dtype).requires_grad_()
        values = encode(x, degree)
        if not values.requires_grad:  # the constant band
            return values, torch.zeros_like(x)
        (gradient,) = torch.autograd.grad(values, x, grad_out.to(values), allow_unused=True)
        return values.detach(), torch.zeros_like(x) if gradient is None else gradient

    truth = values_and_gradient(spherical_harmonics_reference, torch.float64)
    yardstick = values_and_gradient(spherical_harmonics_reference, dtype)
    found = values_and_gradient(lambda x, d: spherical_harmonics(x, d, backend=backend), dtype, device)
    assert found[0].dtype == dtype and found[0].shape == (500, degree**2)
    for what, *three in zip(("values", "grad_direction"), found, yardstick, truth, strict=True):
        # the adjoint adds its terms in another order than autograd: a few roundings of sums of up to 36 terms in double
        assert_matches(*three, what=what, floor=1e-6 if dtype == torch.float32 else 1e-14)


# --- gradcheck


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_gradcheck(backend, device, degree):
    direction = (random_directions(3, 6, torch.float64) * 1.3).to(device).requires_grad_()  # off the sphere as well
    torch.autograd.gradcheck(lambda d: spherical_harmonics(d, degree, backend=backend), (direction,))


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_gradgradcheck(backend, device, degree):
    direction = (random_directions(3, 6, torch.float64) * 1.3).to(device).requires_grad_()
    torch.autograd.gradgradcheck(lambda d: spherical_harmonics(d, degree, backend=backend).cos(), (direction,))


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_second_derivatives_in_float32(backend, device, degree):
    direction = random_directions(10)
    seeds = [torch.randn(500, n, generator=torch.Generator().manual_seed(n)) for n in (degree**2, 3)]

    def run(dtype, encode, device="cpu"):
        x, out, along = (t.to(device, dtype).requires_grad_() for t in (direction, *seeds))
        (first,) = torch.autograd.grad(encode(x, degree), x, out, create_graph=True)
        second = torch.autograd.grad(first, (x, out), along, allow_unused=True)  # of degree 2 the gradient is constant
        return [torch.zeros_like(t) if grad is None else grad for t, grad in zip((x, out), second, strict=True)]

    found = run(torch.float32, lambda x, d: spherical_harmonics(x, d, backend=backend), device)
    yardstick, truth = (run(t, spherical_harmonics_reference) for t in (torch.float32, torch.float64))
    for what, *three in zip(("direction", "grad_out"), found, yardstick, truth, strict=True):
        assert_matches(*three, what=what)


# --- properties


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_a_lower_degree_is_a_prefix(backend, device, degree):
    direction = random_directions(4).to(device)
    every = spherical_harmonics(direction, 4, backend=backend)
    assert torch.equal(spherical_harmonics(direction, degree, backend=backend), every[:, : degree**2])


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
@pytest.mark.parametrize("n", [1, 7, 16, 17, 1025])
def test_a_direction_does_not_feel_its_neighbors(backend, device, degree, n):
    """Any number of directions give the bits that they give alone, values and gradients, and nothing else is written."""
    direction = random_directions(9, n).to(device).requires_grad_()
    values = spherical_harmonics(direction, degree, backend=backend)
    gradient = torch.autograd.grad(values.sum(), direction)[0] if degree > 1 else None
    for i in {0, n // 2, n - 1}:
        one = direction.detach()[i : i + 1].requires_grad_()
        alone = spherical_harmonics(one, degree, backend=backend)
        assert torch.equal(alone[0], values[i])
        if degree > 1:
            assert torch.allclose(torch.autograd.grad(alone.sum(), one)[0][0], gradient[i], rtol=1e-6, atol=1e-6)


def test_opposite_directions_flip_the_odd_bands(backend, device):
    direction = random_directions(5).to(device)
    sign = torch.tensor([1.0] + [-1.0] * 3 + [1.0] * 5 + [-1.0] * 7, device=device)
    there, back = (spherical_harmonics(d, 4, backend=backend) for d in (direction, -direction))
    assert torch.equal(back, sign * there)


def test_the_energy_of_a_band_is_the_same_in_every_direction(backend, device):
    """Unsöld's theorem: the squares of band l sum to (2 l + 1) / 4 pi."""
    values = spherical_harmonics(random_directions(6, dtype=torch.float64).to(device), 4, backend=backend).square()
    for band in range(4):
        energy = values[:, band**2 : (band + 1) ** 2].sum(1)
        assert (energy - (2 * band + 1) / (4 * math.pi)).abs().max() < 1e-14


# --- edges and errors


def test_no_directions(backend, device):
    direction = torch.zeros(0, 3, device=device, requires_grad=True)
    values = spherical_harmonics(direction, 4, backend=backend)
    values.sum().backward()
    assert values.shape == (0, 16) and direction.grad.shape == (0, 3)


def test_a_nan_stays_in_its_row(backend, device):
    direction = random_directions(7, 3).to(device)
    direction[1, 0] = math.nan
    finite = spherical_harmonics(direction, 4, backend=backend).isfinite().all(1)
    assert finite.tolist() == [True, False, True]


def test_a_third_derivative_of_the_kernel_is_refused():
    if problem := _extension.unavailable("cpu"):
        pytest.skip(problem)
    direction = random_directions(8, 3).requires_grad_()
    value = spherical_harmonics(direction, 4, backend="cpu").square().sum()
    (gradient,) = torch.autograd.grad(value, direction, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), direction, create_graph=True)
    with pytest.raises(RuntimeError, match="has derivatives to the second order"):
        second.sum().backward()


@pytest.mark.parametrize("degree", [0, 5, -1])
def test_a_wrong_degree_is_named(degree):
    with pytest.raises(ValueError, match=f"degree must be 1, 2, 3 or 4, got {degree}"):
        spherical_harmonics(torch.zeros(1, 3), degree)


def test_a_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"direction must have shape \[N, 3\], got \[3\]"):
        spherical_harmonics(torch.zeros(3), 2)
