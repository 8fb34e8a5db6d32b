"""NerfField: the network by its formulas · stratified and placed samples · both terms of the loss · what rebuilds it."""

import json

import numpy as np
import pytest
import torch

from nerfcore.fields import field_named
from nerfcore.fields.nerf import NerfField
from nerfcore.training.loss import placed_loss
from tests.analytic import Blob

SMALL = dict(num_samples=(8, 8), octaves=3, view_octaves=2, depth=4, width=16)


def small(backend="reference", **overrides) -> NerfField:
    field = NerfField(**SMALL | overrides, backend=backend)
    field.initialise(torch.Generator().manual_seed(0))
    return field


def rays(count=50, seed=1):
    """From a sphere about the box towards points in it."""
    generator = torch.Generator().manual_seed(seed)
    origin, towards = torch.randn(count, 3, generator=generator), torch.rand(count, 3, generator=generator)
    origin = 0.5 + 2 * torch.nn.functional.normalize(origin, dim=-1)
    return origin, torch.nn.functional.normalize(towards - origin, dim=-1), torch.rand(count, generator=generator)


def gamma(p, octaves):
    """Equation 4, with p itself before it, by numpy."""
    waves = [f(2.0**k * np.pi * p[:, i]) for i in range(3) for k in range(octaves) for f in (np.sin, np.cos)]
    return np.concatenate([p, np.stack(waves, 1)], 1)


def test_the_network_is_that_of_the_paper():
    """Four layers, the third of which sees γ(x) again, in float64 and by numpy."""
    field = small().double()
    weights = {name: p.detach().numpy() for name, p in field.fine.named_parameters()}

    def layer(name, x):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    with torch.no_grad():
        for p in field.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()), dtype=p.dtype))
    generator = torch.Generator().manual_seed(1)
    x, direction = torch.rand(20, 3, generator=generator).double(), torch.randn(20, 3, generator=generator).double()
    direction = torch.nn.functional.normalize(direction, dim=-1)
    point, view = gamma(2 * x.numpy() - 1, 3), gamma(direction.numpy(), 2)
    h = point
    for i in range(4):
        h = np.maximum(layer(f"point_mlp.{i}", np.concatenate([point, h], 1) if i == 3 else h), 0)
    sigma = 10 * np.log1p(np.exp(layer("density_mlp", h)[:, 0] - 1))
    h = np.maximum(layer("view_mlp.0", np.concatenate([layer("feature_mlp", h), view], 1)), 0)
    rgb = 1 / (1 + np.exp(-layer("view_mlp.1", h)))
    ours, embedding = field.density(x)
    assert np.allclose(ours.detach().numpy(), sigma)
    assert np.allclose(field.color(embedding, direction).detach().numpy(), rgb)
    ray = torch.arange(20) // 5
    of_rays, of_points = field.color(embedding, direction[:4], ray), field.color(embedding, direction[ray])
    assert torch.allclose(of_rays, of_points)


def test_the_paper_s_size():
    field = NerfField()
    sizes = [tuple(layer.weight.shape) for layer in field.fine.point_mlp]
    assert sizes == [(256, 63), *[(256, 256)] * 4, (256, 319), *[(256, 256)] * 2]
    assert [tuple(layer.weight.shape) for layer in field.fine.view_mlp] == [(128, 283), (3, 128)]


def test_stratified_samples_tile_a_ray_inside_the_box(backend, device):
    field = small(backend, num_samples=(16, 0)).to(device)
    origin, direction, jitter = (x.to(device) for x in rays())
    samples, proposed = field.place_samples(origin, direction, jitter)
    start, end = (t.view(50, 16) for t in (samples.t_start, samples.t_end))
    assert proposed is None and torch.equal(start[:, 1:], end[:, :-1]) and (end >= start).all()
    for t in (start[:, :1], end[:, -1:]):  # on the faces of the box
        assert ((origin + t * direction - 0.5).abs().amax(1) - 0.5).abs().max() < 1e-5
    step = (end[:, -1] - start[:, 0]) / 15
    place = ((end[:, :-1] - start[:, :1]) / step[:, None]).floor()
    assert (place - torch.arange(15, device=device)).abs().max() <= 1  # a border in every stratum, up to rounding
    assert (place == torch.arange(15, device=device)).float().mean() > 0.99


def test_the_coarse_network_places_samples(backend, device):
    """Half of them where a small blob is, in which a stratified ray has hardly any."""
    field = small(backend, num_samples=(32, 32)).to(device)
    field.coarse = Blob(center=(0.5, 0.5, 0.5), sigma=0.02, peak=200.0)
    origin = torch.tensor([[0.5, 0.5, -1.0]], device=device)
    samples, _ = field.place_samples(origin, torch.tensor([[0.0, 0.0, 1.0]], device=device))
    inside = (samples.t_mid - 1.5).abs() < 0.06
    assert len(samples) == field.samples_per_ray == 64 and inside.sum() >= 32
    assert torch.equal(samples.t_start[1:], samples.t_end[:-1])


def test_both_networks_are_taught(backend, device):
    """The coarse one by the mean square of its own picture, and nothing else (equation 6)."""
    field = small(backend).to(device)
    origin, direction, jitter = (x.to(device) for x in rays())
    generator = torch.Generator().manual_seed(2)
    background, truth = (torch.rand(50, 3, generator=generator).to(device) for _ in range(2))
    loss, samples, weights, gradients = placed_loss(field, origin, direction, jitter, background, truth, backend)
    assert set(gradients) == {name for name, _ in field.named_parameters()}
    assert all(g.isfinite().all() and g.any() for g in gradients.values())
    assert len(samples) == len(weights) == 50 * 16
    alone = small(backend, num_samples=(8, 0)).to(device)
    alone.fine = field.coarse
    coarse_loss, *_, coarse = placed_loss(alone, origin, direction, jitter, background, truth, backend)
    assert coarse_loss != loss
    for name, gradient in coarse.items():
        assert torch.allclose(gradient, gradients[name.replace("fine", "coarse")], atol=1e-6)


def test_what_rebuilds_it():
    field = small()
    again = field_named("nerf")(**json.loads(json.dumps(field.config)))
    again.load_state_dict(field.state_dict())
    x = torch.rand(9, 3)
    assert torch.equal(field.density(x)[0], again.density(x)[0]) and again.samples_per_ray == 16
    with pytest.raises(ValueError, match=r"2 stratified samples or more .* got \(1, 8\)"):
        small(num_samples=(1, 8))
