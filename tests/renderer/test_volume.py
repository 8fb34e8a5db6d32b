"""Volume renderer against integrals by hand: closed form · brute force · passes = one pass · packed = dense ·
culled = full grid · light."""

import math

import pytest
import torch
from torch import Tensor

from nerfcore.ops.composite import STOP_BELOW, mean_stop, median_distance
from nerfcore.ops.occupancy import occupancy_pack
from nerfcore.renderer import volume
from nerfcore.renderer.volume import Marching, render_rays, render_samples, sample_positions, sample_rays
from tests.analytic import Ball, Blob, full_grid

ONE_BOX = Marching.for_cascades(1)


def rays_into_the_box(n=40, seed=0) -> tuple[Tensor, Tensor]:
    """From a sphere around the box towards points near its middle."""
    generator = torch.Generator().manual_seed(seed)
    origin = 0.5 + 1.5 * torch.nn.functional.normalize(torch.randn(n, 3, generator=generator), dim=-1)
    target = 0.3 + 0.4 * torch.rand(n, 3, generator=generator)
    return origin, torch.nn.functional.normalize(target - origin, dim=-1)


def brute_force(field, origin, direction, steps=4000):
    """Colour [3], opacity and distance of one ray by many equal steps over the whole box, float64."""
    origin, direction = origin.double(), direction.double()
    corners = torch.stack((-origin / direction, (1 - origin) / direction))
    near, far = corners.amin(0).max().item(), corners.amax(0).min().item()
    dt = (far - near) / steps
    t = near + dt * (torch.arange(steps, dtype=torch.float64) + 0.5)
    x = origin + t[:, None] * direction
    sigma, embedding = field.density(x)
    before = torch.exp(-(sigma.cumsum(0) - sigma) * dt)
    weight = before * (1 - torch.exp(-sigma * dt))
    return (weight[:, None] * field.color(embedding, direction.expand_as(x))).sum(0), weight.sum(), (weight * t).sum()


def test_blob_equals_brute_force_and_closed_form(backend, device):
    field, (origin, direction) = Blob(), rays_into_the_box()
    grid = full_grid(backend=backend)
    grid.bits = grid.bits.to(device)
    box_rays = origin.to(device), direction.to(device)
    samples = sample_rays(*box_rays, ONE_BOX.lattice(grid), backend=backend)
    rgb, opacity, distance, _ = render_samples(field, *box_rays, samples, backend=backend)
    # steps of about 1/300 of the box err by their square times the curvature
    for r in range(len(origin)):
        color, alpha, depth = brute_force(field, origin[r], direction[r])
        assert torch.allclose(rgb[r].cpu().double(), color, atol=5e-4)
        assert opacity[r].item() == pytest.approx(alpha.item(), abs=2e-4)
        assert distance[r].item() == pytest.approx(depth.item(), abs=5e-4)
    offset = origin - torch.tensor(field.config["center"])
    along = (offset * direction).sum(-1)
    passing = (offset.square().sum(-1) - along.square()) / field.config["sigma"] ** 2
    depth = field.config["peak"] * field.config["sigma"] * math.sqrt(2 * math.pi) * torch.exp(-0.5 * passing)
    assert torch.allclose(opacity.cpu(), 1 - torch.exp(-depth), atol=5e-4)  # the tails outside the box hold 1e-4


@pytest.mark.parametrize(
    "field", [Blob(), Ball(), Ball(radius=2.0, density=0.02, rgb=(1.0, 1.0, 1.0))], ids=["blob", "ball", "haze"]
)
def test_pictures_equal_what_training_sees(field):
    """render_rays skips colours that do not show; also where a haze is too thin for any one sample to matter alone."""
    grid, rays = full_grid(), rays_into_the_box()
    picture = render_rays(field, *rays, ONE_BOX.lattice(grid))
    trained = render_samples(field, *rays, sample_rays(*rays, ONE_BOX.lattice(grid)))
    assert trained[1].max() > 0.01
    assert torch.allclose(picture[0], trained[0], atol=1 / 255)  # one level of an 8-bit picture
    assert torch.allclose(picture[1], trained[1], atol=volume.SPENT)
    assert torch.allclose(picture[2], trained[2], atol=volume.SPENT * trained[2].max())


