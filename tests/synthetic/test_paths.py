"""The path tracer by closed forms: a furnace · one light seen from a point · choices against integrals · mirrors."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from nerfcore.synthetic.paths import Hit, Material, World, box, path_trace, quad, reflectance, scatter, sphere


def inwards(body):
    return type(body)(body.vertices, body.faces.flip(1), body.material, body.smooth)


@pytest.mark.parametrize("make", [box, sphere], ids=["box", "sphere"])
def test_a_furnace(make):
    """Within walls that shine and throw back half, all that is seen is as bright as E + E / 2 + E / 4 + … = 2 E."""
    walls = Material(albedo=(0.5, 0.25, 0.0), emission=(1.0, 1.0, 1.0))
    body = make((-1, -1, -1), (1, 1, 1), walls) if make is box else make((0, 0, 0), 1.0, walls)
    generator = torch.Generator().manual_seed(0)
    direction = normalize(torch.randn(4000, 3, generator=generator), dim=1)
    seen = path_trace(World([inwards(body)]), torch.zeros(4000, 3), direction, generator).mean(0)
    assert torch.allclose(seen, torch.tensor([2.0, 4 / 3, 1.0]), rtol=0.03)


def test_light_of_a_square_from_above():
    """The middle of a floor under a square of 2 x 2 at height 1: the form factor of a parallel square is known."""
    lamp = Material((0.0, 0.0, 0.0), emission=(1.0, 1.0, 1.0))
    floor = quad((-50, -50, 0), (100, 0, 0), (0, 100, 0), Material((0.8, 0.8, 0.8)))
    world = World([floor, quad((-1, -1, 1), (0, 2, 0), (2, 0, 0), lamp)])
    generator = torch.Generator().manual_seed(0)
    way = normalize(torch.tensor([3.0, 0.0, -0.5]), dim=0)  # from below the lamp's edge, seeing the floor's middle
    direction = way.expand(20000, 3)
    seen = path_trace(world, -2 * direction, direction, generator)
    x = 1.0  # of a quarter: sides over height
    quarter = (2 * x / math.sqrt(1 + x * x) * math.atan(x / math.sqrt(1 + x * x))) / (2 * math.pi)
    assert seen.mean().item() == pytest.approx(0.8 * 4 * quarter, rel=0.02)


def surface(roughness: float, count: int) -> Hit:
    like = torch.ones(count)
    up = torch.tensor([0.0, 0.0, 1.0]).expand(count, 3)
    return Hit(like > 0, like, torch.zeros(count, 3), up, up, torch.full((count, 3), 0.8), roughness * like, torch.zeros(count, 3), like)


@pytest.mark.parametrize("roughness", [0.3, 0.6, 1.0])
def test_choices_follow_their_density_and_weights_the_reflectance(roughness):
    """Means over chosen directions are integrals over the hemisphere, of anything: here of smooth functions."""
    generator, count = torch.Generator().manual_seed(1), 200_000
    hit, out = surface(roughness, count), normalize(torch.tensor([0.6, 0.0, 0.8]), dim=0).expand(count, 3)
    into, weight, pdf = scatter(hit, out, generator)
    reflected, again = reflectance(hit, out, into)
    above = into[:, 2] > 0
    assert torch.allclose(pdf[above], again[above], rtol=1e-3) and (weight[~above] == 0).all()
    z, turn = torch.rand(count, generator=generator), math.tau * torch.rand(count, generator=generator)
    r = (1 - z * z).sqrt()
    even = torch.stack([r * turn.cos(), r * turn.sin(), z], 1)
    for function in (lambda d: torch.ones(len(d)), lambda d: (1 + d[:, 0]) ** 2, lambda d: d[:, 2]):
        by_choice = (weight[:, 0] * function(into)).mean()
        by_area = (reflectance(hit, out, even)[0][:, 0] * function(even)).mean() * 2 * math.pi
        assert by_choice.item() == pytest.approx(by_area.item(), rel=0.03)


def test_a_mirror_shows_what_is_behind_the_viewer():
    lamp = Material((0.0, 0.0, 0.0), emission=(3.0, 2.0, 1.0))
    mirror = quad((-1, -1, 0), (2, 0, 0), (0, 2, 0), Material((0.5, 0.5, 0.5), roughness=0.0))
    world = World([mirror, quad((-1, -1, 4), (0, 2, 0), (2, 0, 0), lamp)])
    down = torch.tensor([[0.0, 0.0, -1.0]])
    seen = path_trace(world, torch.tensor([[0.1, 0.2, 2.0]]), down, torch.Generator().manual_seed(0))
    assert torch.allclose(seen, torch.tensor([[1.5, 1.0, 0.5]]), atol=1e-5)


def test_a_world_needs_a_light():
    with pytest.raises(ValueError, match="a body that shines"):
        World([sphere((0, 0, 0), 1.0, Material())])
