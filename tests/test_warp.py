"""What a GPU runs, by warps that the host emulates: the lanes' index arithmetic and all that passes between them."""

from __future__ import annotations

import ctypes
import math
import shlex
import subprocess
from pathlib import Path

import pytest
import torch

from nerfcore import _extension, _toolchain
from nerfcore.ops.composite import composite_reference
from nerfcore.ops.march import longest_step, march_rays_reference
from nerfcore.ops.marching_cubes import kernel_table, marching_cubes_reference
from nerfcore.testing import assert_matches
from nerfcore.types import Samples
from tests.ops.test_composite import packed
from tests.ops.test_march import random_case

SOURCE = Path(__file__).with_name("warp.cpp")


@pytest.fixture(scope="module")
def warp(tmp_path_factory):
    """Calls a function of warp.cpp with tensors, integers and floats."""
    compiler, _ = _toolchain.find_compiler()
    library = tmp_path_factory.mktemp("warp") / "warp.so"
    command = [*shlex.split(compiler), "-std=c++17", "-shared", "-fPIC", "-I", str(_extension.source_dir()), *_toolchain.host_flags()]
    subprocess.run([*command, str(SOURCE), "-o", str(library)], check=True)
    functions = ctypes.CDLL(str(library))

    def convert(value):
        if value is None or isinstance(value, torch.Tensor):
            assert value is None or value.is_contiguous()
            return ctypes.c_void_p(None if value is None else value.data_ptr())
        return (ctypes.c_double if isinstance(value, float) else ctypes.c_int64)(value)

    def call(name, *arguments):
        getattr(functions, name)(*map(convert, arguments))

    return call


def uninitialised(*shape, dtype=torch.float32):
    return torch.full(shape, 7, dtype=dtype)


# --- composite: consecutive samples of a ray in the lanes


def composite_by(warp, lanes, sigma, rgb, samples, stop_below, cotangents):
    rays, n = samples.num_rays, len(sigma)
    outs = uninitialised(rays, 3), uninitialised(rays), uninitialised(rays), uninitialised(n), uninitialised(n)
    where = lanes, rays, n, samples.ray_offsets
    warp("composite_forward", *where, sigma, rgb, samples.t_start, samples.t_end, stop_below, *outs)
    grads = uninitialised(n), uninitialised(n, 3)
    warp("composite_backward", *where, rgb, samples.t_start, samples.t_end, *outs[3:], *cotangents, *grads)
    return [*outs[:4], *grads]


@pytest.mark.parametrize("lanes", [8, 32])
@pytest.mark.parametrize("density", [20.0, 200.0])  # the rays of the second end before their last sample
@pytest.mark.parametrize("counts", [[5], [0, 3, 0, 40, 1], [7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 200]])
def test_composite_matches_the_reference(warp, lanes, density, counts):
    sigma, rgb, samples = packed(counts, density=density)
    shapes = (len(counts), 3), (len(counts),), (len(counts),), sigma.shape
    cotangents = [torch.rand(s, generator=torch.Generator().manual_seed(9)) for s in shapes]

    def reference(dtype):
        s, c = sigma.to(dtype).requires_grad_(), rgb.to(dtype).requires_grad_()
        out = composite_reference(s, c, Samples(samples.t_start.to(dtype), samples.t_end.to(dtype), samples.ray_offsets))
        return [*out, *torch.autograd.grad(sum((o * w.to(o)).sum() for o, w in zip(out, cotangents, strict=True)), (s, c))]

    found = composite_by(warp, lanes, sigma, rgb, samples, 1e-4, cotangents)
    names = "rgb opacity distance weights grad_sigma grad_rgb".split()
    for name, f, y, t in zip(names, found, reference(torch.float32), reference(torch.float64), strict=True):
        assert_matches(f, y, t, what=name)


@pytest.mark.parametrize("lanes", [8, 32])
@pytest.mark.parametrize("end", [1, 2, 7, 8, 9, 31, 32, 33, 40])
def test_composite_ends_a_ray_where_the_light_does(warp, lanes, end):
    """Half of the light passes each sample; what lies behind the end is not looked at. Gradients that are zero are null."""
    n = 45
    rgb = torch.ones(n, 3)
    rgb[end:] = math.nan
    t = torch.arange(n + 1.0)
    samples = Samples(t[:-1].contiguous(), t[1:].contiguous(), torch.tensor([0, n]))
    cotangents = None, torch.ones(1), None, None
    sigma = torch.full((n,), math.log(2))
    color, opacity, _, weights, grad_sigma, grad_rgb = composite_by(
        warp, lanes, sigma, rgb, samples, 0.75 * 0.5 ** (end - 1), cotangents
    )
    assert (weights != 0).tolist() == [i < end for i in range(n)]
    assert opacity.item() == pytest.approx(1 - 0.5**end) and color[0].tolist() == pytest.approx([1 - 0.5**end] * 3)
    assert not grad_sigma[end:].any() and not grad_rgb.any()


