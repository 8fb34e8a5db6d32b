"""The CUDA MLP without a GPU: the code of its thread blocks on an emulated one (emulated_block.h), against the network with its
numbers rounded as tensor cores get them · same bits for any place of its data · rounding · sanitizers of memory and of threads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from nerfcore import _toolchain
from nerfcore.ops.mlp import ACTIVATIONS, PRECISIONS
from nerfcore.testing import assert_matches
from tests.conftest import absent
from tests.rounded_mlp import rounded, rounded_mlp

HERE = Path(__file__).resolve().parent
LOW = PRECISIONS[1:]
WIDTHS = [(32, 64, 64, 16), (3, 5, 7), (17, 128, 33, 1), (40, 16, 16, 16, 200), (150, 20, 30, 4), (140, 128, 140)]


def build(folder: Path, *flags: str) -> Path:
    program = folder / "mlp_fused"
    words = [_toolchain.find_compiler()[0], "-std=c++17", "-O1", "-ffp-contract=off", "-pthread", *flags]
    result = subprocess.run(
        [*words, "-I", str(HERE.parents[1] / "csrc"), str(HERE / "mlp_fused.cpp"), "-o", str(program)],
        capture_output=True,
        text=True,
    )
    if flags and "cannot find" in result.stderr:
        absent("sanitizers", f"the compiler has no library for {' '.join(flags)}")
    assert result.returncode == 0, result.stderr
    return program


def launch(program, x, weights, grad_out, activation, precision, shared_bytes=227 * 1024, blocks=2):
    """[out, grad_x, grad of each weight] of the kernels; inference without stored activations must give the same bits."""
    widths = [x.shape[1], *(w.shape[1] for w in weights)]
    numbers = [PRECISIONS.index(precision), list(ACTIVATIONS).index(activation), shared_bytes, blocks, len(x), len(weights), *widths]
    source, target = program.with_name("in"), program.with_name("out")
    tensors = [torch.tensor(numbers, dtype=torch.int32), *(t.float() for t in (x, grad_out, *weights))]
    source.write_bytes(b"".join(t.numpy().tobytes() for t in tensors))
    result = subprocess.run([program, source, target], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    like = [grad_out, grad_out, x, *weights]
    flat = torch.frombuffer(bytearray(target.read_bytes()), dtype=torch.float32).split([t.numel() for t in like])
    out, inferred, *grads = (t.view_as(shape) for t, shape in zip(flat, like, strict=True))
    assert torch.equal(out.view(torch.int32), inferred.view(torch.int32))
    return [out, *grads]


def network(widths, rows, seed=0):
    g = torch.Generator().manual_seed(seed)
    x, grad_out = (torch.randn(rows, n, generator=g) for n in (widths[0], widths[-1]))
    return x, [torch.randn(i, o, generator=g) / i**0.5 for i, o in zip(widths, widths[1:], strict=False)], grad_out


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("emulated"))


@pytest.mark.parametrize("precision", LOW)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("rows, activation", [(1, "none"), (200, "sigmoid"), (300, "exp"), (128, "relu")])
def test_matches_rounded_network(program, widths, precision, rows, activation):
    inputs = network(widths, rows)
    kernel = launch(program, *inputs, activation, precision)
    yardstick, truth = (rounded_mlp(*inputs, activation, p) for p in (precision, "float64"))
    for i, (k, y, t) in enumerate(zip(kernel, yardstick, truth, strict=True)):
        what = f"{'out x'.split()[i] if i < 2 else f'weights[{i - 2}]'}"
        assert_matches(k, y, t, what=what)
        # they round at the same places: only sums that fall on either side of a half differ, and those are rare
        if rows > 1:
            assert (k - y).norm() <= 0.25 * (y - t).norm() + 1e-6 * t.norm(), what


@pytest.mark.parametrize("precision", LOW)
def test_same_bits_wherever_the_data_lie(program, precision):
    """Weights and sums in shared memory, only the weights, neither: 227, 110 and 0 KB hold them."""
    inputs = network((40, 64, 64, 20), 300)
    kib = {"tf32": (227, 110, 0), "bf16": (227, 64, 0), "fp16": (227, 64, 0)}[precision]
    one, two, three = (torch.cat([t.flatten() for t in launch(program, *inputs, "none", precision, k * 1024)]) for k in kib)
    assert torch.equal(one, two) and torch.equal(one, three)


@pytest.mark.parametrize("precision", LOW)
def test_rounds_to_nearest(program, precision):
    """Identities as weights leave numbers as they were rounded: halves, the last before a power of two, numbers below the normal."""
    halves = [1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11, 1 + 3 * 2**-11]
    small = [2**-14, 2**-14 - 2**-26, 3 * 2**-25, 2**-24, 5 * 2**-26, 0]
    numbers = torch.tensor([*halves, 2 - 2**-13, 65504, 65519, *small])
    x = torch.zeros(len(numbers), 16)
    x[:, 5] = numbers
    out, *_ = launch(program, x, [torch.eye(16), torch.eye(16)], torch.zeros_like(x), "none", precision, blocks=1)
    assert torch.equal(out.double(), rounded(x.double(), precision))


@pytest.mark.parametrize("precision", LOW)
@pytest.mark.parametrize("size", [2.0**-60, 2.0**30, 0.0])
def test_gradients_of_any_size(program, precision, size):
    """A power of two changes no digit, also where half precision could not hold the numbers as they are."""
    x, weights, grad_out = network((17, 64, 40, 3), 200)
    out, *one = launch(program, x, weights, grad_out, "sigmoid", precision)
    again, *other = launch(program, x, weights, size * grad_out, "sigmoid", precision)
    assert torch.equal(out, again) and all(torch.equal(size * a, b) for a, b in zip(one, other, strict=True))
    assert all(t.any() for t in one)


@pytest.mark.parametrize("precision", LOW)
def test_bad_numbers_stay_in_their_rows(program, precision):
    """Rows of 33 numbers: what is read beyond their end is padding, not the next row."""
    x, weights, grad_out = network((33, 64, 16), 40)
    x[17, 0], grad_out[3, 5], grad_out[4, 0] = float("nan"), float("inf"), float("nan")
    out, grad_x, *_ = launch(program, x, weights, grad_out, "sigmoid", precision)
    assert torch.equal(torch.arange(40)[~out.isfinite().all(1)], torch.tensor([17]))
    assert torch.equal(torch.arange(40)[~grad_x.isfinite().all(1)], torch.tensor([3, 4, 17]))


@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_sanitizers_find_nothing(tmp_path, sanitizer):
    """No access beyond a buffer, and between warps none without a barrier, with data in shared memory and without."""
    program = build(tmp_path, "-g1", f"-fsanitize={sanitizer}")
    for precision in ("bf16", "tf32"):
        launch(program, *network((40, 32, 32, 32, 50), 200), "exp", precision)
    launch(program, *network((17, 128, 33, 1), 100), "exp", "fp16", shared_bytes=0)
