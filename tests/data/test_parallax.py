"""What lies outside a box: a ball before a wall all around, in closed form."""

from pathlib import Path

import pytest
import torch

from nerfcore.cameras import Camera, camera_rays, look_at
from nerfcore.data import Frame, Scene, SceneTransform, Split
from nerfcore.data.parallax import share_beyond

CAMERA = Camera(96, 96, 80.0, 80.0, 48.0, 48.0)
BALL = 1.0  # radius, world units


def texture(p, fine):
    """Waves on a ball about the origin, as many whatever its radius."""
    g = torch.Generator().manual_seed(0)
    wave, phase = fine * torch.randn(3, 30, generator=g), 6 * torch.rand(30, generator=g)
    return 0.5 + torch.sin(torch.nn.functional.normalize(p, dim=-1) @ wave + phase).mean(-1)


def scene(wall):
    """An arc of cameras, 4 from the middle of a ball, within a larger one."""
    turn = torch.linspace(0, 1.5, 12)
    poses = look_at(4 * torch.stack([turn.cos(), turn.sin(), 0.1 * (9 * turn).sin()], 1), (0.0, 0.0, 0.0))
    pixels = []
    for pose in poses:
        rays = camera_rays(CAMERA, pose)
        along, squared = (rays.origin * rays.direction).sum(1), rays.origin.square().sum(1)
        inner = along.square() - squared + BALL**2
        ball, behind = -along - inner.clamp(min=0).sqrt(), -along + (along**2 - squared + wall**2).sqrt()
        ball, behind = (rays.origin + distance[:, None] * rays.direction for distance in (ball, behind))
        grey = torch.where(inner > 0, texture(ball, 20), texture(behind, 60)).clamp(0, 1)
        pixels.append(grey[:, None].expand(-1, 3))
    frames = [Frame(str(i), CAMERA, pose, Path()) for i, pose in enumerate(poses)]
    count = CAMERA.width * CAMERA.height
    split = Split(frames, (torch.cat(pixels) * 255).byte(), torch.arange(len(poses) + 1) * count)
    return Scene("ball", Path(), split, None, split, SceneTransform(0.1, (0.5, 0.5, 0.5)), 1, False, "")


@pytest.mark.parametrize(("wall", "outside"), [(6.0, False), (25.0, True), (1000.0, True)])
def test_a_wall_outside_the_box_is_told_from_one_inside(wall, outside):
    """The ball covers about a sixth of a picture."""
    low, high = torch.tensor([[-8.0] * 3, [8.0] * 3])
    share = share_beyond(scene(wall), low, high)
    assert share > 0.6 if outside else share < 0.04
    assert share_beyond(scene(wall), low, high) == share


def test_all_is_outside_a_box_that_ends_before_the_ball():
    centres = scene(25.0).camera_centres()
    assert share_beyond(scene(25.0), centres.amin(0) - 0.5, centres.amax(0) + 0.5) > 0.6


@pytest.mark.parametrize("why", ["too few views", "nothing to see", "too far to tell"])
def test_nothing_is_said_where_nothing_can_be_told(why):
    given, half = scene(25.0), 8.0
    if why == "too few views":
        given.train.frames[2:] = []
    elif why == "nothing to see":
        given.train.pixels.fill_(100)
    else:
        half = 1e4
    assert share_beyond(given, torch.full((3,), -half), torch.full((3,), half)) is None
