"""The Blender form: splits, file names without extension, alpha."""

import json
import math

import pytest
import torch

from nerfcore.data import load_scene


def test_splits_are_those_of_the_files(blender, picture):
    scene = load_scene(blender)
    assert (len(scene.train), len(scene.val), len(scene.test)) == (10, 2, 3)
    assert scene.split_rule == "transforms_test.json" and scene.has_alpha and scene.cascades == 1
    assert scene.train.frames[1].name == "train/r_1" and scene.train.frames[1].path == blender / "train/r_1.png"
    assert scene.train.frames[0].camera.fl_x == pytest.approx(8 / math.tan(0.4))
    assert torch.allclose(scene.val.image(1), torch.from_numpy(picture(1, channels=4)) / 255)


def test_an_extension_may_be_given(blender, edit):
    def change(table):
        for frame in table["frames"]:
            frame["file_path"] += ".png"

    edit(blender / "transforms_train.json", change)
    assert len(load_scene(blender).train) == 10


def test_val_stands_in_for_a_missing_test_split(blender):
    (blender / "transforms_test.json").unlink()
    scene = load_scene(blender)
    assert len(scene.test) == 2 and scene.val is None and scene.split_rule == "transforms_val.json"


def test_every_8th_is_held_out_where_only_train_is_given(blender):
    for split in ("val", "test"):
        (blender / f"transforms_{split}.json").unlink()
    scene = load_scene(blender)
    assert [f.name for f in scene.test.frames] == ["train/r_0", "train/r_8"]
    assert len(scene.train) == 8 and scene.val is None and "8th" in scene.split_rule


def test_absent_images_of_all_splits_make_one_warning(blender):
    for name in ("train/r_3", "test/r_0", "val/r_0", "val/r_1"):
        (blender / f"{name}.png").unlink()
    with pytest.warns(UserWarning, match="4 of 15 listed images do not exist") as caught:
        scene = load_scene(blender)
    assert len(caught) == 1
    assert (len(scene.train), scene.val, len(scene.test)) == (9, None, 2)


def test_the_blender_form_goes_before_the_other(blender):
    (blender / "transforms.json").write_text(json.dumps({"frames": []}))
    assert load_scene(blender).split_rule == "transforms_test.json"


def test_chair(real_scene):
    scene = load_scene(real_scene("chair"))
    assert (len(scene.train), len(scene.val), len(scene.test)) == (100, 25, 100)
    camera = scene.train.frames[0].camera
    assert (camera.width, camera.height, camera.fl_x) == (400, 400, pytest.approx(555.56, abs=0.01))
    assert scene.camera_centres().norm(dim=-1) == pytest.approx(4.031, abs=1e-3)
    alpha = scene.test.image(0)[:, :, 3]
    assert alpha[0, 0] == 0 and alpha[200, 200] == 1
