"""LLFF: axes, which photos, near and far."""

import numpy as np
import pytest
import torch

from nerfcore.data import load_scene
from nerfcore.errors import SceneError
from tests.data import captures


@pytest.mark.parametrize(("images", "factor"), [("images", 1), ("images_4", 4), ("images_8", 8)])
def test_the_largest_photos_that_are_there(tmp_path, images, factor):
    captures.llff(tmp_path, images=images, factor=factor)
    if factor == 4:
        captures.draw(tmp_path / "images_8", [view.name for view in captures.views()], (2, 2))
    scene = load_scene(tmp_path)
    frame = scene.test.frames[1]
    assert frame.name == f"{images}/008.png" and "8th" in scene.split_rule
    assert (frame.camera.width, frame.camera.height, frame.camera.fl_x) == (16, 12, pytest.approx(20.0))
    assert frame.near_far == (3.0, 6.0)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (np.zeros((10, 16)), "not an array of 17"),
        (np.zeros((9, 17)), "has poses of 9 photos, but .*images holds 10"),
        (np.full((10, 17), np.nan), "not an array of 17 finite"),
        (np.zeros((10, 17)), "not a rotation"),
        (np.array(["a"]), "not readable as an array"),
    ],
)
def test_errors(tmp_path, rows, words):
    captures.llff(tmp_path)
    np.save(tmp_path / "poses_bounds.npy", rows)
    with pytest.raises(SceneError, match=words):
        load_scene(tmp_path)


def test_fern(real_scene):
    scene = load_scene(real_scene("fern"))
    assert [frame.name[-6:-4] for frame in scene.test.frames] == ["00", "08", "16"] and len(scene.train) == 17
    camera, (near, far) = scene.train.frames[0].camera, scene.train.frames[0].near_far
    assert (camera.width, camera.height, camera.fl_x) == (504, 378, pytest.approx(407.57, abs=0.01))
    assert 17 <= near < far < 80.1
    poses = scene.train.poses
    ahead = poses[:, :, 3] - near * poses[:, :, 2]
    for world in (poses[:, :, 3], ahead, poses[:, :, 3] - far * poses[:, :, 2]):
        box = scene.transform.to_box(world)
        assert ((box >= 0) & (box <= 1)).all()
    # forward-facing: all see what the first one has before it, and upright
    local = (ahead[0] - poses[:, :, 3])[:, None] @ poses[:, :, :3]
    assert (local[:, 0, 2] < 0).all() and torch.allclose(poses[:, :, 1], poses[0, :, 1].expand(17, 3), atol=0.2)