class Counted(Blob):
    """Notes how many points each call asks for."""

    def __init__(self, **config):
        super().__init__(**config)
        self.calls = []

    def density(self, x):
        self.calls.append(len(x))
        return super().density(x)


@pytest.mark.parametrize("max_samples", [1024, 37])
@pytest.mark.parametrize("cascades", [1, 3])
@pytest.mark.parametrize("peak", [0.5, 12.0, 3000.0])
def test_passes_add_up_to_one_pass(backend, device, peak, cascades, max_samples, monkeypatch):
    """Samples a few at a time, from where light has got to: all of them in a haze, up to the stop in front of an opaque
    core. Steps grow along the rays where there are several cascades."""
    monkeypatch.setattr(volume, "SHOWS", 0.0)  # every colour counts
    monkeypatch.setattr(volume, "SPENT", STOP_BELOW)
    monkeypatch.setattr(volume, "FIRST_SAMPLES", 3)
    monkeypatch.setattr(volume, "PASS_SAMPLES", 1)
    field, (origin, direction) = Counted(peak=peak), rays_into_the_box()
    origin[3] += 10  # a ray that misses
    origin, direction = origin.to(device), direction.to(device)
    grid = full_grid(cascades=cascades, backend=backend)
    grid.bits = grid.bits.to(device)
    lattice = Marching.for_cascades(cascades).lattice(grid, max_samples=max_samples)
    samples = sample_rays(origin, direction, lattice, backend=backend)
    rgb, opacity, _, weights = render_samples(field, origin, direction, samples, backend=backend)
    sigma = Blob.density(field, sample_positions(origin, direction, samples, samples.ray_indices))[0]
    stops = samples.t_start + mean_stop(sigma, samples.t_end - samples.t_start)
    distance = torch.zeros_like(opacity).index_add_(0, samples.ray_indices, weights * stops)
    median = median_distance(sigma, samples)
    one_pass = field.calls.pop()
    picture = render_rays(field, origin, direction, lattice, backend=backend)
    for ours, whole in zip(picture, (rgb, opacity, distance, median), strict=False):
        assert torch.allclose(ours, whole, rtol=0, atol=5e-6)
    assert len(field.calls) > 8 and max(field.calls) == field.calls[0]
    assert int((weights > 0).sum()) <= sum(field.calls) <= one_pass
    if opacity.max() < 0.99:
        assert sum(field.calls) == one_pass


def test_little_is_computed_behind_a_surface():
    field, rays = Counted(peak=3000.0), rays_into_the_box(3000)
    lattice = ONE_BOX.lattice(full_grid())
    _, _, _, weights = render_samples(field, *rays, sample_rays(*rays, lattice))
    one_pass, reached = field.calls.pop(), int((weights > 0).sum())
    _, opacity, *_ = render_rays(field, *rays, lattice)
    assert (opacity > 0.99).float().mean() > 0.5
    assert min(field.calls[:-1]) > 0.8 * field.calls[0]  # the fewer rays, the more samples of each
    assert sum(field.calls) < 0.7 * one_pass and sum(field.calls) - reached < 0.25 * (one_pass - reached)


def test_what_is_not_a_number_stays_visible():
    class Broken(Blob):
        def density(self, x):
            sigma, embedding = super().density(x)
            return torch.where((x - 0.5).norm(dim=-1) < 0.1, math.nan, sigma), embedding

    rays, lattice = rays_into_the_box(), ONE_BOX.lattice(full_grid())
    _, whole, *_ = render_samples(Broken(), *rays, sample_rays(*rays, lattice))
    for value in render_rays(Broken(), *rays, lattice)[:2]:
        assert torch.equal(value.isnan().flatten(1).any(1) if value.ndim > 1 else value.isnan(), whole.isnan())
    assert 0 < whole.isnan().sum() < len(whole)


