"""COLMAP: every camera model against COLMAP itself, both forms of files, sub-models, where the photos are."""

import numpy as np
import pytest
import torch

from nerfcore.data import load_scene
from nerfcore.data.colmap import CAMERA_MODELS
from nerfcore.data.formats import read_capture
from nerfcore.errors import SceneError
from tests.data import captures

FOCAL = {"fl": 20.0, "fl_x": 20.0, "fl_y": 21.0, "cx": 8.5, "cy": 5.5}
BENDS = {"k1": 0.05, "k2": -0.02, "k3": 0.01, "k4": 0.003, "p1": 0.004, "p2": -0.002, "d1": 0.02, "d2": 0.01, "d3": -0.003}


@pytest.fixture
def pycolmap():
    return pytest.importorskip("pycolmap", reason="pycolmap is not installed")


def reconstruction(pycolmap, model):
    """Of three images, each with a camera of its own."""
    made = pycolmap.Reconstruction()
    for i, view in enumerate(captures.views(3)):
        parameters = [{**FOCAL, **BENDS}[name] + 0.01 * i for name in CAMERA_MODELS[model].parameters]
        made.add_camera_with_trivial_rig(
            pycolmap.Camera(model=model, width=16, height=12, params=parameters, camera_id=i + 1)
        )
        (w, x, y, z), translation = captures.world_to_camera(view)
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d(np.array([x, y, z, w])), np.array(translation))
        made.add_image_with_trivial_frame(pycolmap.Image(name=view.name, camera_id=i + 1, image_id=i + 1), pose)
    for xyzrgb in captures.points(60):
        made.add_point3D(xyzrgb[:3], pycolmap.Track(), xyzrgb[3:].astype(np.uint8))
    return made


@pytest.mark.parametrize("model", CAMERA_MODELS)
@pytest.mark.parametrize("form", ["binary", "text"])
def test_every_camera_model_is_that_of_colmap(tmp_path, pycolmap, model, form):
    captures.draw(tmp_path / "images", [view.name for view in captures.views(3)])
    (tmp_path / "sparse" / "0").mkdir(parents=True)
    made = reconstruction(pycolmap, model)
    getattr(made, f"write_{form}")(tmp_path / "sparse" / "0")
    capture = read_capture(tmp_path)
    world = torch.from_numpy(captures.points(60)[:, :3])
    assert len(capture.entries) == 3
    for entry in capture.entries:
        image = made.find_image_with_name(entry.name)
        local = (world - entry.pose[:, 3]) @ entry.pose[:, :3]
        pixel, visible = entry.camera(16, 12).project(local)
        expected = image.camera.img_from_cam(image.cam_from_world() * world.numpy())
        assert visible.all() and np.abs(pixel.numpy() - expected).max() < 1e-9
    assert {*map(tuple, capture.points.xyz.tolist())} == {*map(tuple, world.tolist())}
    assert capture.points.rgb.dtype == np.uint8 and (capture.points.rgb.sum() == captures.points(60)[:, 3:].sum())


def test_the_numbers_of_camera_models_are_those_of_colmap(pycolmap):
    for name, model in CAMERA_MODELS.items():
        assert int(getattr(pycolmap.CameraModelId, name)) == model.number


@pytest.mark.parametrize("binary", [True, False])
def test_the_largest_of_several_models(tmp_path, binary):
    captures.colmap(tmp_path, 3, binary, sparse="sparse/0")
    captures.colmap(tmp_path, 10, binary, sparse="sparse/1")
    captures.colmap(tmp_path, 5, binary, sparse="sparse/2")
    capture = read_capture(tmp_path)
    assert len(capture.entries) == 10 and capture.source == tmp_path / "sparse" / "1"


@pytest.mark.parametrize("sparse", ["sparse", "sparse/0", "colmap/sparse/0", "."])
def test_where_models_and_photos_are(tmp_path, sparse):
    scene = load_scene(captures.colmap(tmp_path, sparse=sparse))
    assert scene.root == tmp_path and scene.name == tmp_path.name and len(scene.train) == 8


def test_reduced_photos_where_the_large_ones_are_absent(tmp_path):
    captures.colmap(tmp_path)
    (tmp_path / "images").rename(tmp_path / "originals")
    captures.draw(tmp_path / "images_2", [view.name for view in captures.views()], (8, 6))
    camera = load_scene(tmp_path).train.frames[0].camera
    assert (camera.width, camera.fl_x, camera.lens.k1) == (8, 10.0, 0.01)


def test_absent_photos_are_counted(tmp_path):
    captures.colmap(tmp_path)
    (tmp_path / "images" / "003.png").unlink()
    with pytest.warns(UserWarning, match="1 of 10 listed images do not exist"):
        assert len(load_scene(tmp_path).train) == 7


def test_masks_beside_the_photos(tmp_path):
    captures.colmap(tmp_path)
    (tmp_path / "masks").mkdir()
    captures.draw(tmp_path / "masks", [f"{view.name}.png" for view in captures.views()], channels=1)
    assert load_scene(tmp_path).train.ignore_mask is not None


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("cameras.bin", lambda data: data[:-1], "cut short"),
        ("images.bin", lambda data: data[:-1], "ends too soon"),
        ("points3D.bin", lambda data: data[:500], "cut short"),
        ("cameras.bin", lambda data: data[:12] + b"\7" + data[13:], "camera model 7 is none of SIMPLE_PINHOLE"),
        ("cameras.bin", lambda data: data[:8] + b"\x63" + data[9:], "its camera 1 is not among the model's cameras"),
        ("images.bin", lambda data: data[:12] + bytes(32) + data[44:], "no quaternion"),
        ("images.txt", lambda data: data.replace(b"\n\n", b"\n"), "not a list of points"),
        ("cameras.txt", lambda data: data.replace(b"OPENCV", b"FOV"), "camera model FOV is none of"),
        ("cameras.txt", lambda data: data.replace(b"20.0", b"-1"), "numbers cannot be"),
        ("cameras.txt", lambda data: data.replace(b" 16 12 ", b" 16 20 "), "is 16x12 but its intrinsics say 16x20"),
    ],
)
def test_errors(tmp_path, file, change, words):
    captures.colmap(tmp_path, binary=file.endswith("bin"))
    path = tmp_path / "sparse" / "0" / file
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(SceneError, match=words):
        load_scene(tmp_path)


def test_photos_that_are_nowhere(tmp_path):
    captures.colmap(tmp_path)
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(SceneError, match="0 of its 10 images exist"):
        load_scene(tmp_path)
