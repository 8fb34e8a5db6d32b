"""Lenses against OpenCV and COLMAP, and at their limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerfcore.cameras import LENSES, Camera, Equirectangular, Fisheye, Orthographic, Perspective
from nerfcore.errors import SceneError

TO_OPENCV = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)  # y down, looks along +z
BARREL = Camera(640, 480, 400.0, 400.0, 320.0, 240.0, Perspective(k1=-0.1))
RATIONAL = Perspective(  # a calibration of a wide webcam by OpenCV's rational model
    k1=8.2, k2=4.1, k3=0.25, p1=2e-4, p2=-1e-4, d1=8.5, d2=6.6, d3=1.15
)
LENSES_TO_TRY = {
    "radial-tangential": Perspective(0.1, -0.05, 0.02, p1=0.003, p2=-0.002),
    "strong barrel": Perspective(-0.32, 0.12, -0.02, p1=0.001),
    "four radial terms": Perspective(0.1, -0.05, 0.02, 0.01, 0.003, -0.002),
    "rational": RATIONAL,
    "fisheye": Fisheye(0.08, -0.02, 0.01, -0.003),
    "ideal fisheye": Fisheye(),
    "panorama": Equirectangular(),
    "orthographic": Orthographic(),
}


def camera_with(lens) -> Camera:
    return Camera(640, 480, 420.0, 425.0, 318.0, 243.0, lens)


def points_before(count=200, near=1.0):
    generator = np.random.default_rng(0)
    return torch.from_numpy(generator.uniform([-0.8, -0.8, near], [0.8, 0.8, 4], (count, 3)))


def test_four_radial_terms_as_instant_ngp_writes_them():
    """One point after another, by the formula."""
    camera = camera_with(LENSES_TO_TRY["four radial terms"])
    lens, points = camera.lens, points_before(50)
    pixel, visible = camera.project(points * TO_OPENCV)
    for (x, y, z), found in zip(points.tolist(), pixel.tolist(), strict=True):
        x, y = x / z, y / z
        r2 = x**2 + y**2
        radial = 1 + lens.k1 * r2 + lens.k2 * r2**2 + lens.k3 * r2**3 + lens.k4 * r2**4
        distorted = (
            x * radial + 2 * lens.p1 * x * y + lens.p2 * (r2 + 2 * x**2),
            y * radial + lens.p1 * (r2 + 2 * y**2) + 2 * lens.p2 * x * y,
        )
        assert found == pytest.approx([420 * distorted[0] + 318, 425 * distorted[1] + 243], abs=1e-10)
    assert visible.all()


@pytest.mark.parametrize("name", ["radial-tangential", "strong barrel", "rational"])
def test_perspective_follows_opencv(name):
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    lens = LENSES_TO_TRY[name]
    matrix = np.array([[420.0, 0, 318], [0, 425, 243], [0, 0, 1]])
    coefficients = np.array([lens.k1, lens.k2, lens.p1, lens.p2, lens.k3, lens.d1, lens.d2, lens.d3])
    points = points_before()
    expected, _ = cv2.projectPoints(points.numpy(), np.zeros(3), np.zeros(3), matrix, coefficients)
    pixel, visible = camera_with(lens).project(points * TO_OPENCV)
    assert visible.all()
    np.testing.assert_allclose(pixel.numpy(), expected[:, 0], rtol=0, atol=1e-9)


def test_fisheye_follows_opencv():
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    lens = LENSES_TO_TRY["fisheye"]
    matrix = np.array([[420.0, 0, 318], [0, 425, 243], [0, 0, 1]])
    coefficients = np.array([lens.k1, lens.k2, lens.k3, lens.k4])
    points = points_before(near=0.2)
    expected, _ = cv2.fisheye.projectPoints(points.numpy()[:, None], np.zeros(3), np.zeros(3), matrix, coefficients)
    pixel, visible = camera_with(lens).project(points * TO_OPENCV)
    assert visible.all()
    np.testing.assert_allclose(pixel.numpy(), expected[:, 0], rtol=0, atol=1e-9)


COLMAP = {
    "SIMPLE_PINHOLE": ([420, 318, 243], (420, 420), Perspective()),
    "PINHOLE": ([420, 425, 318, 243], (420, 425), Perspective()),
    "SIMPLE_RADIAL": ([420, 318, 243, 0.06], (420, 420), Perspective(0.06)),
    "RADIAL": ([420, 318, 243, 0.06, -0.08], (420, 420), Perspective(0.06, -0.08)),
    "OPENCV": ([420, 425, 318, 243, 0.1, -0.05, 3e-3, -2e-3], (420, 425), Perspective(0.1, -0.05, p1=3e-3, p2=-2e-3)),
    "OPENCV_FISHEYE": ([420, 425, 318, 243, 0.08, -0.02, 0.01, -0.003], (420, 425), Fisheye(0.08, -0.02, 0.01, -0.003)),
    "FULL_OPENCV": ([420, 425, 318, 243, 8.2, 4.1, 2e-4, -1e-4, 0.25, 8.5, 6.6, 1.15], (420, 425), RATIONAL),
}


@pytest.mark.parametrize("model", COLMAP)
def test_lenses_follow_colmap(model):
    pycolmap = pytest.importorskip("pycolmap", reason="pycolmap is not installed")
    params, focal, lens = COLMAP[model]
    theirs, ours = pycolmap.Camera(model=model, width=640, height=480, params=params), Camera(640, 480, *focal, 318, 243, lens)
    points = points_before(near=0.5 if model == "OPENCV_FISHEYE" else 1.0)
    pixel, _ = ours.project(points * TO_OPENCV)
    np.testing.assert_allclose(pixel.numpy(), theirs.img_from_cam(points.numpy()), rtol=0, atol=1e-9)
    _, direction = ours.unproject(pixel)
    there = theirs.cam_from_img(pixel.numpy())
    np.testing.assert_allclose((direction[:, :2] / -direction[:, 2:]).numpy(), there * [1, -1], rtol=0, atol=1e-6)


def test_a_panorama_follows_colmap():
    pycolmap = pytest.importorskip("pycolmap", reason="pycolmap is not installed")
    if not hasattr(pycolmap.CameraModelId, "EQUIRECTANGULAR"):
        pytest.skip("this pycolmap has no equirectangular cameras")
    theirs = pycolmap.Camera(model="EQUIRECTANGULAR", width=640, height=320, params=[640, 320])
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 3)))
    pixel, visible = Camera.panorama(640, 320).project(points * TO_OPENCV)
    assert visible.all()
    np.testing.assert_allclose(pixel.numpy(), theirs.img_from_cam(points.numpy()), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", LENSES_TO_TRY)
def test_every_pixel_comes_back(name):
    camera = Camera.panorama(640, 320) if name == "panorama" else camera_with(LENSES_TO_TRY[name])
    pixel = camera.pixel_centres().double()
    origin, direction = camera.unproject(pixel)
    back, visible = camera.project(origin + 2.0 * direction)
    assert visible.all() and (back - pixel).abs().max() < 1e-6


@settings(deadline=None)  # wall time says nothing about the lens
@given(
    k=st.lists(st.floats(-0.4, 0.4), min_size=4, max_size=4), p=st.lists(st.floats(-0.01, 0.01), min_size=2, max_size=2),
    d=st.lists(st.floats(-0.4, 0.4), min_size=3, max_size=3),
)
def test_any_perspective_lens_is_inverted_within_its_fold(k, p, d):
    lens = Perspective(*k, *p, *d)
    radius = torch.linspace(0, 0.9 * min(lens._fold, 2.0), 30, dtype=torch.float64)
    angle = torch.arange(30) * 2.4
    points = torch.stack([radius * angle.cos(), radius * angle.sin(), -torch.ones(30)], dim=-1)
    plane, visible = lens.flatten(points)
    assert visible.all()
    try:
        _, direction = lens.lift(plane)
    except SceneError:  # tangential terms may fold earlier than the radial ones
        assert any(p)
        return
    again, _ = lens.flatten(direction)
    assert (again - plane).abs().max() < 1e-9


@settings(deadline=None)
@given(k=st.lists(st.floats(-0.3, 0.3), min_size=4, max_size=4))
def test_any_fisheye_is_inverted_up_to_its_limit(k):
    lens = Fisheye(*k)
    theta = torch.linspace(0, 0.999 * lens._limit, 40, dtype=torch.float64)
    points = torch.stack([theta.sin(), torch.zeros(40), -theta.cos()], dim=-1)
    plane, visible = lens.flatten(points)
    assert visible.all() and torch.allclose(plane[:, 0], theta * sum(c * theta ** (2 * i) for i, c in enumerate([1, *k])))
    _, direction = lens.lift(plane)
    assert (lens.flatten(direction)[0] - plane).abs().max() < 1e-9


def across(*radii, depth=1.0):
    radius = torch.tensor(radii, dtype=torch.float64)
    return torch.stack([radius, torch.zeros_like(radius), torch.full_like(radius, -depth)], dim=-1)


def test_points_behind_or_past_the_fold_are_not_visible():
    # r (1 - 0.1 r²) grows until r² = 1 / 0.3; beyond r² = 10 it would even land inside the image again.
    fold = (1 / 0.3) ** 0.5
    points = across(0.0, 0.99 * fold, 1.01 * fold, 3.2)
    pixel, visible = BARREL.project(torch.cat([points, points * -1]))
    assert visible.tolist() == [True, True, False, False] + [False] * 4
    assert pixel.isfinite().all()


def test_the_fold_of_a_rational_lens():
    # r / (1 + r²) grows until r = 1; r / (1 - r²) up to its pole at r = 1; r (1 + r²) / (1 + 0.5 r²) for ever
    for lens in (Perspective(d1=1.0), Perspective(d1=-1.0)):
        assert lens.flatten(across(0.999, 1.001))[1].tolist() == [True, False]
    assert Perspective(k1=1.0, d1=0.5).flatten(across(1e6))[1].all()


def test_a_fisheye_sees_up_to_its_fold_also_behind():
    # θ (1 - 0.05 θ²) grows until θ² = 1 / 0.15, that is 147.9 degrees
    lens, angle = Fisheye(k1=-0.05), torch.deg2rad(torch.tensor([0.0, 90.0, 147.0, 149.0, 180.0], dtype=torch.float64))
    points = torch.stack([angle.sin(), torch.zeros(5), -angle.cos()], dim=-1)
    points[-1, 0] = 0
    plane, visible = lens.flatten(points)
    assert visible.tolist() == [True, True, True, False, False] and plane.isfinite().all()
    rim = lens._curve(torch.tensor(lens._limit))[0].item()
    assert lens.covers(across(0.99 * rim, 1.01 * rim)[:, :2]).tolist() == [True, False]
    assert Fisheye().covers(across(math.pi - 1e-6, math.pi + 1e-6)[:, :2]).tolist() == [True, False]


def test_wide_lenses_do_not_see_their_own_centre():
    for lens in (Fisheye(), Equirectangular()):
        plane, visible = lens.flatten(torch.zeros(1, 3))
        assert not visible.any() and plane.isfinite().all()


@pytest.mark.parametrize("lens", [Fisheye(0.1), Equirectangular()], ids=lambda lens: lens.name)
def test_derivatives_are_finite_on_the_axes(lens):
    """Where the off-axis angle, or the longitude, has none."""
    points = torch.tensor([[0.0, 0, -2], [0.0, 0, 2], [0.0, 2, 0], [0.0, -2, 0], [0.0, 0, 0]], requires_grad=True)
    lens.flatten(points)[0].sum().backward()
    assert points.grad.isfinite().all()
    plane = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    x, y, _ = lens.lift(plane)[1].unbind(-1)
    assert torch.autograd.grad((x + 2 * y).sum(), plane)[0].tolist() == [[1.0, -2.0]]


def test_a_pixel_without_a_ray_is_an_error_in_words():
    # the largest distorted radius is at the fold: 1.826 * (2 / 3) = 1.217, in pixels 487 from the centre
    BARREL.unproject(torch.tensor([[320.0 + 480.0, 240.0]]))
    words = r"^The perspective lens \(k1 -0.1\) has no ray for some pixels of its picture; calibrate it again[^\n]*$"
    with pytest.raises(SceneError, match=words):
        BARREL.unproject(torch.tensor([[320.0 + 495.0, 240.0], [320.0, 240.0]]))
    with pytest.raises(SceneError, match=r"The fisheye lens \(no distortion\) has no ray"):
        camera_with(Fisheye()).unproject(torch.tensor([[318.0 + 420 * 3.2, 243.0]]))
    with pytest.raises(SceneError, match="The equirectangular lens"):
        Camera.panorama(20, 10).unproject(torch.tensor([[3.0, 10.1]]))


def test_lenses_are_known_by_their_names():
    assert {name: lens.name for name, lens in LENSES.items()} == {name: name for name in LENSES}
    assert {type(lens) for lens in LENSES_TO_TRY.values()} == set(LENSES.values())
