"""What holds of every field that a command or a saved model can name."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize
from torch.utils._pytree import tree_leaves

from nerfcore import fields
from nerfcore.errors import NerfcoreError
from nerfcore.fields.base import Field, field_named
from nerfcore.training.checkpoint import read_tensors, write_tensors
from nerfcore.types import TouchedGradient

NAMES = sorted({path.stem for path in Path(fields.__file__).parent.glob("[!_]*.py")} - {"base"})
HASHED = dict(num_levels=3, features=2, log2_table=10, coarsest=4, finest=32, hidden=16)
SMALL = {
    "backdrop": dict(inner="ngp", inner_config=HASHED, num_levels=2, log2_table=8, finest=16, hidden=8),
    "frequency": dict(octaves=3, view_octaves=2, depth=4, width=16),
    "nerf": dict(num_samples=(8, 8), octaves=3, view_octaves=2, depth=4, width=16),
    "neus": HASHED,
    "ngp": HASHED,
    "plenoxels": dict(resolution=16, coarsest=8),
    "tensorf": dict(resolution=16, coarsest=8, density_features=2, color_features=3, appearance=5, hidden=16),
    "triplane": dict(resolution=16, coarsest=8, features=4, hidden=16),
    "unbounded": dict(inner="ngp", inner_config=HASHED, num_samples=(8, 6), proposal_finest=(32,)),
}
"""Constructor's arguments for tests: a field that is not here has its defaults."""


@pytest.mark.parametrize("name", NAMES)
def test_a_field_has_the_name_of_its_file(name):
    kind = fields.field_named(name)
    assert kind.name == name and kind.__module__ == f"nerfcore.fields.{name}"


def test_an_unknown_field_is_refused_and_the_others_named():
    with pytest.raises(NerfcoreError, match=f"there is no field 'base'; choose {', '.join(NAMES)}"):
        fields.field_named("base")


def new(name: str, backend: str = "auto") -> Field:
    return field_named(name)(**SMALL.get(name, {}), backend=backend)


@pytest.fixture(params=NAMES)
def name(request) -> str:
    if getattr(field_named(request.param), "density", None) in (None, Field.density):
        pytest.skip("no density: not a field of space")
    return request.param


def learned(name: str, backend: str = "auto", device="cpu") -> Field:
    """The field with parameters as training might leave them, far from where they begin."""
    field, generator = new(name, backend), torch.Generator().manual_seed(0)
    field.initialise(generator)
    with torch.no_grad():
        for parameter in field.parameters():
            scale = 0.3 if parameter.abs().max() == 0 else float(parameter.abs().mean())
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return field.to(device)


def points(n: int = 200) -> torch.Tensor:
    """In the box, its corners among them."""
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    return torch.cat([corners, torch.rand(n, 3, generator=torch.Generator().manual_seed(1))])


def directions(n: int) -> torch.Tensor:
    return normalize(torch.randn(n, 3, generator=torch.Generator().manual_seed(2)), dim=-1)


