"""Hash-grid encoding: convention · backend = reference · gradcheck · half precision · properties · edges and errors."""

import itertools
import math
import shlex
import subprocess

import pytest
import torch

from nerfcore import _extension, _toolchain
from nerfcore.ops.hash_grid import HashGridLevels, hash_grid, hash_grid_reference
from nerfcore.testing import assert_matches

SHAPES = [
    HashGridLevels(3, 5, 2, 12, 4, 64),
    HashGridLevels(3, 4, 4, 10, 8, 100),
    HashGridLevels(2, 6, 8, 9, 3, 50),
    HashGridLevels(2, 3, 1, 14, 16, 32),
    HashGridLevels(3, 4, 2, 10, 4, 50, smooth=True),
]


def inputs(levels, n=300, dtype=torch.float32, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, levels.dims, generator=g, dtype=dtype), torch.randn(
        levels.num_entries, levels.features, generator=g, dtype=dtype
    )


def test_level_shapes_follow_tiny_cuda_nn():
    """Worked by hand: b = 2, scales 3, 7, 15; 4³ = 64 and 8³ = 512 corners are dense, 16³ = 4096 > 2^10 is hashed."""
    levels = HashGridLevels(3, 3, 2, 10, 4, 16)
    assert levels.scale == [3.0, 7.0, 15.0] and levels.resolution == [4, 8, 16] and levels.offset == [0, 64, 576, 1600]


def test_half_cell_offset_and_trilinear_weights(backend, device):
    """One dense level holding its corner's x coordinate interpolates x * scale + 0.5 exactly, a hashed one holds ones: weights sum to 1."""
    levels = HashGridLevels(3, 1, 1, 12, 4, 4)
    corners = torch.tensor(list(itertools.product(range(4), repeat=3)), dtype=torch.float32).flip(1)  # x fastest
    x = torch.rand(50, 3, generator=torch.Generator().manual_seed(1)) * 0.8
    out = hash_grid(x.to(device), corners[:, :1].contiguous().to(device), levels, backend=backend)
    assert torch.allclose(out[:, 0].cpu(), x[:, 0] * 3 + 0.5, atol=1e-6)
    hashed = HashGridLevels(3, 1, 1, 4, 64, 64)
    assert torch.allclose(
        hash_grid(x.to(device), torch.ones(16, 1, device=device), hashed, backend=backend).cpu(), torch.ones(50, 1)
    )


def test_hash_uses_the_paper_primes(backend, device):
    """At a cell's lower corner the value is the entry (i xor j 2654435761 xor k 805459861) mod T, in 32-bit arithmetic."""
    levels = HashGridLevels(3, 1, 1, 8, 65, 65)  # scale 64
    i, j, k = 5, 40, 63
    entry = (i ^ (j * 2654435761) % 2**32 ^ (k * 805459861) % 2**32) % 256
    table = torch.zeros(256, 1, device=device)
    table[entry] = 1
    x = (torch.tensor([[i, j, k]], dtype=torch.float64) - 0.5).div(64).float().to(device)
    assert hash_grid(x, table, levels, backend=backend).item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("levels", SHAPES, ids=str)
def test_matches_reference(backend, device, levels):
    x, table = inputs(levels)
    cotangent = torch.randn(len(x), levels.out_features, generator=torch.Generator().manual_seed(2))

    def run(dtype, function, device="cpu"):
        p, t = x.to(device, dtype).requires_grad_(), table.to(device, dtype).requires_grad_()
        out = function(p, t)
        return [out, *torch.autograd.grad((out * cotangent.to(out)).sum(), (p, t))]

    kernel = run(torch.float32, lambda *a: hash_grid(*a, levels, backend=backend), device)
    yardstick = run(torch.float32, lambda *a: hash_grid_reference(*a, levels))
    truth = run(torch.float64, lambda *a: hash_grid_reference(*a, levels))
    for name, k, y, t in zip(("out", "grad_x", "grad_table"), kernel, yardstick, truth, strict=True):
        assert_matches(k, y, t, what=name)


def inputs_inside_cells(levels, n, device):
    """Float64, clear of cell borders, where the derivative jumps."""
    x, table = inputs(levels, n, torch.float64)
    for scale in levels.scale:
        fraction = (x * scale + 0.5) % 1
        x = torch.where((fraction < 0.01) | (fraction > 0.99), x + 0.03 / max(levels.scale), x)
    return x.to(device).requires_grad_(), table.to(device).requires_grad_()


