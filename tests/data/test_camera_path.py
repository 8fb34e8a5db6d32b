"""Camera paths: through keyframes, to a file and back, as nerfstudio writes them, and damaged ones."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerfcore.cameras import look_at
from nerfcore.data.camera_path import CameraPath, Shot, fov_camera, read_camera_path, write_camera_path
from nerfcore.errors import OutputError, SceneError

POSES = look_at([[3.0, 0, 1], [0.0, 3, 1], [-3.0, 0, 2]], [0.0, 0, 0]).double()
KEYFRAMES = [Shot(pose, fov) for pose, fov in zip(POSES, (40.0, 60.0, 45.0), strict=True)]
MATRIX = torch.cat([POSES[0], torch.tensor([[0.0, 0, 0, 1]])]).double()


def written(tmp_path, **changes):
    """A path of one picture as nerfstudio writes it, with changes; None leaves a name out."""
    shot = {"camera_to_world": MATRIX.flatten().tolist(), "fov": 50.0, "aspect": 1.0}
    table = dict(camera_type="perspective", render_width=64, render_height=48, fps=24, seconds=2.0, camera_path=[shot])
    file = tmp_path / "path.json"
    file.write_text(json.dumps({key: value for key, value in (table | changes).items() if value is not None}))
    return file


@pytest.mark.parametrize("loop", [False, True])
def test_a_path_goes_through_its_keyframes_with_angles_between_theirs(loop):
    path = CameraPath.through(KEYFRAMES, seconds=2.0, fps=30, size=(64, 48), loop=loop)
    assert len(path.shots) == 60 and path.fps == 30
    fov = np.array([shot.fov_degrees for shot in path.shots])
    assert fov.min() == 40.0 and 59 < fov.max() <= 60.0
    assert torch.allclose(path.shots[0].pose, POSES[0])
    assert torch.allclose(path.shots[-1].pose, POSES[2]) != loop


def test_file_and_back(tmp_path):
    path = CameraPath.through(KEYFRAMES, 1.5, 10, (64, 48), loop=True, constant_speed=True)
    again = read_camera_path(write_camera_path(path, tmp_path / "new" / "path.json"))
    assert (again.seconds, again.fps, again.width, again.height, again.lens, again.loop) == (1.5, 10, 64, 48, "perspective", True)
    for ours, theirs in ((path.shots, again.shots), (path.keyframes, again.keyframes)):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert torch.allclose(one.pose, other.pose, atol=1e-9) and one.fov_degrees == other.fov_degrees
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["path.json"]


def test_the_angle_of_view_is_the_vertical_one(tmp_path):
    """Half the picture's height is seen at the focal length's distance under half the angle."""
    camera, pose = read_camera_path(written(tmp_path)).views()[0]
    assert (camera.width, camera.height) == (64, 48) and torch.allclose(pose.double(), MATRIX[:3])
    _, direction = camera.unproject(torch.tensor([[32.0, 0.0], [32.0, 48.0]], dtype=torch.float64))
    assert torch.acos(direction[0] @ direction[1]).item() == pytest.approx(math.radians(50), abs=1e-9)
    assert fov_camera(50, 64, 32, "equirectangular").fl_x == pytest.approx(64 / math.tau)


@pytest.mark.parametrize("matrix", [MATRIX.tolist(), MATRIX.flatten().tolist(), MATRIX.T.flatten().tolist(), json.dumps(MATRIX.T.flatten().tolist())])
def test_matrices_as_nerfstudio_has_written_them(tmp_path, matrix):
    file = written(tmp_path, keyframes=[{"matrix": matrix}], default_fov=33.0)
    (keyframe,) = read_camera_path(file).keyframes
    assert torch.allclose(keyframe.pose, MATRIX[:3]) and keyframe.fov_degrees == 33.0


@pytest.mark.parametrize("changes, message", [
    (dict(camera_type="vr180"), "camera_type is 'vr180'; write one of perspective, fisheye, equirectangular"),
    (dict(camera_path=[]), "no camera_path with at least one picture"),
    (dict(camera_path=None), "no camera_path with at least one picture"),
    (dict(camera_path=[1]), "camera_path is not a list of cameras"),
    (dict(camera_path=[{"camera_to_world": [1.0] * 16, "fov": 50}]), "picture|camera_path 1: the pose's 3x3 part is not"),
    (dict(camera_path=[{"camera_to_world": "[", "fov": 50}]), "camera_path 1: the pose is not a 4x4 matrix"),
    (dict(camera_path=[{"camera_to_world": MATRIX.tolist(), "fov": 180}]), "fov is 180"),
    (dict(render_width=None), "render_width is None"),
    (dict(render_height=1e6), "render_height is 1e"),
    (dict(seconds=0), "seconds is 0"),
])  # fmt: skip
def test_what_is_wrong_with_a_file(tmp_path, changes, message):
    with pytest.raises(SceneError, match=message):
        read_camera_path(written(tmp_path, **changes))


def test_files_that_cannot_be_read_or_written(tmp_path):
    with pytest.raises(SceneError, match="not readable as JSON"):
        read_camera_path(tmp_path / "absent.json")
    (tmp_path / "file").touch()
    path = CameraPath.through(KEYFRAMES, 1.0, 2, (8, 8))
    with pytest.raises(OutputError, match="cannot be written"):
        write_camera_path(path, tmp_path / "file" / "path.json")


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=4), max_leaves=8)
NAMES = "camera_type", "render_width", "render_height", "fps", "seconds", "is_cycle", "default_fov"


@settings(max_examples=200, deadline=None)
@given(table=st.dictionaries(st.sampled_from([*NAMES, "camera_path", "keyframes"]), JSON), shot=st.dictionaries(st.sampled_from(["matrix", "camera_to_world", "fov"]), JSON))
def test_only_scene_errors_leave_the_reader(table, shot, tmp_path_factory):
    file = tmp_path_factory.getbasetemp() / "damaged_path.json"
    good = {"camera_to_world": MATRIX.tolist(), "matrix": MATRIX.tolist(), "fov": 50}
    table = dict(render_width=8, render_height=8, camera_path=[good | shot], keyframes=[good | shot]) | table
    file.write_text(json.dumps(table))
    try:
        read_camera_path(file).views()
    except SceneError as error:
        assert str(file) in str(error)
