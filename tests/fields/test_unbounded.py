"""Unbounded field: contraction in closed form · samples tile rays and go where the density is · what lies outside the box
is seen where it is · through saving and back."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from nerfcore.fields.base import FIELDS
from nerfcore.fields.unbounded import FAR, UnboundedField, contract, from_bounded, to_bounded
from nerfcore.renderer.model import Model
from nerfcore.training.loss import placed_loss
from nerfcore.types import Rays
from tests.analytic import Ball, model_of

SMALL = dict(inner_config=dict(log2_table=9, num_levels=2, features=2, finest=64, hidden=16))


@pytest.fixture(autouse=True)
def balls(monkeypatch):
    monkeypatch.setitem(FIELDS, "ball", Ball)


def small(backend="auto", seed=0, **more):
    field = UnboundedField(**SMALL, **more, backend=backend)
    field.initialise(torch.Generator().manual_seed(seed))
    return field


def rays(count, seed=0):
    g = torch.Generator().manual_seed(seed)
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=g), dim=-1)
    return 0.3 + 0.4 * torch.rand(count, 3, generator=g), direction, torch.rand(count, generator=g)


class Shell(nn.Module):
    """In place of a proposal: dense between two distances from the middle, in contracted space."""

    def __init__(self, inner, outer):
        super().__init__()
        self.inner, self.outer = inner, outer

    def forward(self, x):
        radius = (x - 0.5).abs().amax(-1)
        return 1e3 * ((radius > self.inner) & (radius < self.outer)).to(x)


# --- contraction


def test_the_middle_is_halved_and_the_rest_is_the_shell():
    x = torch.rand(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(contract(x), 0.25 + 0.5 * x)
    far = 0.5 + 300 * (x - 0.5)
    u = 4 * contract(far) - 2  # the paper's coordinates
    assert (u.abs() < 2).all()
    reach = (2 * far - 1).abs().amax(-1)
    assert torch.allclose(u.abs().amax(-1), torch.where(reach > 1, 2 - 1 / reach.clamp(min=1), reach))
    assert torch.allclose(torch.nn.functional.normalize(u), torch.nn.functional.normalize(far - 0.5))  # same direction


def test_contraction_has_its_derivative():
    x = torch.randn(60, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 5
    assert torch.autograd.gradcheck(contract, x.requires_grad_())


def test_densities_are_per_unit_of_the_box():
    """Away from the middle, contracted space shrinks by what the derivative of the contraction says."""
    field, t = UnboundedField("ball", dict(radius=9.0, density=1.0), core=0.25), torch.linspace(0.01, 30, 50).double()
    x = 0.5 + torch.stack([t, 0 * t, 0 * t], 1)
    core = ((x - 0.5) / 0.25 + 0.5).requires_grad_()
    (slope,) = torch.autograd.grad(contract(core)[:, 0].sum(), core)
    assert torch.allclose(field.density(x)[0], slope[:, 0] / 0.25)
    assert torch.equal(field.sigma(x), field.density(x)[0])


def test_bounded_distances_and_back():
    t = torch.cat([torch.linspace(0, 2, 41), torch.logspace(0, 3, 30)]).double()
    s = to_bounded(t)
    assert torch.allclose(from_bounded(s), t) and (s.sort().values.diff() >= 0).all() and s.max() < 1
    assert to_bounded(torch.tensor([0.0, 0.5, 1.0, 2.0, 4.0])).tolist() == [0, 0.25, 0.5, 0.75, 0.875]


# --- samples


@pytest.mark.parametrize(("core", "near"), [(1.0, 0.05), (0.125, 0.3)])
def test_samples_tile_a_ray(backend, device, core, near):
    field = small(backend, core=core, near=near, num_samples=(16, 8, 4)).to(device)
    origin, direction, jitter = (x.to(device) for x in rays(7))
    last, proposed = field.propose(origin, direction, jitter)
    for samples, count in zip([*(s for _, s in proposed), last], (16, 8, 4), strict=True):
        assert samples.ray_offsets.tolist() == [count * r for r in range(8)]
        start, end = (x.view(7, count) for x in (samples.t_start, samples.t_end))
        assert torch.equal(start[:, 1:], end[:, :-1]) and (end >= start).all()
        distances = field.in_box(samples)
        assert distances.t_start.view(7, -1)[:, 0].tolist() == pytest.approx([core * near] * 7)
        assert distances.t_end.view(7, -1)[:, -1].tolist() == pytest.approx([core * FAR] * 7, rel=1e-3)
    assert all(w.requires_grad and (w >= 0).all() for w, _ in proposed)


def test_samples_go_where_the_density_is(backend, device):
    """A wall 8 to 16 cores away, two of the 64 samples of the first round."""
    field = small(backend)
    inner, outer = (0.5 - 0.25 / (2 * distance) for distance in (8, 16))
    field.proposals = nn.ModuleList([Shell(inner, outer)] * 2)
    direction = torch.tensor([[0.0, 0.0, 1.0]], device=device)
    samples, _ = field.place_samples(torch.full((1, 3), 0.5, device=device), direction)
    at_its_face = (samples.t_end > 7.5) & (samples.t_start < 9)
    assert at_its_face.sum() > 0.6 * len(samples)


def test_jitter_alone_decides(backend, device):
    field = small(backend).to(device)
    origin, direction, jitter = (x.to(device) for x in rays(40))
    once, again, other = (field.propose(origin, direction, j)[0] for j in (jitter, jitter.clone(), jitter.flip(0)))
    assert torch.equal(once.t_end, again.t_end) and not torch.equal(once.t_end, other.t_end)
    alone, _ = field.propose(origin[5:6], direction[5:6], jitter[5:6])
    assert torch.allclose(alone.t_end, once.t_end.view(40, -1)[5], atol=1e-5)


# --- pictures


@pytest.mark.parametrize("distance", [2.0, 30.0])
def test_what_lies_outside_the_box_is_seen_where_it_is(distance):
    """A wall all around, at a distance from the middle along the axes, through a model and in the user's world."""
    edge = 0.5 - 0.25 / (2 * distance)
    field = UnboundedField("ball", dict(radius=10.0), num_samples=(256, 128, 64))
    field.proposals = nn.ModuleList([Shell(edge, 1.0)] * 2)
    field.inner.density = lambda x: (1e4 * ((x - 0.5).abs().amax(-1) > edge).to(x), x)
    model = model_of(field, scale=0.25)
    axes = torch.cat([torch.eye(3), -torch.eye(3)])
    for normals in (False, True):
        render = model.render(Rays(torch.zeros(6, 3), axes), "black", normals)
        assert torch.allclose(render.opacity, torch.ones(6), atol=1e-3)
        assert torch.allclose(render.rgb, torch.tensor([0.2, 0.4, 0.8]).expand(6, 3), atol=1e-3)
        assert torch.allclose(render.distance, torch.full((6,), 4 * distance), rtol=0.05)
    assert model.density(4 * (distance + 1) * axes).min() > 0 and not model.density(4 * (distance - 0.5) * axes).any()


