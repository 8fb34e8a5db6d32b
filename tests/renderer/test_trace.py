"""Sphere tracing: hits, normals and shadows in closed form · a model in the user's world, saved and loaded."""

from __future__ import annotations

import json
import math

import pytest
import torch

from nerfcore.cameras import look_at
from nerfcore.cameras.intrinsics import Camera
from nerfcore.data.scene import SceneTransform
from nerfcore.fields.sdf import SDFField
from nerfcore.renderer.trace import DistanceModel, Light, lamp_light, normals_of, sphere_trace, trace
from nerfcore.synthetic import sdf
from nerfcore.types import Rays


def ball(points):
    return sdf.sphere(points, 1.0)


def rays_at(height, count=50):
    """Along -z towards the ball, off its middle by ``height`` in all directions."""
    turn = torch.linspace(0, 2 * math.pi, count)
    origin = torch.stack([height * turn.cos(), height * turn.sin(), torch.full_like(turn, 3.0)], 1)
    return origin, torch.tensor([[0.0, 0.0, -1.0]]).expand(count, 3).contiguous()


@pytest.mark.parametrize("height", [0.0, 0.5, 0.95])
def test_rays_meet_a_ball_where_it_is(height):
    t, hit = sphere_trace(ball, *rays_at(height), far=10.0, tolerance=1e-5)
    assert hit.all() and torch.allclose(t, torch.full_like(t, 3 - math.sqrt(1 - height**2)), atol=1e-4)


def test_rays_past_a_ball_hit_nothing_and_those_that_end_before_it():
    assert not sphere_trace(ball, *rays_at(1.02), far=10.0, tolerance=1e-5)[1].any()
    assert not sphere_trace(ball, *rays_at(0.0), far=1.5, tolerance=1e-5)[1].any()


def test_a_distance_that_says_too_much_is_taken_back():
    """A fifth more than the distance: rays go through the surface, and come back to it."""
    t, hit = sphere_trace(lambda p: 1.2 * ball(p), *rays_at(0.3), far=10.0, tolerance=1e-5)
    assert hit.all() and torch.allclose(t, torch.full_like(t, 3 - math.sqrt(1 - 0.09)), atol=1e-4)


