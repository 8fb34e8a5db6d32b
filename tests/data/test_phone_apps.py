"""Exports of Record3D and Polycam."""

import json

import pytest

from nerfcore.data import load_scene
from nerfcore.errors import SceneError
from tests.data import captures


def edit(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_record3d_may_have_intrinsics_of_each_frame(tmp_path):
    captures.record3d(tmp_path)
    edit(tmp_path / "metadata.json", perFrameIntrinsicCoeffs=[[20.0 + i, 21.0, 8.0, 6.0] for i in range(10)])
    frames = {frame.path.stem: frame for frame in load_scene(tmp_path).train.frames}
    assert frames["3"].camera.fl_x == 23.0 and frames["3"].near_far == (0.3, 5.0)


def test_record3d_as_an_unzipped_r3d_and_as_exr(tmp_path):
    captures.record3d(tmp_path / "one")
    (tmp_path / "one" / "metadata.json").rename(tmp_path / "one" / "metadata")
    (tmp_path / "one" / "rgb").rename(tmp_path / "one" / "rgbd")
    captures.record3d(tmp_path / "two" / "EXR_RGBD")
    assert len(load_scene(tmp_path / "one").train) == len(load_scene(tmp_path / "two").train) == 8


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"poses": [[0, 0, 0, 1, 0, 0, 0]] * 3}, "is the number of none of the 3 poses"),
        ({"poses": [[0] * 7] * 10}, "no quaternion"),
        ({"poses": [[1, 2]]}, "poses is not a list of 7"),
        ({"K": [1, 2, 3]}, "K is not a list of 9"),
        ({"perFrameIntrinsicCoeffs": [[1, 1, 1, 1]]}, "10 poses but 1 intrinsics"),
        ({"w": None}, "w is None"),
        ({"h": 30}, "is 16x12 but its intrinsics say 16x30"),
    ],
)
def test_record3d_errors(tmp_path, changes, words):
    captures.record3d(tmp_path)
    edit(tmp_path / "metadata.json", **changes)
    with pytest.raises(SceneError, match=words):
        load_scene(tmp_path)


def test_polycam_keeps_depths_and_prefers_corrected_poses(tmp_path):
    captures.polycam(tmp_path)
    frame = load_scene(tmp_path).train.frames[0]
    assert frame.path.parent.name == "corrected_images" and frame.near_far == (0.3, 5.0)
    assert frame.z_depth_path == tmp_path / "keyframes" / "depth" / "001.png" and frame.z_depth_unit == 1e-3
    for name in ("cameras", "images"):
        (tmp_path / "keyframes" / f"corrected_{name}").rename(tmp_path / "keyframes" / name)
    assert load_scene(tmp_path).train.frames[0].path.parent.name == "images"


def test_polycam_frames_without_a_photo_are_skipped(tmp_path):
    captures.polycam(tmp_path)
    (tmp_path / "keyframes" / "corrected_images" / "004.jpg").unlink()
    with pytest.warns(UserWarning, match="1 of 10 listed images"):
        assert len(load_scene(tmp_path).train) == 7


@pytest.mark.parametrize(
    ("changes", "words"), [({"t_00": "x"}, "t_00 is 'x'"), ({"fx": 0}, "fx is 0"), ({"t_11": 9.0}, "not a rotation")]
)
def test_polycam_errors(tmp_path, changes, words):
    captures.polycam(tmp_path)
    edit(tmp_path / "keyframes" / "corrected_cameras" / "002.json", **changes)
    with pytest.raises(SceneError, match=f"002.json: .*{words}"):
        load_scene(tmp_path)
