"""The neural tangent kernel against closed forms, the Jacobian of autograd, and the Fourier transform."""

import math

import pytest
import torch
from torch.func import vmap

from nerfcore.analysis.ntk import (
    bandwidth_scan,
    draw_relu_network,
    empirical_ntk,
    kernel_regression,
    relu_network,
    relu_ntk,
    shift_profile,
    spectrum,
    torus_points,
)
from nerfcore.blocks.encoding import fourier_encoding, gaussian_frequencies


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def features(*shape, octaves=2):
    """Of a torus: whole frequencies, so that they close around it."""
    x = torus_points(*shape)
    axes = [torch.arange(-octaves, octaves + 1, dtype=torch.float64)] * x.shape[1]
    whole = torch.cartesian_prod(*axes).view(-1, x.shape[1]).T
    return fourier_encoding(x, whole) / whole.shape[1] ** 0.5


# --- the kernel of one network


def test_empirical_kernel_is_the_product_of_jacobians():
    weights = [w.double().requires_grad_() for w in draw_relu_network(3, 8, 2, generator())]
    x, y = torch.randn(7, 3, generator=generator(1)).double(), torch.randn(5, 3, generator=generator(2)).double()

    def jacobian(points):
        rows = [torch.autograd.grad(out, weights, retain_graph=True) for out in relu_network(weights, points)]
        return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])

    expected = jacobian(x) @ jacobian(y).T
    for chunk in (2, 64):
        assert (empirical_ntk(relu_network, weights, x, y, chunk) - expected).abs().max() < 1e-12
        alone = empirical_ntk(relu_network, weights, x, chunk=chunk)
        assert (alone - jacobian(x) @ jacobian(x).T).abs().max() < 1e-12


def test_a_linear_function_has_the_kernel_of_its_features():
    x = torch.randn(6, 4, generator=generator())
    found = empirical_ntk(lambda p, x: x @ p[0], [torch.randn(4, generator=generator(1))], x)
    assert (found - x @ x.T).abs().max() < 1e-5


# --- of infinitely wide ones


@pytest.mark.parametrize("hidden_layers", [1, 2])
def test_wide_networks_have_the_infinite_kernel_on_average(hidden_layers):
    x = torch.randn(5, 3, generator=generator()).double()
    drawn = [draw_relu_network(3, 64, hidden_layers, generator(seed)) for seed in range(400)]
    stacked = [torch.stack(layer).double() for layer in zip(*drawn, strict=True)]
    kernels = vmap(lambda *w: empirical_ntk(relu_network, w, x))(*stacked)
    exact = relu_ntk(x, x, hidden_layers)
    doubt = kernels.std(0) / len(drawn) ** 0.5
    # networks of finite width have another mean, by the order of 1 / width, from two hidden layers on
    assert ((kernels.mean(0) - exact).abs() < 4.5 * doubt + (hidden_layers - 1) * exact.abs().max() / 64).all()


def test_kernel_at_one_point_in_closed_form():
    """Layers keep lengths, and every layer's parameters add the square of the length."""
    x = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    for hidden_layers in range(4):
        assert relu_ntk(x, x, hidden_layers).item() == pytest.approx(25 * (hidden_layers + 1))


def test_kernel_of_opposite_and_orthogonal_points_in_closed_form():
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    y = torch.tensor([[-1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    opposite, orthogonal = relu_ntk(x, y, 1)[0].tolist()
    assert opposite == pytest.approx(0, abs=1e-12) and orthogonal == pytest.approx(1 / math.pi)


# --- with Fourier features


@pytest.mark.parametrize("shape", [(16,), (6, 4)])
@pytest.mark.parametrize("hidden_layers", [1, 3])
def test_features_make_the_kernel_invariant_to_shifts(shape, hidden_layers):
    encoded = features(*shape)
    _, error = shift_profile(relu_ntk(encoded, encoded, hidden_layers), shape)
    assert error < 1e-6  # the slope of arccos at 1 makes 1e-8 of the rounding 1e-16
    bare = torus_points(*shape)
    _, without = shift_profile(relu_ntk(bare + 1, bare + 1, hidden_layers), shape)
    assert without > 0.1


def test_the_eigenvalues_of_an_invariant_kernel_are_its_fourier_transform():
    encoded = features(4, 6)
    kernel = relu_ntk(encoded, encoded, 2)
    profile, _ = shift_profile(kernel, (4, 6))
    waves = torch.fft.fft2(profile).real.flatten().sort(descending=True).values
    assert (spectrum(kernel) - waves).abs().max() < 1e-6
    assert spectrum(kernel).sum().item() == pytest.approx(kernel.trace().item())


def test_one_network_of_finite_width_is_invariant_up_to_its_luck():
    """And the luck shrinks by the root of the width."""
    encoded = features(12).float()

    def error(width):
        kernels = [
            empirical_ntk(relu_network, draw_relu_network(encoded.shape[1], width, 1, generator(seed)), encoded)
            for seed in range(8)
        ]
        return sum(shift_profile(kernel, (12,))[1] for kernel in kernels) / len(kernels)

    few, many = error(64), error(64 * 16)
    assert 2.5 < few / many < 6


# --- regression and bandwidth


def test_regression_meets_its_points_and_is_that_of_the_normal_equations():
    x = torch.rand(30, 2, generator=generator()).double()
    encoded = fourier_encoding(x, gaussian_frequencies(2, 40, 2.0, generator(1)).double())
    kernel, values = relu_ntk(encoded, encoded, 2), torch.rand(30, 3, generator=generator(2)).double()
    assert (kernel_regression(kernel, values, kernel, ridge=1e-10) - values).abs().max() < 1e-6
    linear = encoded @ encoded.T
    ridge = 0.1 * linear.diagonal().mean()
    weights = torch.linalg.solve(encoded.T @ encoded + ridge * torch.eye(80), encoded.T @ values)
    assert (kernel_regression(linear, values, linear, ridge=0.1) - encoded @ weights).abs().max() < 1e-9


def test_scan_is_regression_with_each_bandwidth_and_sees_what_is_too_much():
    """Features of far too high a bandwidth see noise between the points (Tancik et al. 2020, figure 3)."""
    x, held_out = torus_points(40), 0.97 * torus_points(201)  # between the first point and the last
    values, truth = (torch.sin(2 * math.pi * 5 * p + 1) for p in (x, held_out))
    frequencies = gaussian_frequencies(1, 128, 1.0, generator(2)).double()
    errors = bandwidth_scan([2.0, 100.0], frequencies, x, values, held_out, truth, hidden_layers=2)
    assert errors[1] > 10 * errors[0]
    seen, unseen = (fourier_encoding(p, 2 * frequencies) for p in (x, held_out))
    found = kernel_regression(relu_ntk(seen, seen, 2), values, relu_ntk(unseen, seen, 2))
    assert (errors[0] - (found - truth).square().mean()).abs() < 1e-12
