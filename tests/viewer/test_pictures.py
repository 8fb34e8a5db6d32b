"""What a browser's camera sees: cameras of viser and ours, modes, and photographs looked up."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from nerfcore.cameras import Camera, Perspective, look_at
from nerfcore.colours import ramp
from nerfcore.types import Rays
from nerfcore.viewer.pictures import (
    View,
    fov_that_shows,
    look_up,
    paint,
    photo_at,
    pose_of_viser,
    thumbnail,
    viser_of_pose,
)
from tests.viewer.ball import CAMERA, ball, photo

POSE = look_at((3.0, -1.0, 2.0), (0.2, 0.1, 0.0))


def test_a_viser_camera_is_the_one_that_viser_means():
    """x right, y down, looking along z, in viser's units: what is before the camera there is before ours."""
    wxyz, position = np.array([0.3, -0.2, 0.7, 0.4]), np.array([1.0, 2.0, 3.0])
    wxyz /= np.linalg.norm(wxyz)
    turn = Rotation.from_quat(wxyz[[1, 2, 3, 0]]).as_matrix()
    pose = pose_of_viser(wxyz, position, unit=4.0).double().numpy()
    assert np.allclose(pose[:, 3], position / 4)
    assert np.allclose(-pose[:, 2], turn @ [0, 0, 1], atol=1e-6)
    assert np.allclose(pose[:, 0], turn @ [1, 0, 0], atol=1e-6) and np.allclose(pose[:, 1], turn @ [0, -1, 0], atol=1e-6)


def test_poses_go_to_viser_and_back():
    assert torch.allclose(pose_of_viser(**viser_of_pose(POSE, 2.5), unit=2.5), POSE, atol=1e-6)


def test_pictures_from_a_viser_camera_are_those_of_our_camera():
    """The same pixels as rays made by hand: vertical angle of view, y down the picture, centres at halves."""
    there = viser_of_pose(POSE, 2.0)
    view = View(pose_of_viser(**there, unit=2.0), 40.0, 36, 24)
    tangent = math.tan(math.radians(20.0))
    x = ((torch.arange(36) + 0.5) / 36 * 2 - 1) * tangent * 36 / 24
    y = -((torch.arange(24) + 0.5) / 24 * 2 - 1) * tangent
    y, x = torch.meshgrid(y, x, indexing="ij")
    local = torch.stack([x, y, -torch.ones_like(x)], dim=-1).reshape(-1, 3)
    direction = torch.nn.functional.normalize(local @ POSE[:, :3].T, dim=-1)
    expected = ball(Rays(POSE[:, 3].expand_as(direction), direction)).rgb.reshape(24, 36, 3)
    picture = paint(view, ball, [])
    assert np.abs(picture.rgb / 255.0 - expected.numpy()).max() < 0.01
    assert np.isinf(picture.z_depth).any() and picture.z_depth.min() == pytest.approx(2.7, abs=0.1)


def test_distances_are_bright_where_they_are_near():
    picture = paint(View(POSE, 40.0, 48, 48, "distance"), ball, [])
    luma = picture.rgb.astype(int).sum(-1)
    seen = np.isfinite(picture.z_depth)
    assert not luma[~seen].max() > luma[seen].min() and "world units" in picture.note
    assert luma.flat[picture.z_depth.argmin()] > 0.9 * luma.max()
    assert paint(View(look_at((9.0, 0, 0), (10.0, 0, 0)), 40.0, 4, 4, "distance"), ball, []).note == "nothing is there"


def test_normals_are_colours_of_world_axes():
    rgb = paint(View(look_at((0.0, 0.0, 5.0), (0, 0, 0), (0, 1, 0)), 10.0, 9, 9, "normals"), ball, []).rgb
    assert np.abs(rgb[4, 4].astype(int) - [128, 128, 255]).max() <= 1


LENSES = CAMERA, replace(CAMERA, lens=Perspective(k1=0.2)), Camera.panorama(512, 256)


@pytest.mark.parametrize("camera", LENSES, ids=["perspective", "distorted", "panorama"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("shift", [0.0, 0.01])
def test_no_error_where_the_photo_agrees(camera, alpha, shift):
    """Through the camera of a photograph, whatever its lens, or a little beside it: dark but for the ball's rim."""
    pose = POSE.clone()
    pose[0, 3] += shift
    other = photo(look_at((-3.0, 1.0, 2.0), (0.0, 0.0, 0.0)), name="b.png")
    picture = paint(View(pose, 30.0, 60, 40, "error"), ball, [other, photo(POSE, camera, alpha=alpha)])
    compared = ~(picture.rgb == 128).all(-1)
    assert picture.note.startswith("a.png (in training)") and compared.mean() > 0.6
    assert (picture.rgb[compared].max(-1) < 90).mean() > 0.9


def test_error_is_bright_where_the_photo_differs():
    black = replace(photo(POSE), image=lambda: torch.zeros(48, 64, 3))
    picture = paint(View(POSE, 30.0, 60, 40, "error", "white"), ball, [black])
    compared = ~(picture.rgb == 128).all(-1)
    assert picture.rgb[compared].min(0).tolist() == [252, 255, 164]  # nowhere is the ball or what is behind it dark


def test_error_far_from_all_photos_says_what_to_do():
    picture = paint(View(look_at((0.0, 4.0, 0.0), (0, 0, 0)), 30.0, 8, 8, "error"), ball, [photo(POSE)])
    assert picture.note == "go to a photo's camera to see its error"
    assert photo_at(POSE, [], 1.0) is None


def test_colours_are_looked_up_where_points_fall():
    """The middle of pixel (10, 7) has its very colour; what lies behind the camera is not shown."""
    taken = photo(torch.eye(3, 4))
    origin, direction = taken.camera.unproject(torch.tensor([[10.5, 7.5]]))
    rgb, shown = look_up(taken, torch.cat([2 * direction, -2 * direction]), "white")
    assert torch.allclose(rgb[0], taken.image()[7, 10], atol=1e-5) and shown.tolist() == [True, False]


def test_a_painting_is_given_up_once_outdated():
    calls = []
    assert paint(View(POSE, 40.0, 400, 300), ball, [], lambda: calls.append(0) or len(calls) > 2) is None
    assert len(calls) == 3


def test_the_window_holds_the_whole_photo():
    camera = Camera(200, 100, 100.0, 100.0, 100.0, 50.0)
    assert fov_that_shows(camera) == pytest.approx(math.degrees(2 * math.atan(0.5)))
    assert fov_that_shows(camera, aspect=1.0) == pytest.approx(90.0)
    assert 0 < fov_that_shows(Camera.panorama(64, 32)) < 120


def test_ramp_and_thumbnail():
    colours = ramp(torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0])).sum(-1)
    assert (colours.diff() >= 0).all() and torch.equal(colours[:2], colours[:1].expand(2))
    small = thumbnail(photo(POSE, alpha=True), 16)
    assert small.shape == (12, 16, 3) and small[0, 0].tolist() == [255] * 3
