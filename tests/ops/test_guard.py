"""The guard of numbers: names the operation and the tensor, forward and backward · changes no result · compiles."""

import pytest
import torch

from nerfcore.errors import NerfcoreError
from nerfcore.ops._guard import finite_guard
from nerfcore.ops.composite import composite
from nerfcore.ops.hash_grid import HashGridLevels, hash_grid
from nerfcore.ops.mlp import mlp
from nerfcore.ops.spherical_harmonics import spherical_harmonics
from nerfcore.types import Samples


def network(size=1.0):
    g = torch.Generator().manual_seed(0)
    x, *weights = (size * torch.rand(*shape, generator=g) for shape in ((5, 3), (3, 8), (8, 2)))
    return x.requires_grad_(), [w.requires_grad_() for w in weights]


def test_changes_no_result(backend, device):
    x, weights = network()
    x, weights = x.detach().to(device).requires_grad_(), [w.detach().to(device).requires_grad_() for w in weights]
    with finite_guard():
        watched = mlp(x, weights, "sigmoid", backend=backend)
        watched = watched, *torch.autograd.grad(watched.sum(), [x, *weights])
    plain = mlp(x, weights, "sigmoid", backend=backend)
    plain = plain, *torch.autograd.grad(plain.sum(), [x, *weights])
    assert all(torch.equal(a, b) for a, b in zip(watched, plain, strict=True))


def test_names_an_argument_and_a_result(backend, device):
    x, weights = network(1e15)
    x, weights = x.detach().to(device), [w.detach().to(device) for w in weights]
    with finite_guard(), pytest.raises(NerfcoreError, match=r"^mlp: out is not finite \(10 of 10 numbers\)$"):
        mlp(x, weights, backend=backend)
    assert not mlp(x, weights, backend=backend).isfinite().any()
    weights[1][3, 1] = torch.nan
    with finite_guard(), pytest.raises(NerfcoreError, match=r"^mlp: weights\[1\] is not finite \(1 of 16 numbers\)$"):
        mlp(x, weights, backend=backend)


def test_names_a_gradient_where_it_comes_and_where_it_is_made():
    x, weights = network()
    with finite_guard():
        out = mlp(x, weights)
        with pytest.raises(NerfcoreError, match=r"^mlp: the gradient of out is not finite \(10 of 10 numbers\)$"):
            (out * torch.inf).sum().backward()
        wide = [w.detach() * 1e15 for w in weights]
        with pytest.raises(NerfcoreError, match=r"^mlp: the gradient of x is not finite \(15 of 15 numbers\)$"):
            (mlp(x, wide) * 1e15).sum().backward()


def test_a_gradient_is_that_of_one_operation():
    """Both read the same tensor; the one at fault is named."""
    x = torch.rand(5, 3).requires_grad_()
    with finite_guard():
        code, out = spherical_harmonics(x, 2), mlp(x, network()[1])
        with pytest.raises(NerfcoreError, match="^spherical_harmonics: the gradient of out "):
            (code.sum() * torch.nan + out.sum()).backward()


def test_does_not_stand_in_the_way_of_compilation():
    x, weights = network()
    compiled = torch.compile(lambda x, w: mlp(x, w, "sigmoid", backend="reference"), fullgraph=True, backend="eager")
    assert torch.equal(compiled(x, weights), mlp(x, weights, "sigmoid", backend="reference"))


def test_operations_of_a_field_take_part():
    bad, ray = torch.full((4, 3), torch.nan), torch.tensor([0, 4])
    levels = HashGridLevels(3, 2, 2, 8, 4, 8)
    calls = {
        "hash_grid: x": lambda: hash_grid(bad, torch.zeros(levels.num_entries, 2), levels),
        "spherical_harmonics: direction": lambda: spherical_harmonics(bad, 2),
        "composite: sigma": lambda: composite(bad[:, 0], bad, Samples(torch.zeros(4), torch.ones(4), ray)),
    }
    for what, call in calls.items():
        with finite_guard(), pytest.raises(NerfcoreError, match=f"^{what} is not finite"):
            call()