@pytest.mark.parametrize("levels", SHAPES, ids=str)
def test_gradcheck(backend, device, levels):
    function = lambda p, t: hash_grid(p, t, levels, backend=backend)  # noqa: E731
    assert torch.autograd.gradcheck(
        function, inputs_inside_cells(levels, 4, device), eps=1e-7, atol=1e-5, fast_mode=True
    )


@pytest.mark.parametrize("levels", SHAPES, ids=str)
def test_gradgradcheck(backend, device, levels):
    function = lambda p, t: hash_grid(p, t, levels, backend=backend)  # noqa: E731
    arguments = inputs_inside_cells(levels, 4, device)
    grad_out = torch.randn(4, levels.out_features, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    assert torch.autograd.gradgradcheck(
        function, arguments, grad_out.to(device).requires_grad_(), eps=1e-7, atol=1e-5, fast_mode=True
    )


@pytest.mark.parametrize("levels", SHAPES, ids=str)
def test_second_derivatives_match_the_reference(backend, device, levels):
    """Of all that NeuS asks for: how the gradient by x depends on x, on the table and on what comes behind."""
    x, table = inputs(levels)
    x[0] = 1.5  # clamped
    generator = torch.Generator().manual_seed(4)
    out, along = (torch.randn(len(x), n, generator=generator) for n in (levels.out_features, levels.dims))
    values = torch.randn(table.shape, generator=generator)

    def run(dtype, function, device="cpu"):
        p, t, g = (v.to(device, dtype).requires_grad_() for v in (x, table, out))
        first = torch.autograd.grad(function(p, t), (p, t), g, create_graph=True)
        return torch.autograd.grad(first, (p, t, g), [v.to(device, dtype) for v in (along, values)])

    kernel = run(torch.float32, lambda *a: hash_grid(*a, levels, backend=backend), device)
    yardstick, truth = (run(t, lambda *a: hash_grid_reference(*a, levels)) for t in (torch.float32, torch.float64))
    for name, k, y, t in zip(("x", "table", "grad_out"), kernel, yardstick, truth, strict=True):
        assert_matches(k, y, t, what=name)


def test_a_third_derivative_of_the_kernel_is_refused(kernel_backend):
    x, table = (t.requires_grad_() for t in inputs(SHAPES[0]))
    value = hash_grid(x, table, SHAPES[0], backend=kernel_backend).square().sum()
    (first,) = torch.autograd.grad(value, x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="has derivatives to the second order"):
        second.sum().backward()


# --- tables in half precision

HALVES = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("half", HALVES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("levels", SHAPES, ids=str)
def test_a_half_table_is_its_rounded_values(backend, device, levels, dtype, half):
    """Values and gradients by x are those of the rounded table; its master gets the gradient in full precision."""
    x, table = inputs(levels)
    stored = table.to(half)
    cotangent = torch.randn(len(x), levels.out_features, generator=torch.Generator().manual_seed(2))

    def run(dtype, device, read, master, function):
        p, m = x.to(device, dtype).requires_grad_(), master.to(device, dtype).requires_grad_()
        out = function(p, m if read is None else read.to(device), m)
        return out, *torch.autograd.grad(out, (p, m), cotangent.to(out))

    kernel = run(dtype, device, stored, table, lambda p, t, m: hash_grid(p, t, levels, backend, master=m))
    yardstick, truth = (
        run(t, "cpu", None, stored, lambda p, t, _: hash_grid_reference(p, t, levels)) for t in (dtype, torch.float64)
    )
    for name, k, y, t in zip(("out", "grad_x", "grad_master"), kernel, yardstick, truth, strict=True):
        assert k.dtype == dtype
        assert_matches(k, y, t, what=name, floor=1e-6 if dtype == torch.float32 else 1e-14)


@pytest.mark.parametrize("half", HALVES, ids=str)
@pytest.mark.parametrize("features", [1, 2, 4, 8])
def test_every_half_number_is_read_as_torch_reads_it(backend, device, features, half):
    """At corners of the grid, where one weight is 1 and the others are 0 but for a rounding; infinities, and what is no
    number, in a table of nothing else."""
    levels = HashGridLevels(2, 1, features, 16, 256, 256)
    numbers = torch.arange(-(2**15), 2**15).to(torch.int16).view(half).nan_to_num(0, 0, 0)
    y, x = (i.flatten().double() for i in torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij"))
    points = ((torch.stack((x, y), 1) - 0.5) / 255).clamp(0).float().to(device)  # position = corner
    table = numbers[:, None].expand(-1, features).contiguous()
    read = hash_grid(points, table.to(device), levels, backend=backend).cpu()
    inside = (x > 0) & (y > 0)
    torch.testing.assert_close(read[inside], table[inside].float(), rtol=1e-3, atol=0)
    for number in (math.inf, -math.inf, math.nan):
        table = torch.full_like(table, number)
        middle = hash_grid(torch.full((1, 2), 0.501, device=device), table.to(device), levels, backend=backend)
        torch.testing.assert_close(middle.cpu(), table[:1].float(), equal_nan=True)


def test_second_derivatives_reach_the_master(backend, device):
    levels = SHAPES[0]
    x, table = inputs(levels)
    stored = table.bfloat16()

    def run(dtype, function, device="cpu"):
        p, m = x.to(device, dtype).requires_grad_(), stored.to(device, dtype).requires_grad_()
        (slope,) = torch.autograd.grad(function(p, m).square().sum(), p, create_graph=True)
        return torch.autograd.grad(slope.norm(dim=1).sum(), m)[0]

    kernel = run(torch.float32, lambda p, m: hash_grid(p, stored.to(device), levels, backend, master=m), device)
    yardstick, truth = (run(t, lambda *a: hash_grid_reference(*a, levels)) for t in (torch.float32, torch.float64))
    assert_matches(kernel, yardstick, truth)


def test_a_half_table_alone_gets_a_rounded_gradient(backend, device):
    levels = SHAPES[0]
    x, table = (t.to(device) for t in inputs(levels))
    half = table.bfloat16().requires_grad_()
    full = half.detach().float().requires_grad_()
    for t in (half, full):
        hash_grid(x, t, levels, backend=backend).sin().sum().backward()
    assert half.grad.dtype == torch.bfloat16
    assert torch.allclose(half.grad.float(), full.grad, rtol=1e-2, atol=1e-6)


def test_linear_in_the_table(backend, device):
    levels = SHAPES[0]
    x, a = (t.to(device) for t in inputs(levels))
    _, b = (t.to(device) for t in inputs(levels, seed=7))
    encode = lambda t: hash_grid(x, t, levels, backend=backend)  # noqa: E731
    assert torch.allclose(encode(2 * a - b), 2 * encode(a) - encode(b), atol=1e-5)


def test_gradients_are_the_same_for_any_thread_count(kernel_backend):
    levels, threads = SHAPES[1], torch.get_num_threads()
    x, table = inputs(levels, 5000)
    grads = []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            p, t = x.clone().requires_grad_(), table.clone().requires_grad_()
            out = hash_grid(p, t, levels, backend=kernel_backend)
            grads.append(torch.autograd.grad(out.sin().sum(), (p, t)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in grads[1:] for a, b in zip(grads[0], other, strict=True))


def test_deterministic_gradients_repeat(backend, device):
    """Where a GPU sorts: as exact as without, the same bits again."""
    levels = SHAPES[0]
    x, table = (t.to(device) for t in inputs(levels, 5000))
    x[:1000] = x[0]  # a long list for a few entries

    def gradient():
        leaf = table.clone().requires_grad_()
        return torch.autograd.grad(hash_grid(x, leaf, levels, backend=backend).sin().sum(), leaf)[0]

    usual = gradient()
    torch.use_deterministic_algorithms(True)
    try:
        once, again = gradient(), gradient()
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(once, again)
    assert torch.allclose(once, usual, rtol=1e-4, atol=1e-3)


SORTED = r"""
#include "kernels/hash_grid_sorted.h"
#include <algorithm>
#include <cstdio>
#include <numeric>
#include <random>
#include <vector>

using namespace nerfcore;

// What csrc/kernels/hash_grid.cu does, lane after lane, against the kernel of the CPU.
template <int D, int F> int wrong(int64_t n, bool along) {
  GridLevels levels{3, {3.0f, 9.5f, 40.0f}, {4, 11, 41}, {}, F == 2};
  const uint32_t sizes[3] = {64, 1024, 256};  // dense, with gaps at the end; hashed, with collisions
  for (int l = 0; l < 3; ++l) levels.offset[l + 1] = levels.offset[l] + sizes[l];
  std::mt19937 random(7);
  std::uniform_real_distribution<double> uniform(-0.1, 1.1);
  std::vector<double> x(n * D), direction(n * D), grad_out(n * 3 * F), expected(levels.offset[3] * F), found(expected.size());
  for (auto* values : {&x, &direction, &grad_out})
    for (double& v : *values) v = uniform(random);
  for (int64_t i = 0; i < n / 2 * D; ++i) x[i] = x[i % D];  // half of the points are one
  HashGridBackward<double> p{levels, n, x.data(), along ? direction.data() : nullptr, {}, grad_out.data(), expected.data(), nullptr, nullptr};
  hash_grid_backward_cpu(p, D, F, 1);
  for (int l = 0; l < 3; ++l) {
    const SortedLevel<double, D, F> level{p, l};
    const int64_t parts = level.num_parts();
    std::vector<uint32_t> entry(parts), part(parts), order(parts), sorted_entry(parts), sorted_part(parts);
    for (int64_t i = 0; i < n; ++i) level.list(i, entry.data(), part.data());
    for (uint32_t e : entry)
      if (e >> bits_below(level.size())) return 1;
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return entry[a] < entry[b]; });
    for (int64_t i = 0; i < parts; ++i) sorted_entry[i] = entry[order[i]], sorted_part[i] = part[order[i]];
    for (uint32_t e = 0; e < level.size(); ++e) {
      const int64_t begin = first_not_below(sorted_entry.data(), parts, e), end = first_not_below(sorted_entry.data(), parts, e + 1);
      for (int64_t i = begin; i < end; ++i)
        if (sorted_entry[i] != e) return 2;
      for (int lane = 0; lane < kSumLanes; ++lane)
        level.add_parts(sorted_part.data(), begin, end, lane, &found[(levels.offset[l] + e) * F]);
    }
    if (first_not_below(sorted_entry.data(), parts, 0) != 0) return 3;
    if (first_not_below(sorted_entry.data(), parts, level.size()) != parts) return 4;
  }
  for (size_t i = 0; i < found.size(); ++i)
    if (std::abs(found[i] - expected[i]) > 1e-9 * (1 + std::abs(expected[i]))) return 5;
  return 0;
}

int main() {
  for (uint32_t size : {1u, 2u, 3u, 64u, 65u, 1u << 19, (1u << 19) + 8})
    if ((uint64_t(1) << bits_below(size)) < size || (size > 1 && (uint64_t(1) << (bits_below(size) - 1)) >= size)) return 6;
  for (int64_t n : {1, 2, 63, 1000})
    for (bool along : {false, true})
      if (int problem = std::max(wrong<3, 2>(n, along), wrong<2, 8>(n, along))) return problem;
}
"""


def test_sorted_sums_are_the_gradient(compiler, tmp_path):
    """The arithmetic of the sum that a GPU takes for equal bits, run on the host."""
    csrc = _extension.source_dir()
    (tmp_path / "sorted.cpp").write_text(SORTED)
    command = [*shlex.split(_toolchain.find_compiler()[0]), "-std=c++17", "-O1", "-fopenmp", "-I", str(csrc)]
    command += [str(tmp_path / "sorted.cpp"), str(csrc / "kernels" / "hash_grid.cpp"), "-o", str(tmp_path / "sorted")]
    subprocess.run(command, check=True, capture_output=True)
    assert subprocess.run([tmp_path / "sorted"]).returncode == 0


def test_no_points_and_points_outside(backend, device):
    levels = SHAPES[0]
    _, table = inputs(levels)
    table = table.to(device)
    assert hash_grid(torch.zeros(0, 3, device=device), table, levels, backend=backend).shape == (0, 10)
    x = torch.tensor([[-3.0, 0.5, 2.0], [1e30, -1e30, 0.2]], device=device, requires_grad=True)
    out = hash_grid(x, table, levels, backend=backend)
    assert torch.equal(out, hash_grid(x.detach().clamp(0, 1), table, levels, backend=backend))
    out.sum().backward()
    assert x.grad[0, 0] == 0 and x.grad[0, 2] == 0 and x.grad[1, 0] == 0


def test_nan_shows_in_its_own_row_only(backend, device):
    x, table = (t.to(device) for t in inputs(SHAPES[0], 3))
    x[1, 2] = math.nan
    out = hash_grid(x, table, SHAPES[0], backend=backend)
    assert torch.isnan(out[1]).all() and torch.isfinite(out[[0, 2]]).all()


def test_errors_in_words():
    with pytest.raises(ValueError, match=r"x must have shape \[N, D=3\], got \[4, 2\]"):
        hash_grid(torch.zeros(4, 2), torch.zeros(1, 2), SHAPES[0])
    with pytest.raises(ValueError, match="table must have shape"):
        hash_grid(torch.zeros(4, 3), torch.zeros(1, 2), SHAPES[0])
    x, table = inputs(SHAPES[0])
    with pytest.raises(ValueError, match="table must be torch.float32 like x, torch.float16 or torch.bfloat16, got torch.f"):
        hash_grid(x, table.double(), SHAPES[0])
    with pytest.raises(ValueError, match="master must be torch.float32 like the other arguments, got torch.float16"):
        hash_grid(x, table, SHAPES[0], master=table.half())
    with pytest.raises(ValueError, match="2 or 3 dims"):
        HashGridLevels(dims=4)
