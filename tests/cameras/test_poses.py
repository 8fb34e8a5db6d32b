"""Poses: where cameras look, and which matrices are turned away."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerfcore.cameras import check_pose, look_at, rotation_angle, rotation_exp
from nerfcore.errors import SceneError

IDENTITY = torch.eye(4).tolist()
coordinate = st.floats(-5, 5, width=32)


def changed(row, column, value):
    matrix = [list(line) for line in IDENTITY]
    matrix[row][column] = value
    return matrix


def test_look_at_from_the_front():
    expected = [[1, 0, 0, 0], [0, 0, -1, -3], [0, 1, 0, 0]]  # right is x, the picture's up is z, backward is -y
    assert look_at((0, -3, 0), (0, 0, 0)).tolist() == expected


@settings(deadline=None)  # wall time says nothing about the pose
@given(eye=st.tuples(coordinate, coordinate, coordinate), target=st.tuples(coordinate, coordinate, coordinate))
def test_look_at_is_a_rotation_that_points_at_the_target(eye, target):
    level = math.dist(eye[:2], target[:2])
    if level < 0.1:
        return
    pose = look_at(eye, target).double()
    rotation = pose[:, :3]
    assert torch.allclose(rotation.T @ rotation, torch.eye(3).double(), atol=1e-5)
    assert torch.linalg.det(rotation) > 0
    forward = torch.tensor(target).double() - torch.tensor(eye).double()
    assert torch.allclose(-rotation[:, 2], forward / forward.norm(), atol=1e-5)
    assert abs(rotation[2, 0]) < 1e-6 and rotation[2, 1] > 0  # level horizon, head up


def test_look_at_broadcasts():
    eyes = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 1.0]])
    poses = look_at(eyes, (0, 0, 0))
    assert torch.equal(poses, torch.stack([look_at(eye, (0, 0, 0)) for eye in eyes]))


@pytest.mark.parametrize("eye", [(0, 0, 0), (0, 0, 2)], ids=["zero", "parallel to up"])
def test_look_at_refuses_undefined_directions(eye):
    with pytest.raises(ValueError, match="parallel to up"):
        look_at(eye, (0, 0, 0))


def test_check_pose_keeps_rotations_and_drops_the_last_row():
    pose = look_at((1.0, -3.0, 0.5), (0.0, 0.2, 0.0))
    four = torch.cat([pose, torch.tensor([[0.0, 0.0, 0.0, 1.0]])])
    for matrix in (pose, four, four.tolist()):
        checked = check_pose(matrix, "here")
        assert checked.dtype == torch.float64 and torch.allclose(checked.float(), pose, atol=1e-6)
        assert torch.allclose(check_pose(checked, "here"), checked, rtol=0, atol=1e-14)


def test_check_pose_divides_out_a_uniform_scale():
    pose = look_at((1.0, -3.0, 0.5), (0.0, 0.2, 0.0))
    scaled = torch.cat([3.7 * pose[:, :3], pose[:, 3:]], dim=1)
    assert torch.allclose(check_pose(scaled, "here").float(), pose, atol=1e-6)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (changed(0, 3, math.nan), "NaN"),
        (changed(1, 1, math.inf), "NaN or infinity"),
        (changed(0, 0, 1.1), "not a rotation"),
        (changed(0, 1, 0.1), "not a rotation"),
        ([[0.0] * 4] * 4, "not a rotation"),
        (changed(2, 2, -1.0), "mirrors"),
        (None, "not a 4x4 matrix"),
        ([[1.0, 2.0], [3.0]], "not a 4x4 matrix"),
        ([["a"] * 4] * 4, "not a 4x4 matrix"),
        (torch.eye(3), "not a 4x4 matrix"),
    ],
)
def test_check_pose_says_what_is_wrong(matrix, words):
    with pytest.raises(SceneError, match=f"^frame 7: .*{words}"):
        check_pose(matrix, "frame 7")


def test_rotation_exp_is_the_exponential_of_the_cross_product():
    vector = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    vector[:10] *= 1e-6
    vector[0] = 0
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    matrix = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(-1, 3, 3)
    assert torch.allclose(rotation_exp(vector), torch.linalg.matrix_exp(matrix), atol=1e-14)
    expected = vector.norm(dim=-1).remainder(math.tau)
    angle = rotation_angle(rotation_exp(vector), torch.eye(3, dtype=torch.float64))
    assert torch.allclose(angle, torch.minimum(expected, math.tau - expected), rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize("size", [0.0, 1e-5, 1.0])
def test_rotation_exp_has_gradients_at_no_angle_too(size):
    vector = (size * torch.tensor([[0.6, -0.3, 0.7]], dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(rotation_exp, vector)
