"""Interpolation on grids: worked examples · backend = reference · gradcheck · links · gradients in place · properties · errors."""

import math

import pytest
import torch
from torch.nn.functional import grid_sample

from nerfcore.ops.multilinear import multilinear, multilinear_reference
from nerfcore.testing import assert_matches
from nerfcore.types import TouchedGradient

SHAPES = [((9,), 1), ((5, 7), 8), ((4, 3, 6), 27), ((6, 5, 4), 1), ((3, 2, 5), 6)]
CASES = [(*shape, linked) for shape in SHAPES for linked in (False, True)]


def inputs(size, channels, linked, n=300, dtype=torch.float32, seed=0):
    """x, values and links, of which every third is empty: -1, or beyond the rows."""
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(n, len(size), generator=g, dtype=dtype)
    if not linked:
        return x, torch.randn(*size, channels, generator=g, dtype=dtype), None
    corners = torch.randperm(math.prod(size), generator=g)
    rows = len(corners) - len(corners) // 3
    links = torch.where(corners < rows, corners, torch.where(corners % 2 == 0, -1, rows + 5)).int().view(size)
    return x, torch.randn(rows, channels, generator=g, dtype=dtype), links


def on(device, links):
    return None if links is None else links.to(device)


def test_halves_and_quarters_by_hand(backend, device):
    values = torch.tensor([[0.0, 1.0], [10.0, 3.0]], device=device)[..., None]  # first axis down, second across
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.5], [0.5, 0.25]], device=device)
    assert multilinear(x, values, backend=backend).flatten().tolist() == [0.0, 10.0, 0.5, 0.5 * 0.25 + 0.5 * 8.25]
    links = torch.tensor([[0, -1], [1, 7]], dtype=torch.int32, device=device)
    rows = values[:, 0]
    assert multilinear(x, rows, links, backend=backend).flatten().tolist() == [0.0, 10.0, 0.0, 0.5 * 0.75 * 10]


@pytest.mark.parametrize("size", [(6, 9), (4, 3, 6)], ids=str)
def test_equals_grid_sample(backend, device, size):
    """Of torch, whose coordinates come in the opposite order."""
    x, values, _ = inputs(size, 5, False)
    volume = values.double().movedim(-1, 0)[None]
    where = (2 * x.double() - 1).flip(-1).view(1, -1, *[1] * (len(size) - 1), len(size))
    theirs = grid_sample(volume, where, mode="bilinear", align_corners=True).view(5, -1).T
    ours = multilinear(x.to(device), values.to(device), backend=backend)
    torch.testing.assert_close(ours.cpu().double(), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("size", "channels", "linked"), CASES, ids=str)
def test_matches_reference(backend, device, size, channels, linked):
    x, values, links = inputs(size, channels, linked)
    cotangent = torch.randn(len(x), channels, generator=torch.Generator().manual_seed(2))

    def run(dtype, backend, device="cpu"):
        p, v = x.to(device, dtype).requires_grad_(), values.to(device, dtype).requires_grad_()
        out = multilinear(p, v, on(device, links), backend)
        return [out, *torch.autograd.grad((out * cotangent.to(out)).sum(), (p, v))]

    kernel = run(torch.float32, backend, device)
    yardstick, truth = run(torch.float32, "reference"), run(torch.float64, "reference")
    for name, k, y, t in zip(("out", "grad_x", "grad_values"), kernel, yardstick, truth, strict=True):
        assert_matches(k, y, t, what=name)


def test_a_batch_is_its_grids_one_by_one(backend, device):
    g = torch.Generator().manual_seed(1)
    x, values = torch.rand(3, 40, 2, generator=g).to(device), torch.randn(3, 5, 4, 6, generator=g).to(device)
    together = [t.clone().requires_grad_() for t in (x, values)]
    alone = [t.clone().requires_grad_() for t in (x, values)]
    out = multilinear(*together, backend=backend)
    parts = torch.stack([multilinear(*grid, backend=backend) for grid in zip(*alone, strict=True)])
    assert torch.equal(out, parts)
    for own, other in zip(torch.autograd.grad(out.sin().sum(), together), torch.autograd.grad(parts.sin().sum(), alone), strict=True):
        torch.testing.assert_close(own, other)


def inside_cells(size, channels, linked, n, device):
    """Float64, clear of cell borders, where the derivative jumps."""
    x, values, links = inputs(size, channels, linked, n, torch.float64)
    cells = torch.tensor(size) - 1
    position = x * cells
    x = (position.floor() + 0.02 + 0.96 * (position % 1)) / cells
    return x.to(device).requires_grad_(), values.to(device).requires_grad_(), on(device, links)