def test_packed_equals_dense(backend, device):
    """The same samples, padded to [R, K] and summed by a loop over K."""
    field, (origin, direction) = Blob(), rays_into_the_box()
    origin[3] += 10  # a ray that misses
    grid = full_grid(backend=backend)
    grid.bits = grid.bits.to(device)
    origin, direction = origin.to(device), direction.to(device)
    samples = sample_rays(origin, direction, ONE_BOX.lattice(grid), backend=backend)
    rgb, opacity, distance, weights = render_samples(field, origin, direction, samples, backend=backend)
    count = (samples.ray_offsets[1:] - samples.ray_offsets[:-1]).cpu()
    assert count[3] == 0 and len(weights) == int(count.sum())
    light, color, alpha, depth = torch.ones(40), torch.zeros(40, 3), torch.zeros(40), torch.zeros(40)
    start, end, o, d = (v.cpu() for v in (samples.t_start, samples.t_end, origin, direction))
    for k in range(int(count.max())):
        index = (samples.ray_offsets[:-1].cpu() + k).clamp(max=len(start) - 1)
        middle = (start[index] + end[index]) / 2
        sigma, embedding = field.density(o + middle[:, None] * d)
        weight = torch.where(k < count, light * (1 - torch.exp(-sigma * (end - start)[index])), 0)
        weight = torch.where(light < 1e-4, 0, weight)
        color += weight[:, None] * field.color(embedding, d)
        alpha, depth, light = alpha + weight, depth + weight * middle, light - weight
    for ours, theirs in ((rgb, color), (opacity, alpha), (distance, depth)):
        assert torch.allclose(ours.cpu(), theirs, atol=2e-5)


def test_culling_empty_cells_changes_nothing(backend, device):
    field, (origin, direction) = Ball(density=30.0), rays_into_the_box()
    grids = [full_grid(backend=backend) for _ in range(2)]
    axis = (torch.arange(32) + 0.5) / 32
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    reach = (torch.stack((x, y, z), -1) - 0.5).norm(dim=-1) - 3**0.5 / 64
    grids[1].bits = occupancy_pack((reach < field.config["radius"]).float().flatten(), 0.5, backend="reference")
    assert 0.05 < grids[1].occupied_share < 0.2
    pictures, sizes = [], []
    for grid in grids:
        grid.bits = grid.bits.to(device)
        field = field.to(device)
        samples = sample_rays(origin.to(device), direction.to(device), ONE_BOX.lattice(grid), backend=backend)
        pictures.append(render_samples(field, origin.to(device), direction.to(device), samples, backend=backend)[:3])
        sizes.append(len(samples))
    assert sizes[1] < 0.6 * sizes[0]
    for full, culled in zip(*pictures, strict=True):
        assert torch.allclose(full, culled, atol=1e-6)


def test_samples_lie_in_the_box_beyond_near_in_every_cascade():
    for cascades in (1, 3):
        marching, (origin, direction) = Marching.for_cascades(cascades), rays_into_the_box()
        samples = sample_rays(0.5 + 0.3 * (origin - 0.5), direction, marching.lattice(full_grid(cascades=cascades)))
        ray = samples.ray_indices
        x = 0.5 + 0.3 * (origin - 0.5)[ray] + direction[ray] * samples.t_mid[:, None]
        assert len(samples) and ((x >= 0) & (x <= 1)).all() and (samples.t_start >= marching.near - 1e-6).all()


