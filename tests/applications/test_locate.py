"""Poses of photographs, found again in a field that is known."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from nerfcore.applications import locate as module
from nerfcore.applications.locate import corners, locate, moved
from nerfcore.cameras import Camera, look_at, rotation_angle, rotation_exp
from nerfcore.errors import NerfcoreError
from tests.analytic import Blob, model_of

CAMERA = Camera(64, 48, 70.0, 70.0, 32.0, 24.0)


@pytest.fixture
def few_particles(monkeypatch):
    monkeypatch.setattr(module, "PARTICLES", 96)
    monkeypatch.setattr(module, "ELITES", 12)
    monkeypatch.setattr(module, "ROUNDS", 5)


@pytest.fixture
def model():
    return model_of(Blob(peak=60.0), scale=0.25)


@pytest.mark.parametrize("with_start", [True, False])
def test_a_photograph_is_located(few_particles, model, with_start):
    """Started 9 degrees and 6 % away, or from the training cameras alone."""
    pose = look_at((4.0, -2.5, 1.5), (0.1, 0.0, -0.1))
    photo = model.render_image(CAMERA, pose)["rgb"]
    distance = pose[:, 3].norm()
    axis = normalize(torch.tensor([0.3, -0.8, 0.5]), dim=0)
    turned = pose[:, :3] @ rotation_exp(math.radians(9.0) * axis)
    start = torch.cat((turned, (pose[:, 3] + 0.06 * distance * axis)[:, None]), 1)
    if with_start:
        found = locate(model, photo, CAMERA, [start], turn=12.0, shift=0.1)
    else:
        found = locate(model, photo, CAMERA, turn=45.0, shift=0.5)
    turn = math.degrees(rotation_angle(found.pose[:, :3], pose[:, :3]).item())
    away = ((found.pose[:, 3] - pose[:, 3]).norm() / distance).item()
    assert turn < 1.0 and away < 0.02 and found.psnr > 35
    assert found.covariance.shape == (6, 6) and torch.linalg.eigvalsh(found.covariance).min() > -1e-9
    assert found.turn_error < 1.0 and found.shift_error < 0.05 * distance


def test_motions_are_about_and_along_the_camera_s_axes():
    pose = look_at((0.0, -3.0, 0.0), (0.0, 0.0, 0.0))
    motion = torch.tensor([[0.0, 0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.0, math.pi, 0, 0, 0]])
    right, back, rolled = moved(pose, motion, distance=2.0)
    assert torch.allclose(right[:, 3], torch.tensor([2.0, -3.0, 0.0]), atol=1e-6)
    assert torch.allclose(back[:, 3], torch.tensor([0.0, -5.0, 0.0]), atol=1e-6)
    assert torch.allclose(rolled[:, 1], -pose[:, 1], atol=1e-6) and torch.equal(rolled[:, 3], pose[:, 3])


def test_interest_is_about_corners_and_not_along_edges():
    image = torch.zeros(1, 3, 40, 40)
    image[:, :, 10:, 15:] = 1.0
    interest = corners(image)
    assert interest[10, 15] > 0.1 and interest[10, 32] < 1e-3 and interest[32, 15] < 1e-3 and interest[3, 3] == 0


def test_a_photograph_of_another_size_is_refused(model):
    with pytest.raises(NerfcoreError, match=r"a camera of 64 x 48 pixels takes no photograph \[5, 5, 3\]"):
        locate(model, torch.zeros(5, 5, 3), CAMERA)
