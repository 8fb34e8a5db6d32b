"""Cameras: pixels and rays, sizes, and what a picture may see."""

import dataclasses
import json
import math

import pytest
import torch

from nerfcore.cameras import Camera, Equirectangular, Fisheye, Orthographic, Perspective

PHONE = Camera(  # the fox capture
    1080, 1920, 1375.52, 1374.49, 554.558, 965.268, Perspective(0.0578421, -0.0805099, p1=-0.000980296, p2=0.00015575)
)
PINHOLE = Camera(8, 6, 10.0, 12.0, 4.0, 3.0)
ACTION = Camera(400, 300, 140.0, 140.0, 200.0, 150.0, Fisheye(0.03, -0.01, 0.002))
PANORAMA = Camera.panorama(64, 32)
PARALLEL = Camera(60, 40, 10.0, 10.0, 30.0, 20.0, Orthographic())
ALL = {"phone": PHONE, "pinhole": PINHOLE, "action": ACTION, "panorama": PANORAMA, "parallel": PARALLEL}
each_camera = pytest.mark.parametrize("camera", ALL.values(), ids=ALL.keys())


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


def test_pinhole_by_hand():
    pixel, visible = PINHOLE.project(torch.tensor([[0.0, 0.0, -2.0], [0.2, 0.1, -1.0], [0.2, 0.1, 1.0]]))
    assert torch.allclose(pixel[:2], torch.tensor([[4.0, 3.0], [6.0, 1.8]]))
    assert visible.tolist() == [True, True, False]
    origin, direction = PINHOLE.unproject(row(6.0, 1.8))
    assert not origin.any() and torch.allclose(direction, row(0.2, 0.1, -1.0) / math.sqrt(1.05))


def test_a_panorama_by_hand():
    looks = {"ahead": (32, 16), "right": (48, 16), "left": (16, 16), "up": (32, 0), "down": (32, 32)}
    points = {"ahead": (0, 0, -3), "right": (3, 0, 0), "left": (-3, 0, 0), "up": (0, 3, 0), "down": (0, -3, 0)}
    for name, pixel in looks.items():
        found, visible = PANORAMA.project(row(*map(float, points[name])))
        assert visible.all() and torch.allclose(found, row(*map(float, pixel))), name
        _, direction = PANORAMA.unproject(row(*map(float, pixel)))
        assert torch.allclose(3 * direction, row(*map(float, points[name])), atol=1e-12), name


def test_parallel_rays_by_hand():
    origin, direction = PARALLEL.unproject(row(40.0, 15.0))
    assert origin.tolist() == [[1.0, 0.5, 0.0]] and direction.tolist() == [[0.0, 0.0, -1.0]]
    pixel, visible = PARALLEL.project(torch.tensor([[1.0, 0.5, -0.1], [1.0, 0.5, -9.0], [1.0, 0.5, 2.0]]))
    assert (pixel == torch.tensor([40.0, 15.0])).all() and visible.tolist() == [True, True, False]


@each_camera
def test_the_ray_of_a_pixel_projects_to_it(camera):
    pixel = camera.pixel_centres().double()
    origin, direction = camera.unproject(pixel)
    assert torch.allclose(direction.norm(dim=-1), torch.ones(1).double())
    back, visible = camera.project(origin + 3.0 * direction)
    assert visible.all() and camera.covers(pixel).all()
    assert (back - pixel).abs().max() < 1e-6


@each_camera
def test_rays_keep_the_type_and_are_as_good_as_it_allows(camera):
    pixel = camera.pixel_centres()[::7]
    for ours, exact in zip(camera.unproject(pixel), camera.unproject(pixel.double()), strict=True):
        assert ours.dtype == torch.float32 and torch.equal(ours, exact.float())


@each_camera
def test_derivatives_match_finite_differences(camera):
    generator = torch.Generator().manual_seed(0)
    size = torch.tensor([camera.width, camera.height])
    pixel = (torch.rand(6, 2, generator=generator, dtype=torch.float64) * size).requires_grad_()
    points = torch.rand(6, 3, generator=generator, dtype=torch.float64) - torch.tensor([0.5, 0.5, 2.0])
    assert torch.autograd.gradcheck(camera.unproject, (pixel,), eps=1e-4)
    assert torch.autograd.gradcheck(lambda p: camera.project(p)[0], (points.requires_grad_(),))