def test_normals_face_outward_and_come_from_where_the_ray_ends():
    field = Blob(peak=400.0)
    origin, direction = rays_into_the_box()
    _, opacity, distance, _, normal = render_rays(field, origin, direction, ONE_BOX.lattice(full_grid()), normals=True)
    hit = opacity > 0.99
    x = origin + direction * distance[:, None]
    expected = torch.nn.functional.normalize(x - torch.tensor(field.config["center"]), dim=-1)
    assert hit.sum() > 10 and (normal * expected).sum(-1)[hit].min() > 0.995


@pytest.mark.parametrize("density", [8.0, 40.0, 1e4])
def test_mean_and_median_of_where_light_is_stopped(density):
    """In a ball of constant density, of radius 1/4: both follow from where a ray comes in and goes out, but for the half
    of a step by which samples miss its surface."""
    field, (origin, direction) = Ball(density=density), rays_into_the_box()
    _, opacity, distance, median, _ = render_rays(field, origin, direction, ONE_BOX.lattice(full_grid()))
    origin, direction = origin.double(), direction.double()
    along = -((origin - 0.5) * direction).sum(1)
    half_chord = (0.25**2 - (origin - 0.5 + along[:, None] * direction).square().sum(1)).clamp(min=0).sqrt()
    through, half_step = -torch.expm1(-density * 2 * half_chord), 0.5 * ONE_BOX.step + 1e-5
    mean = along - half_chord + 1 / density - 2 * half_chord * (1 - through) / through
    clear = half_chord > 0.05  # grazing rays gain and lose a large share of their chord
    behind = volume.SPENT * 6 / density  # of where a ray ends, six mean free paths deep
    assert clear.sum() > 10 and ((distance / opacity - mean)[clear].abs() < half_step + behind).all()
    stopped = clear & (through > 0.6)
    assert (median[clear & (through < 0.4)] == 0).all() and stopped.any()
    assert ((median - (along - half_chord + math.log(2) / density))[stopped].abs() < half_step).all()


def test_the_median_is_that_of_a_fine_integral():
    """Of a smooth density, by a hundred thousand steps in float64."""
    field, (origin, direction) = Blob(peak=30.0), rays_into_the_box(40)
    *_, median, _ = render_rays(field, origin, direction, ONE_BOX.lattice(full_grid()))
    t = torch.linspace(0, 3, 100_001, dtype=torch.float64)
    for o, d, found in zip(origin.double(), direction.double(), median, strict=True):
        x = o + t[:, None] * d
        sigma = field.density(x)[0] * ((x >= 0) & (x <= 1)).all(1)
        depth = torch.cumulative_trapezoid(sigma, t)
        there = torch.searchsorted(depth, math.log(2)).item()
        if abs(depth[-1] - math.log(2)) > 0.01:
            assert found == 0 if there == len(depth) else abs(t[there].item() - found) < 0.5 * ONE_BOX.step


def test_light_is_noted_in_front_of_the_surface_only():
    """A ray along x meets a dense ball: blocks up to its near side are seen, those behind it are not."""
    grid, field = full_grid(), Ball()
    origin, direction = torch.tensor([[-0.5, 0.51, 0.51]]), torch.tensor([[1.0, 0.0, 0.0]])
    samples = sample_rays(origin, direction, ONE_BOX.lattice(grid))
    _, _, _, weights = render_samples(field, origin, direction, samples)
    grid.see(origin, direction, samples, weights)
    row = grid.seen.view(8, 8, 8)[4, 4]
    assert row.tolist() == [True, True, True, False, False, False, False, False] and grid.seen.sum() == 3


def test_no_rays_and_no_samples():
    nothing = torch.zeros(0, 3)
    samples = sample_rays(nothing, nothing, ONE_BOX.lattice(full_grid()))
    rgb, opacity, *_ = render_samples(Blob(), nothing, nothing, samples)
    assert rgb.shape == (0, 3) and opacity.shape == (0,)
    away = torch.full((2, 3), 5.0), torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    for value in render_rays(Blob(), *away, ONE_BOX.lattice(full_grid()), normals=True):
        assert not value.any()
