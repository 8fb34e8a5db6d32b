"""NeuSField: transmittance by Φ · the sphere that it begins as · eikonal gradients by differences · levels."""

import pytest
import torch
from torch.nn.functional import normalize, softplus

from nerfcore.fields import neus
from nerfcore.fields.neus import START_RADIUS, NeuSField
from nerfcore.types import Samples

SMALL = dict(num_levels=3, features=2, log2_table=10, coarsest=4, finest=16, hidden=16)


def small(backend="reference", dtype=torch.float32) -> NeuSField:
    field = NeuSField(**SMALL, backend=backend)
    field.initialise(torch.Generator().manual_seed(0))
    return field.to(dtype)


def bumpy(backend="reference", dtype=torch.float32) -> NeuSField:
    field = small(backend, dtype)
    with torch.no_grad():
        field.table.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
    field.used_levels.fill_(3)
    return field


def test_it_begins_as_a_sphere():
    field = small()
    x = 0.5 + 0.9 * (torch.rand(300, 3, generator=torch.Generator().manual_seed(1)) - 0.5)
    f, _ = field.distance(x)
    assert ((f - ((x - 0.5).norm(dim=1) - START_RADIUS)).abs() < 0.05).all()
    assert (field.normal(x) * normalize(x - 0.5, dim=1)).sum(1).median() > 0.95
    assert field.sigma(x[f.abs().argmin()][None]).item() == pytest.approx(field.surface_density, rel=0.2)


@pytest.mark.parametrize("steps", [1, 7, 400])
def test_transmittance_before_a_wall_is_the_ratio_of_phi(monkeypatch, steps):
    """Equation 10: of a plane, T = Φ(s f_end) / Φ(s f_start), however the way is cut."""
    field, slope = small(dtype=torch.float64), normalize(torch.tensor([1.0, 2.0, -0.5]), dim=0).double()
    monkeypatch.setattr(field, "distance", lambda x: (x @ slope - 0.3, torch.zeros(len(x), 15).to(x)))
    origin, direction = torch.tensor([[0.9, 0.8, 0.1]]).double(), normalize(torch.tensor([[-1.0, -0.7, 0.2]]).double(), dim=1)
    edges = torch.linspace(0.0, 1.2, steps + 1).double()
    samples = Samples(edges[:-1], edges[1:], torch.tensor([0, steps]))
    x = origin + samples.t_mid[:, None] * direction
    sigma, _ = field.density_along(x, direction, torch.zeros(steps, dtype=torch.int64), samples)
    passed = torch.exp(-(sigma * (samples.t_end - samples.t_start)).sum())
    s = field.log_sharpness.exp()
    start, end = (torch.sigmoid(s * ((origin + t * direction) @ slope - 0.3)) for t in (0.0, 1.2))
    assert torch.allclose(passed, (end / start).squeeze())
    away, _ = field.density_along(x, -direction, torch.zeros(steps, dtype=torch.int64), samples)
    assert not away.any()  # what leaves the surface meets nothing


def test_the_cut_softplus_is_softplus_to_its_second_derivative():
    x = torch.linspace(-3, 3, 4001, dtype=torch.float64, requires_grad=True)
    found, asked = [], []
    for derivatives, function in ((found, neus._Softplus.apply), (asked, lambda x: softplus(x, neus.SOFTNESS))):
        derivatives.append(function(x))
        derivatives.append(torch.autograd.grad(derivatives[0].sum(), x, create_graph=True)[0])
        derivatives.append(torch.autograd.grad(derivatives[1].sum(), x)[0])
    for ours, theirs, bound in zip(found, asked, (3e-11, 3e-9, 3e-7), strict=True):
        assert (ours - theirs).abs().max() < bound
    low = neus._Softplus.apply(x.float())
    assert low.abs().min() > torch.finfo(torch.float32).tiny  # no denormal numbers


def test_gradients_of_what_is_asked_of_distances_against_differences(backend, device):
    if device == "cuda":
        pytest.skip("its generator draws other points")
    field = bumpy(backend, torch.float64)
    generator = torch.Generator().manual_seed(5)  # the same points as below, which must stay what they are
    x = torch.rand(neus.POINTS, 3, generator=generator, dtype=torch.float64)
    near = field.distance(x)[0].detach().abs().argsort()[: neus.NEAR_POINTS]
    x = torch.cat((x[near], x[: neus.NEAR_POINTS]))
    aside = neus.STRIDE * normalize(torch.randn(x.shape, generator=generator, dtype=x.dtype), dim=1)

    def asked(name: str, index: int, step: float) -> float:
        with torch.no_grad():
            field.get_parameter(name).view(-1)[index] += step
        gradient = field.with_gradient(torch.cat((x, x + aside)))[2].detach()
        with torch.no_grad():
            field.get_parameter(name).view(-1)[index] -= step
        here, there = normalize(gradient, dim=1).chunk(2)
        bent = (1 - (here * there).sum(1))[: neus.NEAR_POINTS].mean() / neus.STRIDE
        return (field.eikonal * (gradient.norm(dim=1) - 1).square().mean() + field.curvature * bent).item()

    gradients = {name: torch.zeros_like(p) for name, p in field.named_parameters()}
    field.regularise(gradients, torch.Generator().manual_seed(5))
    for name in ("table", "distance_mlp.0", "distance_mlp.1", "bias_mlp"):
        index = gradients[name].abs().flatten().argmax().item()
        found = (asked(name, index, 1e-5) - asked(name, index, -1e-5)) / 2e-5
        assert gradients[name].flatten()[index].item() == pytest.approx(found, rel=1e-4), name


def test_levels_come_one_after_another():
    field = bumpy()
    x = torch.rand(50, 3, generator=torch.Generator().manual_seed(2))
    seen = []
    for fraction in (0.0, 0.3, 1.0):
        assert not field.grow(fraction, None)
        seen.append((field.used_levels.item(), field.distance(x)[0]))
    assert [levels for levels, _ in seen] == [2, 3, 3]
    assert not torch.equal(seen[0][1], seen[1][1]) and torch.equal(seen[1][1], seen[2][1])
