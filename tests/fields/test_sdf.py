"""Signed distance fields: values inside and outside of the box, their derivative, and what cannot be."""

from __future__ import annotations

import pytest
import torch

from nerfcore.fields.sdf import SDFField

SMALL = dict(num_levels=3, features=2, log2_table=9, coarsest=4, finest=16, hidden=16)


def small(backend="auto", seed=0, device="cpu"):
    field = SDFField(**SMALL, backend=backend)
    field.initialise(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        field.table.mul_(1e4)  # a surface, where a fresh field is flat
    return field.to(device)


def points(count, seed=1, size=1.0):
    g = torch.Generator().manual_seed(seed)
    return 0.5 + size * (torch.rand(count, 3, generator=g) - 0.5)


def test_backends_agree(backend, device):
    x = points(500, size=2.0)
    expected = small("reference").value(x)
    assert torch.allclose(small(backend, device=device).value(x.to(device)).cpu(), expected, atol=1e-5)


def test_outside_a_sphere_of_the_value_never_holds_what_is_in_the_box():
    """The field of a ball, exact in the box: the value outside is not above the true distance, and meets it at the faces."""
    field, x = small(), points(5000, size=4.0)
    field.learned = lambda p: (p - 0.5).norm(dim=-1) - 0.4
    outside = ((x < 0) | (x > 1)).any(1)
    true = (x - 0.5).norm(dim=-1) - 0.4
    value = field.value(x)
    assert (value <= true + 1e-6).all() and torch.equal(value[~outside], true[~outside])
    assert (value[outside] >= (x - x.clamp(0, 1)).norm(dim=1)[outside] - 1e-6).all()
    assert torch.allclose(field.value(torch.tensor([[1 + 1e-6, 0.5, 0.5]])), torch.tensor([0.1]), atol=1e-5)


def test_the_gradient_is_the_derivative():
    field, x, step = small().double(), points(100, size=1.6).double(), 1e-6
    gradient = field.gradient(x)
    for axis, along in enumerate(torch.eye(3).double()):
        with torch.no_grad():
            difference = (field.value(x + step * along) - field.value(x - step * along)) / (2 * step)
        wrong = (difference - gradient[:, axis]).abs() > 1e-4
        assert wrong.sum() <= 2  # at the borders of cells it jumps
    assert torch.allclose(field.normal(x).norm(dim=1), torch.ones(100).double())


def test_gradients_reach_every_parameter(backend, device):
    field = small(backend, device=device)
    gradients = torch.autograd.grad(field.value(points(300, size=1.5).to(device)).abs().sum(), list(field.parameters()))
    assert all(g.isfinite().all() and g.any() for g in gradients)


def test_it_has_no_density_and_says_what_is_wrong():
    with pytest.raises(NotImplementedError):
        small().density(points(2))
    with pytest.raises(ValueError, match="hidden_layers must be at least 1, got 0"):
        SDFField(hidden_layers=0)