def look(field: Field, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Density and colour of points, each seen along a direction of its own."""
    density, embedding = field.density(x)
    return density, field.color(embedding, directions(len(x)).to(x))


def test_densities_and_colours_are_in_their_ranges(name, backend, device):
    field, x = learned(name, backend, device), points().to(device)
    density, color = look(field, x)
    assert density.shape == (len(x),) and color.shape == (len(x), 3)
    assert torch.isfinite(density).all() and density.min() >= 0 and density.std() > 0
    assert torch.isfinite(color).all() and color.min() >= 0 and color.max() <= 1 and color.std() > 0
    torch.testing.assert_close(field.sigma(x), density.detach(), rtol=1e-4, atol=1e-6)
    normal = field.normal(x[8:])
    assert normal.shape == x[8:].shape and torch.isfinite(normal).all() and (normal.norm(dim=-1) < 1 + 1e-5).all()
    no_density, no_embedding = field.density(x[:0])
    assert no_density.shape == (0,) and field.color(no_embedding, directions(0).to(x)).shape == (0, 3)


def test_points_of_a_ray_share_its_direction(name):
    field, x, rays = learned(name), points(), directions(5)
    ray_indices = torch.arange(len(x)) % 5
    _, embedding = field.density(x)
    torch.testing.assert_close(field.color(embedding, rays, ray_indices), field.color(embedding, rays[ray_indices]))


def test_points_outside_the_box_have_values_too(name, backend, device):
    """They belong to nothing, but a ray may touch the border, and rounding may lift it across."""
    far = torch.tensor([[-0.2, 0.5, 0.5], [0.5, 1.5, 0.5], [3.0, -4.0, 100.0], [1 + 1e-6, 1.0, 0.0]], device=device)
    field = learned(name, backend, device)
    density, color = look(field, far)
    assert torch.isfinite(density).all() and density.min() >= 0
    assert torch.isfinite(color).all() and color.min() >= 0 and color.max() <= 1
    if field.bounded:
        torch.testing.assert_close(density[3], look(field, far[3:].clamp(0, 1))[0][0], rtol=1e-3, atol=1e-5)


def loss_of(field: Field, x: torch.Tensor) -> torch.Tensor:
    density, color = look(field, x)
    loss = density.log1p().sum() + (color * torch.tensor([1.0, -0.5, 2.0]).to(x)).sum()
    if field.has_sky:
        loss = loss + field.sky(directions(len(x)).to(x)).square().sum()
    if not field.marches:
        _, proposed = field.place_samples(torch.full((len(x), 3), 0.5).to(x), directions(len(x)).to(x))
        learned = (t for t in tree_leaves(proposed) if isinstance(t, torch.Tensor) and t.requires_grad)
        loss = loss + sum(t.square().sum() for t in learned)
    return loss


def test_a_gradient_reaches_every_parameter(name, backend, device):
    field = learned(name, backend, device)
    named = dict(field.named_parameters())
    gradients = torch.autograd.grad(loss_of(field, points().to(device)), named.values())
    for parameter, gradient in zip(named, gradients, strict=True):
        assert torch.isfinite(gradient).all() and gradient.abs().max() > 0, parameter


def test_gradients_in_place_are_those_of_autograd(name):
    field, x = learned(name), points()
    if not field.tables:
        pytest.skip("has no tables of which a step meets few rows")
    tables = [field.get_parameter(table) for table in field.tables]
    expected = torch.autograd.grad(loss_of(field, x), tables)
    kept = {n: TouchedGradient.zeros_like(t.detach().flatten(0, -2)) for n, t in zip(field.tables, tables, strict=True)}
    with field.adding_to(kept):
        loss = loss_of(field, x)
    assert not any(gradient.any() for gradient in torch.autograd.grad(loss, tables)) and not field.adds_to
    for gradient, own in zip(kept.values(), expected, strict=True):
        torch.testing.assert_close(gradient.values, own.flatten(0, -2))


def grown(name: str) -> Field:
    """As large as it becomes, once all that grows has grown; every place has been seen."""
    field = learned(name)
    seen = lambda: [(points(4000), torch.ones(4008))]  # noqa: E731
    while field.grow(1.0, seen):
        pass
    return field


@pytest.mark.parametrize("state", [learned, grown])
def test_saving_and_loading_keep_every_bit(name, state, tmp_path):
    field, x = state(name), points()
    write_tensors(tmp_path / "field.nerf", field.state_dict(), field.config)
    tensors, config = read_tensors(tmp_path / "field.nerf")
    config.pop("schema")
    again = field_named(name)(**config)
    again.load_state_dict(tensors)
    assert again.config == field.config
    for ours, theirs in zip(look(field, x), look(again, x), strict=True):
        assert torch.equal(ours, theirs)
    assert [p.shape for p in again.parameters()] == [p.shape for p in field.parameters()]


def test_regularising_adds_finite_gradients_and_nothing_else(name):
    field = learned(name)
    before = {n: p.detach().clone() for n, p in field.named_parameters()}
    gradients = {n: torch.zeros_like(p) for n, p in field.named_parameters()}
    kept = {t: TouchedGradient.zeros_like(before[t].flatten(0, -2)) for t in field.tables}
    for target in (gradients, gradients | kept):
        field.regularise(target, torch.Generator().manual_seed(3))
    for table, gradient in kept.items():
        assert torch.equal(gradient.values, gradients[table].flatten(0, -2))
        assert ((gradient.touched > 0) | (gradient.values == 0).all(1)).all()
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    assert all(torch.equal(p, before[n]) for n, p in field.named_parameters())


def test_kernels_compute_what_the_reference_does(name, backend, device):
    if backend == "reference":
        pytest.skip("the reference itself")
    x = points()
    truth = look(learned(name, "reference"), x)
    for ours, theirs in zip(look(learned(name, backend, device), x.to(device)), truth, strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=2e-3, atol=1e-4)


def test_every_preset_is_accepted_by_the_constructor(name):
    kind = field_named(name)
    assert set(kind.presets) == {"fast", "default", "best"}
    assert all(set(preset) <= set(inspect.signature(kind).parameters) for preset in kind.presets.values())