@each_camera
def test_derivatives_reach_the_intrinsics(camera):
    """They may be 0-dim tensors; also those that are 0."""
    names, lens_names = ["fl_x", "fl_y", "cx", "cy"], list(camera.lens.coefficients)
    values = [getattr(camera, name) for name in names] + list(camera.lens.coefficients.values())
    given = tuple(torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values)
    points = 2 * camera.unproject(row(0.3 * camera.width, 0.8 * camera.height))[1] - row(0.02, -0.01, 0.1)
    pixel = row(0.2 * camera.width, 0.6 * camera.height)

    def rebuilt(given):
        lens = type(camera.lens)(**dict(zip(lens_names, given[4:], strict=True)))
        return Camera(camera.width, camera.height, *given[:4], lens)

    assert torch.autograd.gradcheck(lambda *given: rebuilt(given).project(points)[0], given)
    assert torch.autograd.gradcheck(lambda *given: rebuilt(given).unproject(pixel), given, eps=1e-5)


def test_pixel_centres_are_row_major():
    centres = Camera(3, 2, 1.0, 1.0, 1.5, 1.0).pixel_centres()
    assert centres.tolist() == [[0.5, 0.5], [1.5, 0.5], [2.5, 0.5], [0.5, 1.5], [1.5, 1.5], [2.5, 1.5]]


@each_camera
def test_downscaled_sees_the_same_rays_and_crops(camera):
    small = camera.downscaled(3)
    assert (small.width, small.height) == (camera.width // 3, camera.height // 3)
    at = row(1.7, 1.2)
    for ours, expected in zip(small.unproject(at), camera.unproject(3 * at), strict=True):
        assert torch.allclose(ours, expected, atol=1e-12)


@each_camera
def test_resized_sees_the_same_rays(camera):
    half = camera.resized(camera.width // 2, camera.height // 2)
    at = row(1.7, 1.2)
    for ours, expected in zip(half.unproject(at), camera.unproject(2 * at), strict=True):
        assert torch.allclose(ours, expected, atol=1e-12)


@each_camera
def test_a_camera_is_its_description(camera):
    assert Camera.from_description(json.loads(json.dumps(camera.description()))) == camera


def test_descriptions_of_older_files_are_perspective_cameras():
    old = dict(width=8, height=6, fl_x=10.0, fl_y=12.0, cx=4.0, cy=3.0, k1=0.1, k2=0.0, k3=0.0, k4=0.2, p1=0.0, p2=0.3)
    assert Camera.from_description(old) == dataclasses.replace(PINHOLE, lens=Perspective(k1=0.1, k4=0.2, p2=0.3))
    with pytest.raises(TypeError):
        Camera.from_description(old | {"unheard": 1})
    with pytest.raises(KeyError):
        Camera.from_description(old | {"model": "unheard"})


@each_camera
def test_the_footprint_is_the_gap_between_neighbouring_rays(camera):
    if camera is PHONE:
        camera = dataclasses.replace(camera, lens=Perspective())
    middle = row(camera.cx, camera.cy)
    (origin, direction), (origin2, direction2) = camera.unproject(middle - row(0.5, 0)), camera.unproject(middle + row(0.5, 0))
    gap = (origin + 5 * direction - origin2 - 5 * direction2).norm().item()
    assert camera.footprint(torch.tensor(5.0)).item() == pytest.approx(gap, rel=2e-3)


@each_camera
def test_distance_is_that_along_the_ray(camera):
    origin, direction = camera.unproject(camera.pixel_centres()[::11].double())
    far = torch.linspace(0.1, 7, len(origin), dtype=torch.float64)
    assert torch.allclose(camera.distance(origin + far[:, None] * direction), far)


@each_camera
def test_a_ball_is_seen_where_its_middle_is_and_where_it_only_reaches_in(camera):
    if camera is PHONE:  # its lens has a fold, past which no claim is made
        camera = dataclasses.replace(camera, lens=Perspective())
    generator = torch.Generator().manual_seed(3)
    points = 8 * torch.rand(500, 3, generator=generator, dtype=torch.float64) - 4
    pixel, visible = camera.project(points)
    in_frame = visible & ((pixel >= 0) & (pixel <= torch.tensor([camera.width, camera.height]))).all(-1)
    assert in_frame.any()
    assert torch.equal(camera.sees_ball(points, 1e-9), in_frame)
    larger = camera.sees_ball(points, 0.3)
    assert (larger >= in_frame).all()
    if not isinstance(camera.lens, Equirectangular):
        assert not larger.all() and larger.sum() > in_frame.sum()
    assert camera.sees_ball(torch.zeros(1, 3), 0.3).all()


def test_what_is_behind_is_seen_by_wide_lenses_only():
    behind = torch.tensor([[0.5, 0.3, 4.0]])
    wide = Camera(600, 600, 100.0, 100.0, 300.0, 300.0, Fisheye())
    assert PANORAMA.sees_ball(behind, 0.1).all() and wide.sees_ball(behind, 0.1).all()
    assert not any(camera.sees_ball(behind, 0.1).any() for camera in (PHONE, PARALLEL, ACTION))
