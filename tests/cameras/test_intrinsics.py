"""Projection, its inverse, and the pixel grid."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerfcore.cameras import Camera
from nerfcore.errors import SceneError

PHONE = Camera(  # intrinsics of the fox capture
    1080, 1920, 1375.52, 1374.49, 554.558, 965.268, k1=0.0578421, k2=-0.0805099, p1=-0.000980296, p2=0.00015575
)
PINHOLE = Camera(8, 6, 10.0, 12.0, 4.0, 3.0)
BARREL = Camera(640, 480, 400.0, 400.0, 320.0, 240.0, k1=-0.1)


def opencv_project(camera, x, y, z):
    """OpenCV's formula, written out for one point in OpenCV's own axes (y down, looks along +z)."""
    x, y = x / z, y / z
    r2 = x**2 + y**2
    radial = 1 + camera.k1 * r2 + camera.k2 * r2**2 + camera.k3 * r2**3 + camera.k4 * r2**4
    xd = x * radial + 2 * camera.p1 * x * y + camera.p2 * (r2 + 2 * x**2)
    yd = y * radial + camera.p1 * (r2 + 2 * y**2) + 2 * camera.p2 * x * y
    return camera.fl_x * xd + camera.cx, camera.fl_y * yd + camera.cy


def test_project_follows_opencv():
    camera = Camera(100, 80, 90.0, 95.0, 51.0, 39.0, 0.1, -0.05, 0.02, 0.01, 0.003, -0.002)
    generator = np.random.default_rng(0)
    points = generator.uniform([-1, -1, 1], [1, 1, 4], (50, 3))
    expected = [opencv_project(camera, *point) for point in points]
    pixel, visible = camera.project(torch.from_numpy(points) * torch.tensor([1.0, -1.0, -1.0]))
    np.testing.assert_allclose(pixel.numpy(), expected, rtol=0, atol=1e-11)
    assert visible.all()


def test_pinhole_by_hand():
    pixel, visible = PINHOLE.project(torch.tensor([[0.0, 0.0, -2.0], [0.2, 0.1, -1.0], [0.2, 0.1, 1.0]]))
    assert torch.allclose(pixel[:2], torch.tensor([[4.0, 3.0], [6.0, 1.8]]))
    assert visible.tolist() == [True, True, False]
    assert torch.allclose(PINHOLE.unproject(torch.tensor([[6.0, 1.8]])), torch.tensor([[0.2, 0.1, -1.0]]))


def test_unproject_inverts_project_on_every_pixel_of_a_real_camera():
    pixel = PHONE.pixel_centres().double()
    direction = PHONE.unproject(pixel)
    back, visible = PHONE.project(3.0 * direction)
    assert visible.all() and (direction[:, 2] == -1).all()
    assert (back - pixel).abs().max() < 1e-6


def test_unproject_keeps_the_type_and_is_as_good_as_it_allows():
    pixel = PHONE.pixel_centres()[::1000]
    direction = PHONE.unproject(pixel)
    assert direction.dtype == torch.float32
    assert (direction.double() - PHONE.unproject(pixel.double())).abs().max() < 1e-7


@settings(deadline=None)  # wall time says nothing about the lens
@given(k1=st.floats(-0.1, 0.2), k2=st.floats(0, 0.1), p1=st.floats(-0.01, 0.01), p2=st.floats(-0.01, 0.01))
def test_unproject_inverts_project_for_any_mild_lens(k1, k2, p1, p2):
    camera = Camera(64, 48, 50.0, 52.0, 31.0, 25.0, k1=k1, k2=k2, p1=p1, p2=p2)
    pixel = camera.pixel_centres().double()
    assert (camera.project(camera.unproject(pixel))[0] - pixel).abs().max() < 1e-6


@pytest.mark.parametrize("camera", [PHONE, PINHOLE], ids=["distorted", "pinhole"])
def test_derivatives_match_finite_differences(camera):
    generator = torch.Generator().manual_seed(0)
    size = torch.tensor([camera.width, camera.height])
    pixel = (torch.rand(6, 2, generator=generator, dtype=torch.float64) * size).requires_grad_()
    points = torch.rand(6, 3, generator=generator, dtype=torch.float64) - torch.tensor([0.5, 0.5, 2.0])
    assert torch.autograd.gradcheck(camera.unproject, (pixel,), eps=1e-4)
    assert torch.autograd.gradcheck(lambda p: camera.project(p)[0], (points.requires_grad_(),))


def test_points_behind_or_past_the_fold_of_the_distortion_are_not_visible():
    # r (1 - 0.1 r²) grows until r² = 1 / 0.3; beyond r² = 10 it would even land inside the image again.
    fold = (1 / 0.3) ** 0.5
    radius = torch.tensor([0.0, 0.99 * fold, 1.01 * fold, 3.2], dtype=torch.float64)
    points = torch.stack([radius, torch.zeros(4), -torch.ones(4)], dim=-1).requires_grad_()
    pixel, visible = BARREL.project(torch.cat([points, points * -1]))
    assert visible.tolist() == [True, True, False, False] + [False] * 4
    assert pixel.isfinite().all()


def test_a_pixel_without_an_inverse_is_an_error_in_words():
    # the largest distorted radius is at the fold: 1.826 * (2 / 3) = 1.217, in pixels 487 from the centre
    BARREL.unproject(torch.tensor([[320.0 + 480.0, 240.0]]))
    with pytest.raises(SceneError, match=r"cannot be inverted at 1 of 2 pixels of a 640x480 image"):
        BARREL.unproject(torch.tensor([[320.0 + 495.0, 240.0], [320.0, 240.0]]))


def test_pixel_centres_are_row_major():
    centres = Camera(3, 2, 1.0, 1.0, 1.5, 1.0).pixel_centres()
    assert centres.tolist() == [[0.5, 0.5], [1.5, 0.5], [2.5, 0.5], [0.5, 1.5], [1.5, 1.5], [2.5, 1.5]]


def test_downscaled_sees_the_same_directions_and_crops():
    small = PHONE.downscaled(7)
    assert (small.width, small.height) == (154, 274)
    corner_of_both = torch.tensor([[10.0, 20.0]], dtype=torch.float64)
    assert torch.allclose(small.unproject(corner_of_both), PHONE.unproject(7 * corner_of_both), atol=1e-12)


def test_resized_sees_the_same_directions():
    half = PHONE.resized(540, 960)
    assert (half.width, half.height) == (540, 960)
    at = torch.tensor([[100.0, 200.0]], dtype=torch.float64)
    assert torch.allclose(half.unproject(at), PHONE.unproject(2 * at), atol=1e-12)