@pytest.mark.parametrize(("size", "channels", "linked"), CASES, ids=str)
def test_first_and_second_derivatives(backend, device, size, channels, linked):
    x, values, links = inside_cells(size, channels, linked, 4, device)
    function = lambda p, v: multilinear(p, v, links, backend)  # noqa: E731
    assert torch.autograd.gradcheck(function, (x, values), eps=1e-7, atol=1e-5, fast_mode=True)
    grad_out = torch.randn(4, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    grad_out = grad_out.to(device).requires_grad_()
    assert torch.autograd.gradgradcheck(function, (x, values), grad_out, eps=1e-7, atol=1e-5, fast_mode=True)


def test_a_third_derivative_of_the_kernel_is_refused(kernel_backend):
    x, values, _ = inputs((4, 3, 6), 2, False)
    x, values = x.requires_grad_(), values.requires_grad_()
    value = multilinear(x, values, backend=kernel_backend).square().sum()
    (first,) = torch.autograd.grad(value, x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="multilinear has derivatives to the second order"):
        second.sum().backward()


@pytest.mark.parametrize(("size", "channels", "linked"), CASES, ids=str)
def test_gradients_in_place_are_those_that_autograd_returns(backend, device, size, channels, linked):
    """They add to what is there, mark what they add to, and nothing else; the gradient by x stays what it is."""
    x, values, links = inputs(size, channels, linked, n=5)
    x, values, links = x.to(device).requires_grad_(), values.to(device).requires_grad_(), on(device, links)
    weight = torch.linspace(-1, 1, 5, device=device)[:, None]  # the middle point has no gradient
    kept = TouchedGradient.zeros_like(values.detach().flatten(0, -2))
    for times in (1, 2):
        grad_x, grad_values = torch.autograd.grad((weight * multilinear(x, values, links, backend)).sum(), (x, values))
        out = multilinear(x, values, links, backend, gradient=kept)
        same_x, nothing = torch.autograd.grad((weight * out).sum(), (x, values))
        assert torch.equal(same_x, grad_x) and nothing.shape == values.shape and not nothing.any()
        torch.testing.assert_close(kept.values, times * grad_values.flatten(0, -2))
    assert torch.equal(kept.touched.bool(), (kept.values != 0).any(1))


def test_links_to_all_corners_are_no_links(backend, device):
    x, values, _ = (t if t is None else t.to(device) for t in inputs((4, 3, 6), 27, False))
    links = torch.arange(72, dtype=torch.int32, device=device).view(4, 3, 6)
    linked = multilinear(x, values.flatten(0, 2), links, backend)
    assert torch.equal(linked, multilinear(x, values, backend=backend))
    nothing = multilinear(x, values.new_zeros(0, 27), torch.full_like(links, -1), backend)
    assert nothing.shape == (300, 27) and not nothing.any()


def test_a_linear_function_is_reproduced(backend, device):
    """The sum of the coordinates, at points all over, the far faces among them."""
    axes = torch.meshgrid(*(torch.linspace(0, 1, n) for n in (5, 8, 3)), indexing="ij")
    x = torch.rand(200, 3, generator=torch.Generator().manual_seed(5))
    x[:3] = torch.eye(3)
    out = multilinear(x.to(device), sum(axes)[..., None].to(device), backend=backend)
    torch.testing.assert_close(out[:, 0].cpu(), x.sum(1))


def test_gradients_are_the_same_for_any_thread_count(kernel_backend):
    threads, grads = torch.get_num_threads(), []
    x, values, links = inputs((4, 3, 6), 27, True, 5000)
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            p, v = x.clone().requires_grad_(), values.clone().requires_grad_()
            out = multilinear(p, v, links, kernel_backend)
            grads.append((out.detach(), *torch.autograd.grad(out.sin().sum(), (p, v))))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in grads[1:] for a, b in zip(grads[0], other, strict=True))


def test_deterministic_gradients_repeat(backend, device):
    x, values, _ = (t if t is None else t.to(device) for t in inputs((4, 3, 6), 5, False, 5000))
    torch.use_deterministic_algorithms(True)
    try:
        runs = []
        for _ in range(2):
            leaf = values.clone().requires_grad_()
            runs.append(torch.autograd.grad(multilinear(x, leaf, backend=backend).sin().sum(), leaf)[0])
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(*runs)


def test_no_points_and_points_outside(backend, device):
    _, values, _ = inputs((4, 3, 6), 5, False)
    values = values.to(device)
    assert multilinear(torch.zeros(0, 3, device=device), values, backend=backend).shape == (0, 5)
    x = torch.tensor([[-3.0, 0.5, 2.0], [1e30, -1e30, 0.2]], device=device, requires_grad=True)
    out = multilinear(x, values, backend=backend)
    assert torch.equal(out, multilinear(x.detach().clamp(0, 1), values, backend=backend))
    out.sum().backward()
    assert x.grad[0, 0] == 0 and x.grad[0, 2] == 0 and x.grad[1, 0] == 0 and x.grad[0, 1] != 0


def test_nan_shows_in_its_own_row_only(backend, device):
    x, values, _ = inputs((4, 3, 6), 5, False, 3)
    x[1, 2] = math.nan
    out = multilinear(x.to(device), values.to(device), backend=backend)
    assert torch.isnan(out[1]).all() and torch.isfinite(out[[0, 2]]).all()


def test_the_reference_is_the_same_function():
    x, values, links = inputs((4, 3, 6), 5, True)
    assert torch.equal(multilinear(x, values, links, "reference"), multilinear_reference(x[None], values, links)[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(4, 4), torch.zeros(2, 2, 2, 2, 1)), r"x must have shape \[N, D\] or \[B, N, D\] with D = 1, 2 or 3"),
        ((torch.zeros(4, 2), torch.zeros(3, 1)), r"values must have shape \[I, J, C\], got \[3, 1\]"),
        ((torch.zeros(2, 4, 1), torch.zeros(3, 5, 1)), r"values must have shape \[B=2, I, C\], got \[3, 5, 1\]"),
        ((torch.zeros(4, 2), torch.zeros(3, 1, 1)), r"at least 2 corners along each axis, got \[3, 1\]"),
        ((torch.zeros(4, 1), torch.zeros(3, 1), torch.zeros(3)), "links must be int32 on cpu, got torch.float32"),
        ((torch.zeros(2, 4, 1), torch.zeros(3, 1), torch.zeros(3).int()), "links are those of one grid"),
        ((torch.zeros(4, 1), torch.zeros(3, 1).double()), "values must be torch.float32 like the other arguments"),
    ],
)
def test_errors_in_words(arguments, message):
    with pytest.raises(ValueError, match=message):
        multilinear(*arguments)
