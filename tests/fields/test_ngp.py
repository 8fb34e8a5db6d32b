"""NGPField: memory of a step · shapes and ranges · backend = reference · gradients · normals by differences · what rebuilds
it · tables in half precision · precision of products · levels that are held back."""

import copy
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nerfcore.fields import field_named
from nerfcore.fields.ngp import NGPField, seen_of_levels
from nerfcore.testing import assert_matches
from nerfcore.training.loss import modular_loss, photometric_loss
from nerfcore.training.optimizer import Adam
from nerfcore.types import SampleLattice, Samples

SMALL = dict(num_levels=3, features=2, log2_table=10, coarsest=4, finest=32, hidden=32)


def small_field(backend="reference", **overrides) -> NGPField:
    field = NGPField(**SMALL | overrides, backend=backend)
    generator = torch.Generator().manual_seed(0)
    field.initialise(generator)
    with torch.no_grad():
        field.table.normal_(0, 0.5, generator=generator)  # a field with shape; the initial one is flat to 1e-4
    return field


def points(n=400, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 3, generator=generator, dtype=dtype)
    return x, torch.nn.functional.normalize(torch.randn(n, 3, generator=generator, dtype=dtype), dim=-1)


def test_shapes_and_ranges(backend, device):
    field, (x, direction) = small_field(backend).to(device), points()
    sigma, embedding = field.density(x.to(device))
    rgb = field.color(embedding, direction.to(device))
    assert sigma.shape == (400,) and embedding.shape[0] == 400 and rgb.shape == (400, 3)
    assert (sigma > 0).all() and (rgb >= 0).all() and (rgb <= 1).all() and rgb.std() > 0.01
    assert field.density(x[:0].to(device))[0].shape == (0,)


def test_a_table_of_ray_directions_is_the_same_as_one_direction_each(backend, device):
    field, (x, direction) = small_field(backend).to(device), points()
    ray = torch.randint(10, (400,), generator=torch.Generator().manual_seed(2)).to(device)
    _, embedding = field.density(x.to(device))
    table = direction[:10].to(device)
    assert torch.allclose(field.color(embedding, table, ray), field.color(embedding, table[ray]), atol=1e-6)


def outputs_and_gradients(field, dtype, device="cpu"):
    field, (x, direction) = field.to(device, dtype), points()
    x = x.to(device, dtype).requires_grad_()
    sigma, embedding = field.density(x)
    rgb = field.color(embedding, direction.to(device, dtype))
    loss = sigma.log().sum() + (rgb * torch.linspace(-1, 1, 3).to(rgb)).sum()
    names, parameters = zip(*field.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, (x, *parameters))
    return dict(zip(("sigma", "rgb", "x", *names), (sigma, rgb, *gradients), strict=True))


def test_backend_matches_the_reference_and_gradient_reaches_every_parameter(backend, device):
    kernel = outputs_and_gradients(small_field(backend), torch.float32, device)
    yardstick = outputs_and_gradients(small_field(), torch.float32)
    truth = outputs_and_gradients(small_field(), torch.float64)
    assert len(kernel) == 3 + len(list(small_field().parameters()))
    for name, value in kernel.items():
        assert_matches(value, yardstick[name], truth[name], what=name)
        assert value.abs().max() > 0, name


def test_normals_are_minus_the_slope_of_the_density(backend, device):
    """Central differences in float64, at points where those of two widths agree: the density has kinks."""
    field, (x, _) = small_field(backend).double().to(device), points(dtype=torch.float64)
    x = (0.02 + 0.96 * x).to(device)

    def slope(h):
        shifts = h * torch.eye(3, dtype=x.dtype, device=x.device)
        return torch.stack([field.density(x + s)[0] - field.density(x - s)[0] for s in shifts], -1).detach() / (2 * h)

    near, far = slope(1e-6), slope(1e-5)
    smooth = (near - far).norm(dim=-1) < 1e-3 * near.norm(dim=-1)
    expected = -torch.nn.functional.normalize(near, dim=-1)
    assert smooth.float().mean() > 0.8
    assert torch.allclose(field.normal(x)[smooth], expected[smooth], atol=1e-3)
    assert all(p.grad is None for p in field.parameters())


def test_config_and_parameters_rebuild_the_field():
    field, (x, direction) = small_field(), points()
    again = field_named("ngp")(**json.loads(json.dumps(field.config)), backend="reference")
    again.load_state_dict(field.state_dict())
    for ours, theirs in zip(field.density(x), again.density(x), strict=True):
        assert torch.equal(ours, theirs)
    _, embedding = field.density(x)
    assert torch.equal(field.color(embedding, direction), again.color(embedding, direction))


HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def rounded_field(field: NGPField, backend: str) -> NGPField:
    """One in float32 that holds what the other reads."""
    same = NGPField(**field.config | {"table_storage": "float32"}, backend=backend)
    same.load_state_dict(field.state_dict())
    with torch.no_grad():
        same.table.copy_(field.table.to(HALVES[field.config["table_storage"]]))
    return same.to(field.table.device)


def lattice_and_rays(n=100):
    bits = torch.full((8,), 255, dtype=torch.uint8)
    noise = torch.rand(n, 7, generator=torch.Generator().manual_seed(3))
    return SampleLattice(bits, 4, 1, 0.02), *points(n), noise[:, 0], noise[:, 1:4], noise[:, 4:]


@pytest.mark.parametrize("storage", HALVES)
def test_half_storage_reads_the_rounded_table(backend, device, storage):
    field, (x, _) = small_field(backend, table_storage=storage).to(device), points()
    same, x = rounded_field(field, backend), x.to(device)
    slopes = []
    for f in (field, same):
        log_density = f.density(x)[0].log().sum()
        slopes.append(torch.autograd.grad(log_density, f.table)[0])
    assert torch.equal(field.density(x)[0], same.density(x)[0])
    assert slopes[0].dtype == torch.float32
    assert torch.allclose(slopes[0], slopes[1], atol=1e-5)
    assert not torch.equal(field.table, same.table)


@pytest.mark.parametrize("storage", HALVES)
def test_half_storage_in_the_fused_operations(kernel_backend, storage):
    field = small_field(kernel_backend, table_storage=storage)
    same = rounded_field(field, kernel_backend)
    lattice, origin, direction, *rest = lattice_and_rays()
    results = []
    for f in (field, same):
        loss, _, _, gradients = f.fused_loss(origin, direction, lattice, *rest, 4096)
        results.append([
            loss, gradients["table"].values, *f.fused_render(origin, direction, lattice, 0.0, 1e-4), f.sigma(origin)
        ])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_gradients_fade_alike_in_both_paths(kernel_backend):
    field, (lattice, *rays) = small_field(kernel_backend), lattice_and_rays()
    fused = photometric_loss(field, *rays[:2], lattice, *rays[2:], 4096, backend=kernel_backend, full_from=1.0)[3]
    fused = fused | {"table": fused["table"].values}
    whole, faded = (modular_loss(field, *rays[:2], lattice, *rays[2:], None, kernel_backend, None, f) for f in (0, 1.0))
    assert torch.equal(whole[0], faded[0])
    for name, gradient in fused.items():
        size = faded[3][name].abs().max()
        assert torch.allclose(gradient, faded[3][name], atol=1e-4 * size, rtol=1e-3), name
        assert (whole[3][name] - faded[3][name]).abs().max() > 0.05 * size


@pytest.mark.parametrize("storage", HALVES)
def test_what_half_storage_reads_is_never_stale(backend, device, storage):
    field, (x, _) = small_field(backend, table_storage=storage).to(device), points()
    other, x = small_field(backend, table_storage=storage).to(device), x.to(device)
    lattice, *rays = (v.to(device) for v in lattice_and_rays())

    def assert_fresh(field):
        assert torch.equal(field.stored_table(), field.table.to(HALVES[storage]))
        y, same = x.to(field.table), rounded_field(field, backend).to(field.table)
        assert torch.equal(field.sigma(y), same.sigma(y))

    optimizer = Adam(field.named_parameters(), backend)
    before = field.stored_table().clone()
    for _ in range(3):
        _, _, _, gradients = photometric_loss(field, *rays[:2], lattice, *rays[2:], 4096, backend=backend)
        optimizer.begin_step(1e-2)
        optimizer.step(gradients)
        assert_fresh(field)
    assert not torch.equal(before, field.stored_table())
    with torch.no_grad():
        field.table[3] = 7
    assert_fresh(field)
    other.stored_table()
    other.load_state_dict(field.state_dict())
    assert_fresh(other)
    assert torch.equal(other.stored_table(), field.stored_table())
    assert_fresh(copy.deepcopy(field))
    assert_fresh(field.double())


def test_half_storage_is_no_part_of_what_is_saved():
    field = small_field(table_storage="bfloat16")
    field.stored_table()
    assert field.state_dict().keys() == small_field().state_dict().keys()
    assert all(v.dtype == torch.float32 for v in field.state_dict().values())
    again = field_named("ngp")(**json.loads(json.dumps(field.config)), backend="reference")
    again.load_state_dict(field.state_dict())
    assert torch.equal(again.stored_table(), field.stored_table()) and again.stored_table().dtype == torch.bfloat16
    with pytest.raises(ValueError, match="table_storage must be float32, float16, bfloat16, got 'int8'"):
        small_field(table_storage="int8")


