"""Orbits, spirals, and splines through keyframes."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from nerfcore.cameras import (
    Spline,
    check_pose,
    face_one_way,
    look_at,
    looked_at,
    orbit,
    orbit_of,
    rotation_angle,
    spiral,
    spiral_of,
)


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


def random_poses(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return look_at(3 * torch.randn(n, 3, generator=generator), torch.randn(n, 3, generator=generator)).double()


def is_rotation(poses):
    r = poses[:, :, :3].double()
    return torch.allclose(r @ r.mT, torch.eye(3, dtype=torch.float64), atol=1e-5) and (torch.linalg.det(r) > 0).all()


def test_spiral_by_hand():
    """About a camera at the origin that looks along -z: (cos a, -sin a, -sin(a / 2)) times the radii, over two turns."""
    pose = torch.eye(3, 4)
    poses = spiral(pose, (2.0, 1.0, 0.5), 4.0, 8)
    a = torch.arange(8) * (math.pi / 2)
    expected = torch.stack([2 * a.cos(), -a.sin(), -0.5 * (a / 2).sin()], dim=-1)
    assert torch.allclose(poses[:, :, 3], expected, atol=1e-6) and is_rotation(poses)
    assert torch.allclose(looked_at(poses), torch.tensor([0.0, 0.0, -4.0]).double(), atol=1e-4)


def test_spiral_of_cameras_on_a_wall():
    eyes = torch.cartesian_prod(torch.linspace(-1, 1, 21), torch.tensor([0.0]), torch.linspace(-0.5, 0.5, 21)) + 5
    poses = look_at(eyes, eyes + torch.tensor([0.0, 1.0, 0.0]))
    found = spiral_of(poses, 3.0, 200)
    reach = (found[:, :, 3] - torch.tensor([5.0, 5.0, 5.0])).abs().amax(0)
    assert torch.allclose(reach, torch.tensor([0.9, 0.0, 0.45]), atol=1e-3)
    assert torch.allclose(looked_at(found), torch.tensor([5.0, 8.0, 5.0]).double(), atol=1e-3)
    with pytest.raises(ValueError, match="take an orbit"):
        spiral_of(orbit((0, 0, 0), 1.0, 0.3, 12), 1.0, 5)
    assert face_one_way(poses) and not face_one_way(orbit((0, 0, 0), 1.0, 0.3, 12))


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("n", [2, 3, 7])
def test_spline_passes_through_its_keyframes(n, loop):
    poses = random_poses(n)
    spline = Spline(poses, loop)
    again = torch.cat([poses, poses[:1]]) if loop else poses
    assert torch.allclose(spline(spline.knots), again, atol=1e-6)  # look_at gives single precision
    assert is_rotation(spline(spline.parameters(100)))


def test_spline_is_smooth_also_where_a_loop_closes():
    """Second differences of position and rotation have no step, at no knot, and the seam is no different."""
    spline = Spline(random_poses(6, 2), loop=True)
    length, h = spline.knots[-1], 1e-4

    def second(at):
        before, here, after = (spline((at + k * h) % length) for k in (-1, 0, 1))
        return (after - 2 * here + before) / h**2

    for knot in spline.knots:
        near = second(np.array([knot - 3 * h, knot + 3 * h]))
        assert (near[0] - near[1]).abs().max() < 0.02 * near.abs().max(), knot


def test_spline_of_keyframes_on_a_line_does_not_overshoot():
    """Four keyframes, two of them close together: a spline over equal parameters runs back and forth there."""
    x = torch.tensor([0.0, 1.0, 1.02, 2.0], dtype=torch.float64)
    poses = look_at(torch.stack([x, 0 * x, 0 * x], dim=-1), torch.tensor([1.0, 9.0, 0.0]))
    spline = Spline(poses)
    found = spline(spline.parameters(500))[:, 0, 3]
    assert found.min() > -0.01 and found.max() < 2.01
    inside = (found > 0.99) & (found < 1.03)
    assert (found.diff()[:-1][inside[1:-1]] > -1e-3).all()


def test_spline_at_constant_speed():
    eyes = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 5, 0], [3, 5, 2]], dtype=torch.float64)
    spline = Spline(look_at(eyes, torch.tensor([0.0, 20.0, 0.0])))
    poses = spline(spline.parameters(200, constant_speed=True))
    steps = poses[:, :, 3].diff(dim=0).norm(dim=-1)
    assert steps.std() / steps.mean() < 0.01
    uneven = spline(spline.parameters(200))[:, :, 3].diff(dim=0).norm(dim=-1)
    assert uneven.std() / uneven.mean() > 0.1


def test_spline_of_a_camera_that_turns_in_place():
    headings = torch.tensor([0.0, 0.5, 2.0, 3.0], dtype=torch.float64)
    poses = look_at(torch.zeros(4, 3).double(), torch.stack([headings.cos(), headings.sin(), 0 * headings], dim=-1))
    spline = Spline(poses)
    turned = spline(spline.parameters(50, constant_speed=True))
    assert not turned[:, :, 3].any()
    angle = rotation_angle(turned[1:, :, :3], turned[:-1, :, :3])
    assert angle.std() / angle.mean() < 0.01 and angle.sum().item() == pytest.approx(3.0, rel=1e-2)


def test_spline_between_equal_keyframes_stays():
    pose = random_poses(1)
    assert torch.allclose(Spline(pose.expand(3, 3, 4))(np.array([0.0])), pose, atol=1e-6)
    with pytest.raises(ValueError, match="at least 2 keyframes"):
        Spline(pose)
