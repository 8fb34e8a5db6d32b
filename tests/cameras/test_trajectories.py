"""Orbits."""

import math

import pytest
import torch
from scipy.optimize import least_squares

from nerfcore.cameras import check_pose, look_at, looked_at, orbit, orbit_of


def test_orbit_by_hand():
    poses = orbit((1.0, 2.0, 3.0), 2.0, math.pi / 6, 4)
    level = math.sqrt(3)
    expected = torch.tensor([[1 + level, 2, 4], [1, 2 + level, 4], [1 - level, 2, 4], [1, 2 - level, 4]])
    assert torch.allclose(poses[:, :, 3], expected, atol=1e-5)
    toward = torch.nn.functional.normalize(torch.tensor([1.0, 2.0, 3.0]) - poses[:, :, 3], dim=-1)
    assert torch.allclose(-poses[:, :, 2], toward, atol=1e-6)


@pytest.mark.parametrize("up", [(0.0, 1.0, 0.0), (0.3, -2.0, 0.7)])
def test_orbit_about_any_up(up):
    poses = orbit((0.5, 0.0, -1.0), 3.0, 0.4, 7, up)
    arm = poses[:, :, 3] - torch.tensor([0.5, 0.0, -1.0])
    axis = torch.nn.functional.normalize(torch.tensor(up), dim=0)
    assert torch.allclose(arm.norm(dim=-1), torch.full((7,), 3.0))
    assert torch.allclose(torch.asin(arm @ axis / 3.0), torch.full((7,), 0.4), atol=1e-5)
    turn = torch.linalg.cross(arm, arm.roll(-1, 0), dim=-1) @ axis
    assert (turn > 0).all()
    for pose in poses:
        check_pose(pose, "orbit")


def test_orbit_of_an_orbit_is_the_same_circle():
    center, up = torch.tensor([0.4, -1.0, 2.0]), torch.tensor([0.1, 1.0, -0.2])
    found = orbit_of(orbit(center, 3.0, 0.5, 12, up), 12)
    arm = found[:, :, 3] - center
    assert torch.allclose(arm.norm(dim=-1), torch.full((12,), 3.0), atol=1e-4)
    assert torch.allclose(arm @ (up / up.norm()), torch.full((12,), 3.0 * math.sin(0.5)), atol=1e-4)


def test_orbit_of_turns_about_the_point_nearest_to_all_axes():
    generator = torch.Generator().manual_seed(1)
    eyes = torch.randn(9, 3, generator=generator) + torch.tensor([0.0, 0.0, 1.5])
    poses = look_at(3 * eyes / eyes.norm(dim=-1, keepdim=True), 0.2 * torch.randn(9, 3, generator=generator))

    def gaps(point):
        arm = torch.from_numpy(point) - poses[:, :, 3].double()
        return torch.linalg.cross(arm, poses[:, :, 2].double(), dim=-1).flatten().numpy()

    expected = torch.from_numpy(least_squares(gaps, [0.0, 0.0, 0.0]).x)
    found = orbit_of(poses, 5)
    arm = expected - found[:, :, 3].double()
    assert torch.linalg.cross(arm, found[:, :, 2].double(), dim=-1).abs().max() < 1e-4


def test_orbit_of_parallel_cameras_turns_about_the_point_nearest_to_the_origin():
    eyes = torch.tensor([[-1.0, -4.0, 0.0], [1.0, -4.0, 0.0]])
    poses = look_at(eyes, eyes + torch.tensor([0.0, 1.0, 0.0]))
    found = orbit_of(poses, 6)
    assert torch.allclose(found[:, :, 3].norm(dim=-1), torch.full((6,), math.sqrt(17)), atol=1e-4)


def test_looked_at_is_where_all_axes_meet():
    target = torch.tensor([0.3, -2.0, 1.0])
    eyes = target + torch.randn(5, 3, generator=torch.Generator().manual_seed(4))
    assert torch.allclose(looked_at(look_at(eyes, target)), target.double(), atol=1e-4)
