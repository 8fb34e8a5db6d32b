"""Adam: worked example · equal to torch.optim.Adam · backend = reference · untouched entries · touched = dense · errors."""

import pytest
import torch

from nerfcore.ops.adam import adam_scales, adam_step, adam_touched_step
from nerfcore.testing import assert_matches
from nerfcore.types import HalfTable, TouchedGradient


def test_first_step_moves_by_the_learning_rate(backend, device):
    param, m, v = torch.ones(2, device=device), torch.zeros(2, device=device), torch.zeros(2, device=device)
    adam_step(param, torch.tensor([3.0, -0.01], device=device), m, v, adam_scales(1, 0.1).to(device), backend=backend)
    assert param.tolist() == pytest.approx([0.9, 1.1])


def test_equals_torch(backend, device):
    g = torch.Generator().manual_seed(0)
    start = torch.randn(1003, generator=g)
    ours, m, v = start.clone().to(device), torch.zeros(1003, device=device), torch.zeros(1003, device=device)
    results = []
    gradients = [torch.randn(1003, generator=g) for _ in range(20)]
    for dtype in (torch.float32, torch.float64):
        theirs = start.to(dtype, copy=True).requires_grad_()
        optimizer = torch.optim.Adam([theirs], lr=1e-2, betas=(0.9, 0.99), eps=1e-8)
        for gradient in gradients:
            theirs.grad = gradient.to(dtype)
            optimizer.step()
        results.append(theirs.detach())
    for step, gradient in enumerate(gradients, 1):
        adam_step(ours, gradient.to(device), m, v, adam_scales(step, 1e-2).to(device), epsilon=1e-8, backend=backend)
    assert_matches(ours, *results)


def test_zero_gradient_leaves_everything_alone(backend, device):
    g = torch.Generator().manual_seed(1)
    param, m, v = (torch.rand(100, generator=g).to(device) for _ in range(3))
    gradient = torch.rand(100, generator=g).to(device)
    gradient[20:70] = 0
    before = [t.clone() for t in (param, m, v)]
    adam_step(param, gradient, m, v, adam_scales(5, 1e-2).to(device), backend=backend)
    for old, new in zip(before, (param, m, v), strict=True):
        assert torch.equal(old[20:70], new[20:70]) and (old[:20] != new[:20]).all() and (old[70:] != new[70:]).all()


def test_errors_in_words():
    a = torch.zeros(4, 4)
    with pytest.raises(ValueError, match="must be contiguous"):
        adam_step(a.T[:2], a[:2], a[:2], a[:2], adam_scales(1, 0.1))
    with pytest.raises(ValueError, match="step counts from 1"):
        adam_scales(0, 0.1)
    with pytest.raises(ValueError, match="gradient must have shape"):
        adam_step(a, a[:2], a, a, adam_scales(1, 0.1))
    with pytest.raises(ValueError, match="scales must be float64 on cpu, got torch.float32"):
        adam_step(a, a, a, a, torch.ones(2))


@pytest.mark.parametrize("features", [1, 2, 3, 4, 8, 24, 27])
@pytest.mark.parametrize("share", [0.02, 0.6, 1.0])
def test_touched_step_equals_the_dense_one(backend, device, features, share):
    """Also where touched entries hold zeros, and at the end of a table that fills no vector."""
    g = torch.Generator().manual_seed(2)
    shape = (1003, features)
    touched = (torch.rand(1003, generator=g) < share).to(torch.uint8)
    gradient = torch.randn(shape, generator=g) * touched[:, None] * (torch.rand(shape, generator=g) < 0.8)
    start = [torch.rand(shape, generator=g) for _ in range(3)]
    sparse = TouchedGradient(gradient.clone().to(device), touched.clone().to(device))
    ours, dense = ([t.clone().to(device) for t in start] for _ in range(2))
    adam_touched_step(ours[0], sparse, *ours[1:], adam_scales(3, 1e-2).to(device), backend=backend)
    adam_step(dense[0], gradient.to(device), *dense[1:], adam_scales(3, 1e-2).to(device), backend=backend)
    for own, other in zip(ours, dense, strict=True):
        assert torch.equal(own, other)
    assert not sparse.values.any() and not sparse.touched.any()


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("features", [1, 2, 4, 8, 27])
def test_touched_step_writes_the_copy_in_half_precision(backend, device, features, half):
    """Numbers of all sizes, those that overflow or lose digits in half precision among them."""
    g = torch.Generator().manual_seed(3)
    shape = (1003, features)
    param = torch.randn(shape, generator=g) * 10.0 ** torch.randint(-12, 8, shape, generator=g)
    param, moments = param.to(device), [torch.zeros(shape, device=device) for _ in range(2)]
    copy = HalfTable(half)
    sparse = TouchedGradient.zeros_like(param, copy)
    for step in range(1, 4):
        touched = torch.rand(1003, generator=g) < 0.4
        sparse.touched[touched.to(device)] = 1
        sparse.values.copy_(torch.randn(shape, generator=g) * touched[:, None])
        adam_touched_step(param, sparse, *moments, adam_scales(step, 1e-2).to(device), backend=backend)
        if backend != "reference":
            assert torch.equal(copy.values, param.to(half))
        assert torch.equal(copy.of(param), param.to(half))


def test_a_copy_in_half_precision_follows_every_change(backend, device):
    param, copy = torch.randn(40, 2, generator=torch.Generator().manual_seed(4)).to(device), HalfTable(torch.bfloat16)
    first = copy.of(param)
    assert torch.equal(first, param.bfloat16()) and copy.of(param) is first
    moments = torch.zeros(40, 2, device=device), torch.zeros(40, 2, device=device)
    adam_step(param, torch.ones_like(param), *moments, adam_scales(1, 0.1).to(device), backend=backend)
    assert torch.equal(copy.of(param), param.bfloat16())
    param.mul_(3)
    assert torch.equal(copy.of(param), param.bfloat16())
    assert torch.equal(copy.of(param.double()), param.bfloat16()) and torch.equal(copy.of(param[:7]), param[:7].bfloat16())
    with pytest.raises(ValueError, match="half precision is torch.float16 or torch.bfloat16, got torch.float32"):
        HalfTable(torch.float32)


def test_errors_of_the_touched_step_in_words():
    table, scales = torch.zeros(4, 2), adam_scales(1, 0.1)
    with pytest.raises(ValueError, match="touched must be uint8"):
        adam_touched_step(table, TouchedGradient(table, torch.zeros(4)), table, table, scales)
    with pytest.raises(ValueError, match=r"gradient.values must have shape \[E=4, F=2\]"):
        adam_touched_step(table, TouchedGradient(table[:2], torch.zeros(4, dtype=torch.uint8)), table, table, scales)
