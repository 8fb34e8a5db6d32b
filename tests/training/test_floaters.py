"""Shares of light that are known: a ball that many cameras see, and a small one that hangs before one of them."""

import math

import pytest
import torch

from nerfcore.cameras import Camera, camera_rays
from nerfcore.cameras.trajectories import orbit
from nerfcore.data.scene import SceneTransform
from nerfcore.fields import Field
from nerfcore.renderer.model import Model
from nerfcore.renderer.volume import Marching
from nerfcore.training.floaters import FloaterMeter
from nerfcore.types import Samples
from tests.analytic import full_grid

SCALE, RADIUS = 0.5, 0.07  # of the box in a world unit; of the ball, in box units
CAMERA = Camera(64, 48, 160.0, 160.0, 32.0, 24.0)


class Balls(Field):
    """Constant densities in balls: (middle, radius, density) each."""

    def __init__(self, balls, bounded=True):
        super().__init__()
        self.balls, self.bounded = balls, bounded

    def density(self, x):
        within = [density * ((x - x.new_tensor(at)).norm(dim=-1) < radius) for at, radius, density in self.balls]
        return torch.stack(within).sum(0), x

    def place_samples(self, origin, direction):
        border = torch.linspace(0.1, 0.9, 401).expand(len(origin), 401)
        start, end = (part.reshape(-1).contiguous() for part in (border[:, :-1], border[:, 1:]))
        return Samples(start, end, torch.arange(len(origin) + 1) * 400)


def model_of(field):
    """Sixteen cameras around the ball in the middle of the box, all within the box."""
    transform = SceneTransform(SCALE, (0.5, 0.5, 0.5))
    poses = torch.cat([orbit(torch.zeros(3), 0.45 / SCALE, elevation, 8) for elevation in (0.6, -0.6)])
    cameras = [(f"view {i}", CAMERA, pose) for i, pose in enumerate(poses)]
    return Model(field, full_grid(64), Marching.for_cascades(1), transform, cameras, {})


def before_camera(pose, aside):
    """Box coordinates of a point 0.15 before the camera, so far aside."""
    return (0.5 + SCALE * pose[:, 3] + pose[:, :3] @ torch.tensor([aside, 0.0, -0.15])).tolist()


def chord(pose, middle, radius):
    """[R]: how much of each of the camera's rays lies in a ball of box coordinates, in double precision."""
    rays = camera_rays(CAMERA, pose.double())
    to_middle = torch.tensor(middle, dtype=torch.float64) - (0.5 + SCALE * rays.origin)
    nearest = torch.linalg.cross(to_middle, rays.direction).norm(dim=-1)
    return 2 * (radius**2 - nearest.square()).clamp(min=0).sqrt()


@pytest.mark.parametrize("bounded, aside, opacity", [(True, 0.0, 0.3), (True, 0.025, 1.0), (False, 0.0, 1.0)])
def test_share_of_a_small_ball_before_one_camera(bounded, aside, opacity):
    pose = model_of(Balls([])).cameras[3][2]
    at, radius, middle = before_camera(pose, aside), 0.008, [0.5, 0.5, 0.5]
    density = 1e4 if opacity == 1 else -math.log(1 - opacity) / (2 * radius)
    model = model_of(Balls([(middle, RADIUS, 1e4), (at, radius, density)], bounded))
    floating, light = FloaterMeter(model)("held out", CAMERA, pose)
    stopped = -torch.expm1(-density * chord(pose, at, radius))
    expected = stopped + (1 - stopped) * (chord(pose, middle, RADIUS) > 0)
    assert (stopped > 0.2).sum() > 50
    assert light.sum().item() == pytest.approx(expected.sum().item(), rel=0.01)
    assert floating.sum() / light.sum() == pytest.approx((stopped.sum() / expected.sum()).item(), abs=0.01)
    assert floating.shape == (48, 64) and floating.flatten()[stopped == 0].mean() < 0.01


def test_what_many_cameras_see_is_no_floater():
    model = model_of(Balls([([0.5, 0.5, 0.5], RADIUS, 1e4)]))
    meter = FloaterMeter(model)
    for name, camera, pose in model.cameras[:2]:
        floating, light = meter(name, camera, pose)
        assert floating.sum() < 0.01 * light.sum()


def test_no_view_is_its_own_witness():
    """Of two cameras at one place, each is the other's witness alone."""
    model = model_of(Balls([([0.5, 0.5, 0.5], RADIUS, 1e4)]))
    _, camera, pose = model.cameras[0]
    model.cameras = [("a", camera, pose), ("b", camera, pose)]
    floating, light = FloaterMeter(model)("a", camera, pose)
    assert light.sum() > 100 and torch.equal(floating, light)
    floating, light = FloaterMeter(model)("c", camera, pose)
    assert light.sum() > 100 and floating.sum() < 0.01 * light.sum()


def test_empty_space_has_no_light():
    floating, light = FloaterMeter(model_of(Balls([([0.5, 0.5, 0.5], 0.0, 1.0)])))("held out", CAMERA, torch.eye(3, 4))
    assert not floating.any() and not light.any()
