"""What is up, where the origin lies and how long a unit is, against worlds of which they are known."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from nerfcore.cameras import look_at
from nerfcore.cameras.alignment import Similarity
from nerfcore.cameras.poses import rotation_exp
from nerfcore.sfm.upright import up_direction, upright

DISTURBED = Similarity(
    0.37, rotation_exp(torch.tensor([0.9, -1.7, 0.4], dtype=torch.float64)),
    torch.tensor([3.0, -8.0, 5.0], dtype=torch.float64),
)


def around(arc: float, count: int = 12, height: float = 2.0) -> torch.Tensor:
    """Level cameras on an arc about the z axis, 5 away, that look at the origin."""
    angle = torch.linspace(0, arc, count)
    eye = torch.stack([angle.sin() * 5, -angle.cos() * 5, torch.full_like(angle, height)], dim=-1)
    return look_at(eye, torch.zeros(3)).double()


def upward(count: int) -> torch.Tensor:
    return torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand(count, 3)


def turned(poses: torch.Tensor, degrees: float) -> torch.Tensor:
    """Cameras turned about their axes."""
    turn = rotation_exp(torch.tensor([0.0, 0.0, math.radians(degrees)], dtype=torch.float64))
    return torch.cat([poses[..., :3] @ turn, poses[..., 3:]], dim=-1)


def degrees_from_z(direction: torch.Tensor) -> float:
    return math.degrees(math.acos(min(1.0, float(direction[2]))))


@pytest.mark.parametrize("arc", [0.6, 2.0, math.tau])
@pytest.mark.parametrize("height", [-1.0, 0.5, 6.0])
def test_level_cameras_agree_on_up_wherever_they_look(arc, height):
    """From one side and high above, where the mean of what is up in the pictures would be far off."""
    found = up_direction(around(arc, height=height), upward(12))
    assert degrees_from_z(found) < 1  # the mean is off by up to 48


def test_cameras_on_their_side_do_not_count():
    poses = around(2.5)
    poses[::3] = turned(poses[::3], 90)
    assert degrees_from_z(up_direction(poses, upward(12))) < 0.5


def test_pictures_that_are_stored_turned():
    """Each camera was turned and its file says so: all of them agree."""
    poses, up = turned(around(2.5), 90), torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    assert degrees_from_z(up_direction(poses, up.expand(12, 3))) < 0.5


def test_parallel_horizons_leave_it_to_the_pictures():
    """A slider before a wall: every direction across is at right angles to all horizons."""
    poses = torch.stack([look_at((x, -4.0, 0.0), (x, 0.0, 0.0)).double() for x in torch.linspace(-1, 1, 9).tolist()])
    assert degrees_from_z(up_direction(poses, upward(9))) < 1e-3


def test_a_disturbed_world_is_put_right():
    poses = around(2.0)
    points = torch.randn(500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.7
    usual = 5.2
    found = upright(DISTURBED.poses(poses), upward(12), DISTURBED.points(points), DISTURBED.scale * usual)
    placed = found.poses(DISTURBED.poses(poses))
    assert torch.allclose(placed[:, :, 3].norm(dim=1), poses[:, :, 3].norm(dim=1) / usual, atol=1e-5)  # float32's look_at
    assert torch.allclose(placed[:, 2, 3], poses[:, 2, 3] / usual, atol=2e-3)
    assert abs(placed[0, 0, 2]) < 1e-6 and placed[0, 1, 2] < 0  # the first camera looks along y
    assert torch.linalg.det(found.rotation).item() == pytest.approx(1)


def test_cameras_that_look_the_same_way_have_the_points_at_the_origin():
    poses = torch.stack([look_at((x, -4.0, 0.0), (x, 0.0, 0.0)).double() for x in torch.linspace(-1, 1, 9).tolist()])
    points = torch.tensor([[0.0, 1.0, 2.0], [0.2, 1.2, 2.2], [500.0, 700.0, -300.0]], dtype=torch.float64)
    found = upright(poses, upward(9), points, 2.0)
    assert found.points(points).median(0).values.abs().max() < 1e-9 and found.scale == 0.5


def test_a_first_camera_that_looks_straight_down():
    down = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 5]], dtype=torch.float64)
    found = upright(torch.cat([down[None], around(6.0)]), upward(13), torch.zeros(5, 3, dtype=torch.float64), 1.0)
    top = found.poses(down)
    assert torch.allclose(normalize(top[:, 1], dim=0), top.new_tensor([0.0, 1.0, 0.0]), atol=1e-2)