def test_precision_is_of_gpus(backend, device):
    """It is kept with the field, and changes no bit but on tensor cores."""
    (x, direction), same = (t.to(device) for t in points()), small_field(backend).to(device)
    for precision in ("tf32", "bf16", "fp16"):
        field = small_field(backend, precision=precision).to(device)
        assert field_named("ngp")(**json.loads(json.dumps(field.config))).config["precision"] == precision
        results = [(f.density(x)[1], f.color(f.density(x)[1], direction), f.sigma(x)) for f in (field, same)]
        for a, b in zip(*results, strict=True):
            assert torch.equal(a, b) if backend != "cuda" else torch.allclose(a, b, rtol=0.1, atol=0.1)
    with pytest.raises(ValueError, match="precision must be float32, tf32, bf16, fp16, got 'half'"):
        small_field(precision="half")


def test_initialisation_follows_the_generator():
    first, second = (NGPField(**SMALL) for _ in range(2))
    for field in (first, second):
        field.initialise(torch.Generator().manual_seed(5))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("value", [1e4, -1e4])
def test_extreme_parameters_give_finite_density_and_gradient(value):
    field, (x, _) = small_field(), points(50)
    with torch.no_grad():
        field.density_mlp[-1].fill_(value)
    sigma, _ = field.density(x)
    sigma.sum().backward()
    assert torch.isfinite(sigma).all() and all(torch.isfinite(p.grad).all() for p in [field.table, *field.density_mlp])


MEASURE = """
import torch
from nerfcore.fields.ngp import NGPField
from nerfcore.types import SampleLattice

field = NGPField(log2_table=12, finest=64)  # weights are zero: thin fog, in which light reaches every sample
occupied = torch.full((8,), 255, dtype=torch.uint8)

def step(rays, most):
    lattice = SampleLattice(occupied, 4, 1, 1e-3, max_samples=most)
    direction = torch.nn.functional.normalize(torch.randn(rays, 3), dim=-1)
    noise = torch.rand(rays), torch.rand(rays, 3), torch.rand(rays, 3)
    return len(field.fused_loss(torch.full((rays, 3), 0.5), direction, lattice, *noise, rays * most)[1])

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024

step(4, 4)
before = peak()
assert step(4096, 128) == 4096 * 128
print(peak() - before, field.step_bytes(4096 * 128, 128, torch.get_num_threads()))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_step_needs_no_more_memory_than_stated(kernels):
    """The worst case: every sample of every ray is kept. The bound must not be idle talk either."""
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    needed, bound = map(int, done.stdout.split())
    assert needed <= bound < 8 * needed


@pytest.mark.parametrize(("detail", "levels"), [(0.0, 4), (0.3, 6), (1.0, 8)])
def test_fine_levels_are_held_back(detail, levels):
    field = small_field(num_levels=8)
    gradients = {name: torch.ones_like(p) for name, p in field.named_parameters()}
    field.hold_back(gradients, detail)
    table, others = gradients.pop("table"), gradients.values()
    learns = field.levels.offset[levels]
    assert (table[:learns] == 1).all() and (table[learns:] == 0).all() and all((g == 1).all() for g in others)


# --- anti-aliasing


def test_levels_finer_than_a_pixel_count_for_less():
    """By the formula; all of a point's levels, none of a pixel's as wide as the box; the wider, the less."""
    field = small_field(antialias=True)
    width = torch.tensor([1e-9, 0.01, 0.1, 1.0, 1e9])
    left = seen_of_levels(field.levels, width)
    assert left.shape == (5, field.levels.out_features) and (left[0] == 1).all() and (left[-1] < 1e-6).all()
    assert (left.diff(dim=0) <= 0).all() and (left.diff(dim=1) <= 0).all()
    cells = field.levels.scale[1]
    sigma = 0.1 / 12**0.5
    assert left[2, 2].item() == pytest.approx(math.erf(1 / math.sqrt(8 * sigma**2 * cells**2)), rel=1e-5)


def test_widths_reach_the_density(backend, device):
    field, (x, direction) = small_field(backend, antialias=True).to(device), points(60)
    x, direction = x.to(device), direction.to(device)
    t = torch.full((60,), 2.0, device=device)
    samples, ray = Samples(t - 0.1, t + 0.1, torch.arange(61, device=device)), torch.arange(60, device=device)
    plain, _ = field.density(x)
    for spread, same in ((0.0, True), (0.05, False)):
        seen, _ = field.density_along(x, direction, ray, samples, torch.full((60,), spread, device=device))
        assert torch.allclose(seen, plain) == same
        assert torch.allclose(seen, field.density(x, torch.full((60,), 2 * spread, device=device))[0])
    assert field.fused_render(x, direction, SampleLattice(torch.full((8,), 255, dtype=torch.uint8), 4, 1, 0.1), 0, 0) is None