def test_normals_are_those_of_the_ball():
    point = torch.nn.functional.normalize(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    assert torch.allclose(normals_of(ball, point), point, atol=2e-4)  # differences of float32 over a small width
    assert torch.allclose(normals_of(ball, point.double()), point.double(), atol=1e-6)


@pytest.mark.parametrize("height", [1.0, 2.0])
def test_a_shadow_is_as_soft_as_the_lamp_is_wide_and_far(height):
    """A thin wall over a floor, its edge above x = 0, under a lamp straight above: what a point of the floor sees is the
    share of a disk on one side of a line, twice as far off from twice the height."""
    light = Light(towards=(0.0, 0.0, 1.0), radius=0.2)
    x = torch.linspace(-0.7, 0.7, 15)
    point = torch.stack([x, 0 * x, 0 * x], 1).repeat_interleave(50, 0)
    up = torch.tensor([0.0, 0.0, 1.0]).expand_as(point)
    wall = lambda p: sdf.box(p - p.new_tensor([-5.0, 0.0, height]), (5.0, 50.0, 0.01))  # noqa: E731
    seen = lamp_light(wall, point, up, light, far=100.0, tolerance=1e-4).view(-1, 50).mean(1)
    edge = (x / (height * math.tan(0.2))).clamp(-1, 1)
    share = 0.5 + (edge * (1 - edge.square()).sqrt() + edge.asin()) / math.pi
    assert torch.allclose(seen, share, atol=0.03)  # light from the rim of the lamp is a fiftieth less


def test_light_falls_with_the_cosine_and_not_from_below():
    light = Light(towards=(0.0, 3.0, 4.0), radius=0.05)
    normal = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    seen = lamp_light(lambda p: 1 + 0 * p[:, 0], torch.zeros(4, 3), normal, light, far=9.0, tolerance=1e-4)
    assert torch.allclose(seen, torch.tensor([0.8, 0.6, 0.0, 0.0]), atol=0.02)


def test_a_picture_of_a_ball():
    origin, direction = rays_at(0.6, 20)
    missing, _ = rays_at(1.5, 20)
    rays = Rays(torch.cat([origin, missing]), torch.cat([direction, direction]), torch.full((40,), 0.5))
    picture = trace(ball, rays, far=10.0, background=(0.1, 0.2, 0.3))
    assert picture.opacity.tolist() == [1.0] * 20 + [0.0] * 20
    assert torch.allclose(picture.distance[:20], torch.full((20,), 2.2), atol=1e-3) and not picture.distance[20:].any()
    assert torch.allclose(picture.z_depth, 0.5 * picture.distance)
    assert torch.allclose(picture.rgb[20:], torch.tensor([0.1, 0.2, 0.3])) and not picture.normal[20:].any()
    assert torch.allclose(picture.normal[:20, 2], torch.full((20,), 0.8), atol=1e-3)
    lit = trace(ball, Rays(origin, direction), far=10.0, light=Light(towards=(0.0, 0.0, 1.0))).rgb.mean()
    from_behind = trace(ball, Rays(origin, direction), far=10.0, light=Light(towards=(0.0, 0.0, -1.0))).rgb.mean()
    assert lit > from_behind + 0.2 and picture.rgb.min() >= 0 and picture.rgb.max() <= 1


def model(scale=0.25, radius=0.3):
    """Of a ball of ``radius / scale`` about (2, 0, 0)."""
    field = SDFField(num_levels=2, features=2, log2_table=6, coarsest=2, finest=4, hidden=16)
    field.initialise(torch.Generator().manual_seed(0))
    field.learned = lambda p: (p - 0.5).norm(dim=-1) - radius
    return DistanceModel(field, SceneTransform(scale, (0.5 - 2 * scale, 0.5, 0.5)), dict(scene="ball"))


def test_a_model_is_in_the_users_world():
    ours = model()
    points = torch.tensor([[2.0, 0, 0], [2, 2, 0], [2, 0, 1.2]])
    assert torch.allclose(ours.distance(points), torch.tensor([-1.2, 0.8, 0.0]), atol=1e-5)
    assert 3 <= ours.distance(torch.tensor([[7.0, 0, 0]])).item() <= 3.8  # outside the box it may be less than true
    assert torch.allclose(ours.normal(points[1:2]), torch.tensor([[0.0, 1.0, 0.0]]), atol=1e-5)
    camera = Camera(33, 33, 60.0, 60.0, 16.5, 16.5)
    image = ours.render_image(camera, look_at((2.0, -6.0, 0.0), (2.0, 0.0, 0.0)), "black")
    assert image["rgb"].shape == (33, 33, 3) and image["normal"].shape == (33, 33, 3)
    assert image["opacity"][16, 16] == 1 and image["opacity"][0, 0] == 0 and not image["rgb"][0, 0].any()
    assert image["distance"][16, 16].item() == pytest.approx(4.8, abs=2e-3)
    assert torch.allclose(image["normal"][16, 16], torch.tensor([0.0, -1.0, 0.0]), atol=1e-3)


def test_a_saved_model_is_the_same():
    field = SDFField(num_levels=2, features=2, log2_table=6, coarsest=2, finest=4, hidden=16, hidden_layers=2)
    field.initialise(torch.Generator().manual_seed(1))
    ours = DistanceModel(field, SceneTransform(0.5, (0.1, 0.2, 0.3)), dict(scene="any"))
    tensors, description = ours.state()
    again = DistanceModel.from_state({k: v.clone() for k, v in tensors.items()}, json.loads(json.dumps(description)))
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(2))
    assert torch.equal(again.distance(points), ours.distance(points)) and again.header == ours.header
    assert torch.equal(again.world_box, ours.world_box)
