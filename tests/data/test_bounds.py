"""The box that follows from cameras, sparse points and depths."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerfcore.cameras import Camera, look_at
from nerfcore.data.bounds import MAX_CASCADES, as_instant_ngp, choose_box, instant_ngp_box, nearest_seen
from nerfcore.data.capture import Entry, SparsePoints
from nerfcore.data.scene import Box, SceneTransform
from tests.data import captures

MIDDLE = np.array([3.0, -2.0, 1.0])


def entries(eyes, targets, tmp_path=None, near_far=None):
    """Cameras there that look that way, 90 degrees wide."""
    if tmp_path is not None:
        captures.draw(tmp_path, ["photo.png"])
    poses = look_at(np.asarray(eyes, np.float32), np.asarray(targets, np.float32), up=(0.0, 0.1, 1.0)).double()
    camera = Camera(16, 12, 8.0, 8.0, 8.0, 6.0)
    path = tmp_path and tmp_path / "photo.png"
    return [Entry("photo", path, pose, lambda w, h: camera, near_far=near_far) for pose in poses]


def ring(radius=4.0, count=20):
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle), np.full(count, 0.4)], axis=1) * radius


def cloud(points):
    return SparsePoints(np.asarray(points, np.float64), np.zeros((len(points), 3), np.uint8))


def in_box(box, points):
    return ((box.transform.to_box(torch.as_tensor(points)) - 0.5).abs().amax(-1) <= 0.5).numpy()


def middle_of(box):
    return box.transform.to_world(torch.full((3,), 0.5, dtype=torch.float64)).numpy()


def test_cameras_around_something():
    eyes = MIDDLE + ring()
    box = choose_box(entries(eyes, np.broadcast_to(MIDDLE, eyes.shape)), None)
    assert np.allclose(middle_of(box), MIDDLE, atol=1e-4)
    assert in_box(box, eyes).all() and 1 / box.transform.scale < 4 * 4.0 and box.cascades == 3


def test_points_around_something_with_outliers():
    eyes = MIDDLE + ring()
    points = MIDDLE + np.random.default_rng(0).normal(0, 1, (1000, 3))
    points[:5] *= 1e4
    box = choose_box(entries(eyes, np.broadcast_to(MIDDLE, eyes.shape)), cloud(points))
    assert np.allclose(middle_of(box), MIDDLE, atol=1e-4)
    assert in_box(box, eyes).all() and in_box(box, points).mean() > 0.98 and 1 / box.transform.scale < 12


def test_a_background_so_far_that_a_box_cannot_hold_it():
    eyes = MIDDLE + ring()
    near = MIDDLE + np.random.default_rng(0).normal(0, 1, (800, 3))
    far = MIDDLE + 1e4 * ring(1.0, 200)
    box = choose_box(entries(eyes, np.broadcast_to(MIDDLE, eyes.shape)), cloud(np.concatenate([near, far])))
    assert in_box(box, near).all() and in_box(box, eyes).all()
    assert 1 / box.transform.scale < 100 and box.cascades == 4


@pytest.mark.parametrize("by_points", [True, False])
def test_cameras_that_look_the_same_way(tmp_path, by_points):
    eyes = MIDDLE + np.random.default_rng(0).uniform(-1, 1, (12, 3)) * [1, 0, 1]
    near_far = None if by_points else (5.0, 20.0)
    photos = entries(eyes, eyes + [0, 1, 0], tmp_path, near_far)
    depth = np.random.default_rng(1).uniform(5, 20, (500, 1))
    points = eyes[0] + depth * np.hstack([np.random.default_rng(2).uniform(-0.9, 0.9, (500, 1)), np.ones((500, 1)), np.zeros((500, 1))])
    box = choose_box(photos, cloud(points) if by_points else None)
    assert in_box(box, eyes).all() and in_box(box, points).mean() > 0.97
    assert 30 < 1 / box.transform.scale < 60 and 1 <= box.cascades <= 3


def test_cameras_that_look_outward(tmp_path):
    eyes = MIDDLE + ring(1.0)
    outward = eyes + ring(1.0) * [1, 1, 0]
    box = choose_box(entries(eyes, outward, tmp_path, (0.3, 5.0)), None)
    assert in_box(box, eyes).all() and in_box(box, eyes + 4.5 * (outward - eyes)).all()
    guess = choose_box(entries(eyes, outward), None)
    assert in_box(guess, eyes).all() and guess.cascades == MAX_CASCADES


def test_cameras_in_one_place():
    box = choose_box(entries([MIDDLE, MIDDLE], [MIDDLE + [1, 0, 0], MIDDLE + [0, 1, 0]]), None)
    assert np.isfinite(box.transform.scale) and in_box(box, MIDDLE[None]).all()


@given(
    scale=st.floats(1e-6, 1e6), translation=st.tuples(*[st.floats(-100, 100)] * 3), cascades=st.integers(1, 8),
)
@settings(deadline=None)
def test_a_box_by_instant_ngps_names_and_back(scale, translation, cascades):
    table = as_instant_ngp(Box(SceneTransform(scale, translation), cascades))
    box = instant_ngp_box(table, "transforms.json")
    assert box.cascades == cascades and box.transform.scale == pytest.approx(scale, rel=1e-12)
    assert box.transform.translation == pytest.approx(translation, abs=1e-11)


def test_aabb_is_a_box_of_the_world():
    box = instant_ngp_box(dict(aabb=[[1, 2, 3], [3, 6, 4]]), "transforms.json")
    world = torch.tensor([[0.0, 2.0, 1.5], [4.0, 6.0, 5.5]])  # the cube about the same middle
    assert torch.allclose(box.transform.world_box, world) and box.cascades == 1


def test_what_is_nearest_by_depths_and_by_points(tmp_path):
    """A wall 10 before cameras in a row, points behind them, and a few outliers at their feet."""
    eyes = MIDDLE + np.linspace(-1, 1, 5)[:, None] * [1, 0, 0]
    photos = entries(eyes, eyes + [0, 1, 0], tmp_path, (4.0, 20.0))
    assert nearest_seen(photos, None).tolist() == [4.0] * 5
    wall = MIDDLE + np.random.default_rng(0).uniform(-3, 3, (300, 3)) * [1, 0, 1] + [0, 10, 0]
    points = cloud(np.concatenate([wall, wall - [0, 30, 0], eyes + [0, 0.1, 0]]))
    assert nearest_seen(photos, points) == pytest.approx([9.8] * 5, rel=0.05)
    assert nearest_seen(entries(eyes, eyes + [0, 1, 0]), None).size == 0
