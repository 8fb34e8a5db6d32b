"""NeuS and DTU: masks are alpha, the box is the object's ball."""

import numpy as np
import pytest
import torch

from nerfcore.data import load_scene
from nerfcore.errors import SceneError
from tests.data import captures

BALL = torch.tensor([[-1.0, -2.5, 0.5], [2.0, 0.5, 3.5]])  # about (0.5, -1, 2), of radius 1.5


def test_masks_become_alpha(tmp_path):
    scene = load_scene(captures.neus(tmp_path))
    assert scene.has_alpha and scene.train.ignore_mask is None
    mask = np.random.default_rng(1).integers(0, 256, (12, 16), np.uint8)
    assert np.array_equal(scene.train.image(0)[:, :, 3].numpy(), (mask / 255).astype(np.float32))


def test_the_box_is_the_ball_of_the_object(tmp_path):
    scene = load_scene(captures.neus(tmp_path))
    assert torch.allclose(scene.transform.world_box, BALL, atol=1e-5) and scene.cascades == 1


def test_without_masks_the_box_holds_the_cameras_and_the_inner_cascade_the_object(tmp_path):
    scene = load_scene(captures.neus(tmp_path, masks=False))
    middle, half = BALL.mean(0), 0.5 * (scene.transform.world_box[1] - scene.transform.world_box[0])
    assert not scene.has_alpha and torch.allclose(scene.transform.world_box.mean(0), middle, atol=1e-5)
    assert torch.allclose(half, torch.full((3,), 1.5 * 2 ** (scene.cascades - 1)), atol=1e-4)
    assert ((scene.camera_centres() - middle).abs() < half).all()


def change(folder, **arrays):
    with np.load(folder / "cameras_sphere.npz") as archive:
        kept = {name: archive[name] for name in archive.files}
    np.savez(folder / "cameras_sphere.npz", **{k: v for k, v in {**kept, **arrays}.items() if v is not None})


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"world_mat_3": np.eye(3)}, "world_mat_3 is no 4x4 matrix"),
        ({"world_mat_3": np.full((4, 4), np.inf)}, "world_mat_3 is no 4x4 matrix"),
        ({"world_mat_3": np.zeros((4, 4))}, "world_mat_3: has no inverse"),
        ({"world_mat_3": np.array([[1.0, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])}, "skewed"),
        ({"world_mat_3": None}, "world_mat of 9 photos, but beside it are 10 photos and 10 masks"),
        ({"scale_mat_0": None}, "scale_mat_0 is no 4x4 matrix"),
        ({"scale_mat_0": np.zeros((4, 4))}, "ball without size"),
    ],
)
def test_errors(tmp_path, arrays, words):
    captures.neus(tmp_path)
    change(tmp_path, **arrays)
    with pytest.raises(SceneError, match=words):
        load_scene(tmp_path)
