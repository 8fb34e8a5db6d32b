"""Scenes that cannot be used: each is one sentence that names the file and the remedy."""

import json
import math

import imageio.v3 as iio
import numpy as np
import pytest

import nerfcore.data
from nerfcore.data import builtin_scene_path, load_scene
from nerfcore.errors import SceneError

FILE = "transforms.json"


def refuses(path, *words, downscale=1):
    with pytest.raises(SceneError) as caught:
        load_scene(path, downscale)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_missing_folder(tmp_path):
    refuses(tmp_path / "nowhere", "nowhere", "no such folder", "give the folder")


def test_empty_folder(tmp_path):
    refuses(tmp_path, str(tmp_path), "is empty", FILE)


def test_unknown_format(tmp_path):
    (tmp_path / "photo.jpg").touch()
    refuses(tmp_path, str(tmp_path), "no capture of a known form", "transforms.json", "convert")


def test_a_file_that_is_no_scene(tmp_path):
    (tmp_path / "photo.jpg").touch()
    refuses(tmp_path / "photo.jpg", "photo.jpg", "is a file of unknown form", "give the folder")


def test_truncated_json(ngp):
    (ngp / FILE).write_text((ngp / FILE).read_text()[:300])
    refuses(ngp, FILE, "not readable as JSON", "write it again")


def test_json_in_another_encoding(ngp):
    (ngp / FILE).write_bytes(b"\xff\xfe\x00")
    refuses(ngp, FILE, "not readable as JSON")


@pytest.mark.parametrize("content", [{}, {"frames": 3}, {"frames": [{}]}, {"frames": ["a.png"]}], ids=json.dumps)
def test_json_without_frames(ngp, content):
    (ngp / FILE).write_text(json.dumps(content))
    refuses(ngp, FILE, "no list of frames")


def test_json_that_is_no_table(ngp):
    (ngp / FILE).write_text("[]")
    refuses(ngp, FILE, "no table", "write it again")


@pytest.mark.parametrize(("keep", "words"), [(0, "0 of its 10 images exist"), (1, "1 of its 10 images exist")])
def test_too_few_images_present(ngp, keep, words):
    for path in sorted((ngp / "images").iterdir())[keep:]:
        path.unlink()
    refuses(ngp, FILE, words, "file_path")


def test_no_training_image_present_in_blender_form(blender):
    for path in (blender / "train").iterdir():
        path.unlink()
    refuses(blender, "transforms_train.json", "none of its 10 images exists")


def test_corrupt_image(ngp):
    (ngp / "images/03.png").write_bytes(b"no picture")
    refuses(ngp, "03.png", "cannot be read as an image", "replace it")


def test_images_of_differing_size_with_one_intrinsic(ngp, picture):
    iio.imwrite(ngp / "images/03.png", picture(3, height=24, width=32))
    refuses(ngp, FILE, "03.png is 32x24", "01.png is 16x12", "one set of intrinsics", "per frame")


def test_images_that_are_not_those_that_were_calibrated(ngp, edit):
    edit(ngp / FILE, lambda table: table.update(w=32, h=20))
    refuses(ngp, FILE, "01.png is 16x12 but its intrinsics say 32x20")


@pytest.mark.parametrize("value", [math.nan, None], ids=["NaN", "null"])
def test_a_pose_that_is_not_finite(ngp, edit, value):
    def change(table):
        table["frames"][4]["transform_matrix"][1][3] = value

    edit(ngp / FILE, change)
    refuses(ngp, f"{FILE}, frame images/04.png", "pose")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fl_x": -3.0}, "fl_x is -3"),
        ({"fl_x": "wide"}, "fl_x is 'wide'"),
        ({"cx": math.nan}, "cx is nan"),
        ({"w": math.inf}, "w is inf"),
        ({"scale": 0}, "scale is 0"),
        ({"aabb_scale": 3}, "aabb_scale is 3"),
        ({"aabb_scale": 256}, "aabb_scale is 256"),
        ({"offset": [0.5, 0.5]}, "offset is [0.5, 0.5]"),
        ({"offset": [0.5, 0.5, "x"]}, "offset is 'x'"),
        ({"aabb": [[0, 0, 0]]}, "aabb is [[0, 0, 0]]"),
        ({"camera_model": "FISHEYE624"}, "the lens FISHEYE624 is not supported; undistort"),
        ({"ftheta_p0": 0.5}, "the lens ftheta_p0 is not supported"),
        ({"fisheye_crop_radius": 5}, "w is None"),
        ({"ply_file_path": "points.ply"}, "its ply_file_path does not exist"),
    ],
)
def test_settings_out_of_range(ngp, edit, settings, words):
    edit(ngp / FILE, lambda table: table.update(settings))
    refuses(ngp, FILE, words)


def test_no_focal_length(ngp, edit):
    edit(ngp / FILE, lambda table: table.pop("fl_x"))
    refuses(ngp, FILE, "no focal length", "camera_angle_x")


def test_downscale_beyond_the_image(ngp):
    refuses(ngp, "16x12", "downscale by 13", downscale=13)


@pytest.mark.parametrize("factor", [0, -1, 1.5])
def test_downscale_that_is_no_factor(ngp, factor):
    with pytest.raises(ValueError, match="whole number"):
        load_scene(ngp, factor)


def test_the_builtin_scene_is_found_beside_or_inside_the_package(tmp_path, monkeypatch, blender):
    package = tmp_path / "site" / "nerfcore"
    monkeypatch.setattr(nerfcore.data.nerfcore, "__file__", str(package / "__init__.py"))
    with pytest.raises(SceneError, match="built-in scene is missing; install nerfcore again"):
        builtin_scene_path()
    for folder in (package.parent / "assets", package / "assets"):
        folder.mkdir(parents=True)
        (folder / "scene").symlink_to(blender)
        assert builtin_scene_path() == folder / "scene"
        assert len(load_scene().train) == 10


def test_images_that_are_animations(ngp):
    iio.imwrite(ngp / "images/03.png", np.zeros((3, 12, 16, 3), np.uint8))
    refuses(ngp, "03.png", "still image")
