"""Small MLP: worked example · backend = reference · low precisions · gradcheck · properties · edges and errors."""

import pytest
import torch

from nerfcore.ops.mlp import ACTIVATIONS, PRECISIONS, mlp, mlp_reference
from nerfcore.testing import assert_matches
from tests.rounded_mlp import rounded_mlp

WIDTHS = [(32, 64, 16), (32, 64, 64, 3), (3, 5, 7), (10, 4), (17, 128, 33, 1)]


def network(widths, rows=250, dtype=torch.float32, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, widths[0], generator=g, dtype=dtype)
    return x, [torch.randn(i, o, generator=g, dtype=dtype) / i**0.5 for i, o in zip(widths, widths[1:], strict=False)]


def test_worked_example(backend, device):
    """relu([1, -2] I) = [1, 0]; summed 1; sigmoid(1) = 0.731."""
    out = mlp(
        torch.tensor([[1.0, -2.0]], device=device),
        [torch.eye(2, device=device), torch.ones(2, 1, device=device)],
        "sigmoid",
        backend=backend,
    )
    assert out.item() == pytest.approx(0.7310586, abs=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("rows", [1, 96, 2000])
def test_matches_reference(backend, device, widths, activation, rows):
    x, weights = network(widths, rows)
    cotangent = torch.randn(rows, widths[-1], generator=torch.Generator().manual_seed(3))

    def run(dtype, function, device="cpu"):
        leaves = [t.to(device, dtype).requires_grad_() for t in (x, *weights)]
        out = function(leaves[0], leaves[1:], activation)
        return [out, *torch.autograd.grad((out * cotangent.to(out)).sum(), leaves)]

    kernel = run(torch.float32, lambda *a: mlp(*a, backend=backend), device)
    yardstick, truth = run(torch.float32, mlp_reference), run(torch.float64, mlp_reference)
    floor = 2e-5 if rows == 1 else 1e-6  # one number alone may come out right by luck, and so be no yardstick
    for i, (k, y, t) in enumerate(zip(kernel, yardstick, truth, strict=True)):
        assert_matches(k, y, t, floor, what=f"{'out x'.split()[i] if i < 2 else f'weights[{i - 2}]'}")


@pytest.mark.parametrize("precision", PRECISIONS[1:])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("rows, activation", [(1, "none"), (300, "exp"), (128, "relu"), (30000, "sigmoid")])
def test_low_precision(backend, device, widths, precision, rows, activation):
    """No worse than rounding alone makes it, and the same bits again. Backends that do not round are better."""
    x, weights = network(widths, rows)
    cotangent = torch.randn(rows, widths[-1], generator=torch.Generator().manual_seed(3))

    def run():
        leaves = [t.to(device).requires_grad_() for t in (x, *weights)]
        out = mlp(leaves[0], leaves[1:], activation, precision, backend)
        return [out, *torch.autograd.grad(out, leaves, cotangent.to(device))]

    yardstick, truth = (rounded_mlp(x, weights, cotangent, activation, p) for p in (precision, "float64"))
    for i, (k, again, y, t) in enumerate(zip(run(), run(), yardstick, truth, strict=True)):
        # the floor is for a yardstick that comes out right by luck, as one number alone may
        assert_matches(k, y, t, 2e-5, what=f"{'out x'.split()[i] if i < 2 else f'weights[{i - 2}]'}")
        assert torch.equal(k, again)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_gradcheck(kernel_backend, widths, activation):
    x, weights = network(widths, 5, torch.float64)
    leaves = [t.requires_grad_() for t in (x, *weights)]
    assert torch.autograd.gradcheck(lambda x, *w: mlp(x, w, activation, backend=kernel_backend), leaves, fast_mode=True)


@pytest.mark.parametrize("activation", ["none", "sigmoid"])
def test_gradgradcheck(backend, device, activation):
    x, weights = network((4, 8, 3), 5, torch.float64)
    leaves = [t.to(device).requires_grad_() for t in (x, *weights)]
    assert torch.autograd.gradgradcheck(lambda x, *w: mlp(x, w, activation, backend=backend), leaves)


def test_rows_are_independent(backend, device):
    x, weights = network((32, 64, 16), 333)
    x, weights = x.to(device), [w.to(device) for w in weights]
    order = torch.randperm(333, generator=torch.Generator().manual_seed(1)).to(device)
    assert torch.allclose(mlp(x, weights, backend=backend)[order], mlp(x[order], weights, backend=backend), atol=1e-6)


def test_same_bits_for_any_thread_count(kernel_backend):
    x, weights = network((32, 64, 64, 3), 5000)
    threads, grads = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            w = [t.clone().requires_grad_() for t in weights]
            mlp(x, w, backend=kernel_backend).sin().sum().backward()
            grads.append(torch.cat([t.grad.flatten() for t in w]))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(grads[0], grads[1]) and torch.equal(grads[0], grads[2])


def test_activations_too_large_to_keep(kernel_backend):
    def passes(x, w):
        x, w = x.clone().requires_grad_(), [t.clone().requires_grad_() for t in w]
        out = mlp(x, w, backend=kernel_backend)
        out.sin().sum().backward()
        return out.detach(), x.grad, torch.cat([t.grad.flatten() for t in w])

    x, weights = network((2, 512, 2), 1 << 18)  # 512 MiB of activations
    out, grad_x, grad_weights = passes(x, weights)
    parts = [passes(part, weights) for part in x.split(x.shape[0] // 8)]
    assert torch.equal(out, torch.cat([p[0] for p in parts])) and torch.equal(grad_x, torch.cat([p[1] for p in parts]))
    total = sum(p[2].double() for p in parts)
    assert torch.allclose(grad_weights.double(), total, rtol=1e-4, atol=1e-5 * total.abs().max().item())


def test_no_rows_and_nan(backend, device):
    x, weights = network((32, 64, 16), 4)
    x, weights = x.to(device), [w.to(device).requires_grad_() for w in weights]
    empty = mlp(x[:0], weights, backend=backend)
    assert empty.shape == (0, 16)
    empty.sum().backward()
    assert not weights[0].grad.any()
    x[2, 0] = float("nan")
    out = mlp(x, weights, backend=backend)
    assert torch.isfinite(out[[0, 1, 3]]).all()
    assert torch.isnan(out[2]).all()


def test_errors_in_words():
    x, weights = network((32, 64, 16), 4)
    with pytest.raises(ValueError, match=r"weights\[1\] must have shape \[I=64, O\], got \[16, 64\]"):
        mlp(x, [weights[0], weights[1].T])
    with pytest.raises(ValueError, match="activation must be one of none, sigmoid, exp, relu"):
        mlp(x, weights, "tanh")
    with pytest.raises(ValueError, match="precision must be one of float32, tf32, bf16, fp16"):
        mlp(x, weights, precision="int8")
    with pytest.raises(ValueError, match="at least one matrix"):
        mlp(x, [])


def test_other_types_are_computed_in_themselves(backend, device):
    x, weights = network((32, 64, 16), 40, torch.float64)
    x, weights = x.to(device), [w.to(device) for w in weights]
    assert torch.equal(mlp(x, weights, precision="bf16", backend=backend), mlp(x, weights, backend=backend))


def test_networks_beyond_the_tensor_cores(backend, device):
    """Wide and deep ones are refused in words where they would be fused, and computed elsewhere."""
    wide = torch.ones(4, 32), [torch.ones(32, 256), torch.ones(256, 1)]
    deep = torch.ones(4, 32), [torch.eye(32)] * 17
    for (x, weights), words in ((wide, "hidden widths of at most 128, got 256"), (deep, "take 2 to 16 matrices, got 17")):
        x, weights = x.to(device), [w.to(device) for w in weights]
        if backend == "cuda":
            with pytest.raises(RuntimeError, match=f"{words}; use precision float32"):
                mlp(x, weights, precision="bf16", backend=backend)
        else:
            assert torch.equal(mlp(x, weights, precision="bf16", backend=backend), mlp_reference(x, weights))
