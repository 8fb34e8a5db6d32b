"""Sampling, field and compositing under torch.compile, where they are one graph that gives the same, and autocast."""

from __future__ import annotations

import pytest
import torch

from nerfcore.fields.ngp import NGPField
from nerfcore.ops.composite import composite
from nerfcore.ops.hash_grid import HashGridLevels, hash_grid
from nerfcore.ops.marching_cubes import marching_cubes
from nerfcore.ops.spherical_harmonics import spherical_harmonics
from nerfcore.renderer.volume import Marching, render_samples, sample_rays
from nerfcore.types import Samples
from tests.analytic import full_grid


@pytest.fixture
def field(backend, device):
    field = NGPField(num_levels=4, log2_table=10, finest=64, hidden=16, backend=backend)
    field.initialise(torch.Generator().manual_seed(0))
    with torch.no_grad():
        field.table.mul_(1e3)  # far from the flat start, so that rays differ
    return field.to(device)


def rays_into_the_box(device, n=12):
    generator = torch.Generator().manual_seed(1)
    origin = torch.rand(n, 3, generator=generator) - torch.tensor([1.5, 0.0, 0.0])
    target = 0.2 + 0.6 * torch.rand(n, 3, generator=generator)
    return origin.to(device), torch.nn.functional.normalize(target - origin, dim=-1).to(device)


@pytest.fixture
def step(backend, device, field):
    """step(origin, direction, capacity) returns a loss, the weights of samples, and ray_offsets."""
    grid = full_grid(backend=backend)
    grid.bits = grid.bits.to(device)
    lattice = Marching(step=0.01, cone_angle=0.0, near=0.1).lattice(grid)

    def step(origin, direction, capacity=None):
        samples = sample_rays(origin, direction, lattice, capacity=capacity, backend=backend)
        rgb, opacity, distance, weights = render_samples(field, origin, direction, samples, backend=backend)
        return rgb.square().mean() + opacity.mean() + distance.mean(), weights, samples.ray_offsets

    return step


def with_gradients(step, field, *arguments):
    loss, *others = step(*arguments)
    return loss, *others, *torch.autograd.grad(loss, list(field.parameters()))


@pytest.mark.parametrize("capacity", [None, 4000, 1000])
@pytest.mark.parametrize("half", [None, torch.bfloat16])
def test_a_render_loop_compiles_into_one_graph(backend, device, field, step, capacity, half):
    if backend == "reference":
        pytest.skip("the reference marches with loops that end when the data say so")
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")  # all of the compiler but its code generator
    for n in (12, 7):  # the second size is not the one that was traced
        rays = rays_into_the_box(device, n)
        with torch.autocast(device.type, half, enabled=half is not None):
            results = [with_gradients(run, field, *rays, capacity) for run in (step, compiled)]
        for eager, traced in zip(*results, strict=True):
            assert torch.equal(eager, traced)
    offsets = results[0][2]
    assert 500 < offsets[-1] <= (capacity or 4000)


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")  # the table, built once
def test_marching_cubes_compiles(backend, device):
    volume = torch.rand(5, 6, 7, generator=torch.Generator().manual_seed(0)).to(device)
    compiled = torch.compile(marching_cubes, backend="aot_eager")  # not one graph: whether the volume is finite is asked
    for traced, eager in zip(compiled(volume, 0.5, backend), marching_cubes(volume, 0.5, backend), strict=True):
        assert torch.equal(traced, eager)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_a_render_loop_under_autocast(backend, device, field, step, half):
    """The kernels compute in float32, so that nothing changes; matrix products that are torch's own are in halves."""
    rays = rays_into_the_box(device)
    expected = with_gradients(step, field, *rays)
    with torch.autocast(device.type, half):
        found = with_gradients(step, field, *rays)
    for f, e in zip(found, expected, strict=True):
        assert f.dtype == e.dtype and f.shape == e.shape and f.isfinite().all()
        if backend == "cpu":
            assert torch.equal(f, e)
    assert found[0].item() == pytest.approx(expected[0].item(), rel=0.05)  # halves have a few digits


LEVELS = HashGridLevels(num_levels=3, log2_table=8, coarsest=4, finest=16)
OPERATIONS = {  # with the shapes of what may come in halves
    "composite": (
        lambda sigma, rgb, **options: composite(sigma, rgb, three_samples(sigma.device), **options)[0],
        [(3,), (3, 3)],
    ),
    "hash_grid": (
        lambda x, table, **options: hash_grid(x, table.float(), LEVELS, **options),
        [(7, 3), (LEVELS.num_entries, LEVELS.features)],
    ),
    "spherical_harmonics": (lambda direction, **options: spherical_harmonics(direction, 3, **options), [(7, 3)]),
}


def three_samples(device):
    t = torch.arange(4.0, device=device)
    return Samples(t[:-1], t[1:], torch.tensor([0, 3], device=device))


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", OPERATIONS)
def test_autocast_hands_halves_over_as_floats(backend, device, half, name):
    operation, shapes = OPERATIONS[name]
    generator = torch.Generator().manual_seed(2)
    halves = [torch.rand(s, generator=generator).to(device, half).requires_grad_() for s in shapes]
    floats = [h.detach().float().requires_grad_() for h in halves]
    expected = operation(*floats, backend=backend)
    with torch.autocast(device.type, half):
        found = operation(*halves, backend=backend)
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    found.sum().backward()
    expected.sum().backward()
    for h, f in zip(halves, floats, strict=True):
        assert h.grad.dtype == half and torch.equal(h.grad, f.grad.to(half)) and h.grad.any()


def test_autocast_leaves_a_table_in_half_precision_as_it_is(kernel_backend):
    """Storage that was chosen is no leftover of autocast: it is what the operation reads, and keeps."""
    table = torch.rand(LEVELS.num_entries, LEVELS.features).half()
    kept = []
    with torch.autocast("cpu", torch.bfloat16), torch.autograd.graph.saved_tensors_hooks(kept.append, lambda _: None):
        hash_grid(torch.rand(7, 3, requires_grad=True), table, LEVELS, backend=kernel_backend)
    assert any(tensor.data_ptr() == table.data_ptr() for tensor in kept)


def test_halves_without_autocast_are_refused_in_words(kernel_backend):
    half = torch.rand(3).half()
    samples = Samples(half, half + 1, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"the kernels take float32 or float64, got torch.float16: convert with .float\(\)"):
        composite(half, half[:, None].expand(3, 3), samples, backend=kernel_backend)