def test_what_nothing_holds_up_sees_the_sky():
    """Whatever the background: through empty space, and half of it through a haze of half the light."""
    field = UnboundedField("ball", num_samples=(64, 64), proposal_finest=(32,))
    field.sky = lambda direction: 0.5 + 0.5 * direction
    model, (origin, direction, _) = model_of(field, scale=0.25), rays(20)
    field.inner.density = lambda x: (torch.zeros_like(x[:, 0]), x)
    empty = model.render(Rays(origin, direction), "white")
    assert torch.equal(empty.rgb, field.sky(direction)) and not empty.opacity.any()
    haze = 2 * math.log(2)  # from the middle out, contracted space is half a box
    field.inner.density = lambda x: (haze * torch.ones_like(x[:, 0]), x)
    axes = torch.eye(3)
    half = model.render(Rays(torch.zeros(3, 3), axes), "white")
    assert torch.allclose(half.opacity, torch.full((3,), 0.5), atol=0.03)
    expected = half.opacity[:, None] * torch.tensor([0.2, 0.4, 0.8]) + (1 - half.opacity[:, None]) * field.sky(axes)
    assert torch.allclose(half.rgb, expected, atol=1e-3)


def test_the_sky_is_what_the_field_has_infinitely_far_away():
    field, (_, direction, _) = small(), rays(30)
    with torch.no_grad():
        far, embedding = field.density(0.5 + 1e6 * direction)
        assert torch.allclose(field.sky(direction), field.color(embedding, direction), atol=1e-4)
    assert far.max() < 1e-9  # of light on its way there the last unit takes nothing


def test_a_saved_model_renders_the_same(tmp_path):
    model = model_of(small(), scale=0.25)
    tensors, description = model.state()
    again = Model.from_state({k: v.clone() for k, v in tensors.items()}, json.loads(json.dumps(description)))
    assert again.field.config == model.field.config
    origin, direction, _ = rays(50)
    ours, theirs = (m.render(Rays(origin, direction)) for m in (model, again))
    assert torch.equal(ours.rgb, theirs.rgb) and torch.equal(ours.distance, theirs.distance)


def test_gradients_reach_every_parameter(backend, device):
    field = small(backend).to(device)
    origin, direction, jitter = (x.to(device) for x in rays(200))
    truth = torch.rand(200, 3, device=device)
    loss, samples, weights, gradients = placed_loss(field, origin, direction, jitter, torch.zeros_like(truth), truth, backend)
    assert set(gradients) == {name for name, _ in field.named_parameters()}
    assert all(g.isfinite().all() and g.any() for g in gradients.values())
    assert math.isfinite(loss) and len(weights) == len(samples) == 200 * field.num_samples[-1]


def test_errors_in_words():
    with pytest.raises(ValueError, match=r"got num_samples=\[8, 4\], proposal_finest=\[\]"):
        UnboundedField(**SMALL, num_samples=(8, 4), proposal_finest=())
    with pytest.raises(ValueError, match="at least 2 samples a ray"):
        UnboundedField(**SMALL, num_samples=(8, 1), proposal_finest=(32,))