@pytest.mark.parametrize("lanes", [8, 32])
@pytest.mark.parametrize("unowned", [1, 31, 1023, 1024, 5000])
def test_composite_clears_what_belongs_to_no_ray(warp, lanes, unowned):
    sigma, rgb, samples = packed([5, 0, 40])
    offsets = samples.ray_offsets
    sigma, rgb, t_start, t_end = (
        torch.cat([x, torch.full((unowned, *x.shape[1:]), math.nan)]) for x in (sigma, rgb, samples.t_start, samples.t_end)
    )
    found = composite_by(warp, lanes, sigma, rgb, Samples(t_start, t_end, offsets), 1e-4, (torch.ones(3, 3), None, None, None))
    assert all(x.isfinite().all() for x in found)
    assert not any(x[45:].any() for x in found[3:])


# --- march: consecutive intervals of a ray in the lanes, kept by counting the bits in front


def march_by(warp, lanes, case, resolution, cascades, step, cone_angle, max_samples, capacity):
    origin, direction, near, far, bits, jitter = case
    rays = len(origin)
    end, offsets = uninitialised(rays, dtype=torch.int64), uninitialised(rays + 1, dtype=torch.int64)
    t_start, t_end = torch.zeros(capacity), torch.zeros(capacity)
    warp(
        "march", lanes, rays, origin, direction, near, far, jitter, bits, resolution, cascades, step,
        longest_step(step, resolution), cone_angle, max_samples, capacity, end, offsets, t_start, t_end,
    )
    return Samples(t_start, t_end, offsets, end[-1])


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("cone_angle", [0.0, 1 / 128, 0.05, 0.3])
@pytest.mark.parametrize("resolution, cascades, filled", [(16, 1, 0.3), (16, 2, 0.02), (64, 3, 0.05), (8, 5, 0.5), (4, 1, 1.0)])
def test_march_finds_the_steps_of_the_reference(warp, lanes, cone_angle, resolution, cascades, filled):
    case = random_case(seed=cascades, num_rays=150, resolution=resolution, cascades=cascades, filled=filled)
    *rays, bits, jitter = case
    for step in (math.sqrt(3) / 256, 0.05):
        expected = march_rays_reference(*rays, bits, resolution, cascades, step, cone_angle, jitter)
        found = march_by(warp, lanes, case, resolution, cascades, step, cone_angle, 1024, len(expected))
        assert torch.equal(found.ray_offsets, expected.ray_offsets)
        assert torch.equal(found.t_start, expected.t_start) and torch.equal(found.t_end, expected.t_end)


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("max_samples", [1, 5, 8, 9])
@pytest.mark.parametrize("capacity", [0, 1, 100, 333, 10_000])
def test_march_keeps_the_nearest_samples_and_the_first_rays(warp, lanes, max_samples, capacity):
    case = random_case(seed=7)
    *rays, bits, jitter = case
    every = march_rays_reference(*rays, bits, 16, 1, 0.01, 0.0, jitter, max_samples)
    found = march_by(warp, lanes, case, 16, 1, 0.01, 0.0, max_samples, capacity)
    used = max(int(end) for end in every.ray_offsets if end <= capacity)
    assert found.found == len(every) and found.ray_offsets.tolist() == every.ray_offsets.clamp(max=used).tolist()
    for t, expected in ((found.t_start, every.t_start), (found.t_end, every.t_end)):
        assert torch.equal(t[:used], expected[:used]) and not t[used:].any()


# --- marching cubes: samples, words and cells of a row in the lanes


@pytest.mark.parametrize("shape", [(2, 2, 2), (5, 4, 3), (3, 9, 64), (4, 3, 65), (3, 3, 131), (17, 3, 63), (2, 3, 2300)])
@pytest.mark.parametrize("rough", [True, False])
def test_marching_cubes_gives_the_mesh_of_the_reference(warp, shape, rough):
    volume = torch.randn(shape, generator=torch.Generator().manual_seed(7))
    if not rough:  # words that nothing crosses, between few that something does
        volume = (torch.arange(shape[2]) % 100 - 50.3).expand(shape) + 20 * volume[..., :1]
    expected_vertices, expected_faces = marching_cubes_reference(volume, 0.1)
    rows, volume, table = shape[0] * shape[1], volume.contiguous(), kernel_table()
    inside = uninitialised(rows, (shape[2] - 2) // 63 + 1, dtype=torch.int64)
    finite, crossed, triangles = torch.zeros(rows, dtype=torch.bool), *(uninitialised(n, dtype=torch.int64) for n in (3 * rows, rows))
    warp("scan_rows", *shape, volume, 0.1, table, inside, finite, crossed, triangles)
    assert finite.all()
    vertex_offset, face_offset = (torch.nn.functional.pad(n.cumsum(0), (1, 0)) for n in (crossed, triangles))
    vertices, faces = uninitialised(int(vertex_offset[-1]), 3), uninitialised(int(face_offset[-1]), 3, dtype=torch.int64)
    warp("emit_rows", *shape, volume, 0.1, table, inside, vertex_offset, face_offset, vertices, faces)
    assert torch.equal(vertices, expected_vertices) and torch.equal(faces, expected_faces)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("z", [0, 31, 32, 62, 63, 129])
def test_marching_cubes_sees_a_value_that_is_not_finite(warp, value, z):
    volume = torch.zeros(2, 3, 130)
    volume[1, 1, z] = value
    finite, counts = torch.zeros(6, dtype=torch.bool), [uninitialised(n, dtype=torch.int64) for n in (18, 18, 6)]
    warp("scan_rows", 2, 3, 130, volume, 0.5, kernel_table(), counts[0], finite, *counts[1:])
    assert finite.tolist() == [row != 4 for row in range(6)]
