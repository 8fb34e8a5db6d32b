"""Captures that are written again: cameras, world, masks, depths, box and splits stay."""

import json

import imageio.v3 as iio
import numpy as np
import pytest

from nerfcore.cameras import Perspective
from nerfcore.cli.main import main
from nerfcore.data import load_scene
from nerfcore.data.convert import convert_capture
from nerfcore.data.formats import read_capture
from nerfcore.errors import OutputError
from tests.data import captures

FORMS = ["nerfstudio", "colmap"]


def by_file(capture):
    """Pose and camera of each photo."""
    return {entry.path.stem: (entry.pose, entry.camera(*captures.SIZE)) for entry in capture.entries}


@pytest.mark.parametrize("to", FORMS)
@pytest.mark.parametrize("form", [name for name in captures.FORMS if name != "blender"])
def test_cameras_and_world_stay(tmp_path, form, to):
    before = read_capture(captures.FORMS[form](tmp_path / "in"))
    convert_capture(tmp_path / "in", tmp_path / "out", to)
    after = read_capture(tmp_path / "out")
    old, new = by_file(before), by_file(after)
    assert old.keys() == new.keys() and len(old) == 10
    for name, (pose, camera) in old.items():
        other_pose, other = new[name]
        assert (pose - other_pose).abs().max() < 1e-9
        assert other.description() == pytest.approx(camera.description(), abs=1e-9)
        if to == "nerfstudio":
            assert (pose[:, 3] == other_pose[:, 3]).all()
    assert [entry.path.stem for entry in before.splits["test"]] == [entry.path.stem for entry in after.splits["test"]]
    if before.points is not None:
        assert np.array_equal(before.points.xyz, after.points.xyz) and np.array_equal(before.points.rgb, after.points.rgb)


@pytest.mark.parametrize("form", captures.FORMS)
def test_nerfstudios_form_keeps_the_box_the_splits_and_the_pixels(tmp_path, form):
    before = load_scene(captures.FORMS[form](tmp_path / "in"))
    convert_capture(tmp_path / "in", tmp_path / "out", "nerfstudio")
    after = load_scene(tmp_path / "out")
    assert after.cascades == before.cascades and after.has_alpha == before.has_alpha
    assert after.transform.scale == pytest.approx(before.transform.scale, rel=1e-12)
    assert after.transform.translation == pytest.approx(before.transform.translation, abs=1e-12)
    for old, new in ((before.train, after.train), (before.test, after.test)):
        assert [f.path.stem for f in old.frames] == [f.path.stem for f in new.frames]
        assert (old.pixels == new.pixels).all()


LENSES = {
    "rational": dict(camera_model="FULL_OPENCV", k1=0.05, k2=-0.02, p1=0.004, k3=0.01, k4=0.02, k5=0.01, k6=-0.003),
    "three radial terms": dict(k1=0.05, k2=-0.02, k3=0.01),
    "fisheye": dict(camera_model="OPENCV_FISHEYE", k1=0.05, k2=-0.02, k3=0.01, k4=0.003),
}


@pytest.mark.parametrize("to", FORMS)
@pytest.mark.parametrize("lens", LENSES)
def test_lenses_stay(tmp_path, lens, to):
    before = read_capture(captures.nerfstudio(tmp_path / "in", **LENSES[lens]))
    convert_capture(tmp_path / "in", tmp_path / "out", to)
    camera, after = (by_file(capture)["003"][1] for capture in (before, read_capture(tmp_path / "out")))
    assert after.description() == pytest.approx(camera.description(), abs=1e-12)


def test_what_colmap_cannot_say(tmp_path):
    captures.nerfstudio(tmp_path / "radial", k4=0.1)
    captures.nerfstudio(tmp_path / "panorama", camera_model="EQUIRECTANGULAR")
    for name, words in (("radial", "perspective with k4 0.1"), ("panorama", "equirectangular with no distortion")):
        convert_capture(tmp_path / name, tmp_path / f"{name}_nerfstudio", "nerfstudio")
        assert by_file(read_capture(tmp_path / f"{name}_nerfstudio")).keys() == by_file(read_capture(tmp_path / name)).keys()
        with pytest.raises(OutputError, match=f"COLMAP has no camera model for a lens that is {words}"):
            convert_capture(tmp_path / name, tmp_path / f"{name}_colmap", "colmap")


def test_intrinsics_of_each_frame(tmp_path):
    captures.instant_ngp(tmp_path / "in")
    table = json.loads((tmp_path / "in" / "transforms.json").read_text())
    for i, frame in enumerate(table["frames"]):
        frame.update(fl_x=20.0 + i, k1=0.001 * i)
    (tmp_path / "in" / "transforms.json").write_text(json.dumps(table))
    for to in FORMS:
        convert_capture(tmp_path / "in", tmp_path / to, to)
        cameras = by_file(read_capture(tmp_path / to))
        assert all(cameras[f"{i:03d}"][1].fl_x == 20.0 + i for i in range(10))
        assert cameras["003"][1].lens == Perspective(k1=0.003)


@pytest.mark.parametrize("to", FORMS)
def test_masks_stay(tmp_path, to):
    captures.instant_ngp(tmp_path / "in")
    captures.draw(tmp_path / "in" / "images", [f"dynamic_mask_{i:03d}.png" for i in range(10)], channels=1)
    for i in range(10):
        file = tmp_path / "in" / "images" / f"dynamic_mask_{i:03d}.png"
        iio.imwrite(file, np.where(iio.imread(file) > 128, 255, 0).astype(np.uint8))
    before = load_scene(tmp_path / "in")
    convert_capture(tmp_path / "in", tmp_path / "out", to)
    assert (load_scene(tmp_path / "out").train.ignore_mask == before.train.ignore_mask).all()


def test_depths_go_along_to_nerfstudio(tmp_path):
    captures.polycam(tmp_path / "in")
    convert_capture(tmp_path / "in", tmp_path / "out", "nerfstudio")
    old, new = (load_scene(tmp_path / name).train.frames[0] for name in ("in", "out"))
    assert new.z_depth_unit == old.z_depth_unit == 1e-3
    assert new.z_depth_path.read_bytes() == old.z_depth_path.read_bytes()


def test_distances_go_along_to_nerfstudio(tmp_path):
    captures.nerfstudio(tmp_path / "in", distance_unit_scale_factor=0.25)
    file = tmp_path / "in" / "transforms.json"
    table = json.loads(file.read_text())
    for i, frame in enumerate(table["frames"]):
        iio.imwrite(tmp_path / "in" / f"far_{i}.png", np.full((12, 16), 100 + i, np.uint16))
        frame["distance_file_path"] = f"far_{i}.png"
    file.write_text(json.dumps(table))
    convert_capture(tmp_path / "in", tmp_path / "out", "nerfstudio")
    old, new = (load_scene(tmp_path / name, depth_maps=True).train for name in ("in", "out"))
    assert new.frames[0].distance_unit == 0.25 and new.frames[0].z_depth_path is None
    assert (old.measured == new.measured).all() and old.measured[0] == 101 / 4
    assert load_scene(tmp_path / "out").train.measured is None


def test_colmap_reads_what_is_written(tmp_path):
    pycolmap = pytest.importorskip("pycolmap", reason="pycolmap is not installed")
    captures.colmap(tmp_path / "in")
    convert_capture(tmp_path / "in", tmp_path / "out", "colmap")
    read = pycolmap.Reconstruction(tmp_path / "out" / "sparse" / "0")
    assert (read.num_images(), read.num_points3D()) == (10, 200)
    for view in captures.views():
        image = read.find_image_with_name(view.name)
        assert np.abs(image.projection_center() - view.centre).max() < 1e-9
        assert image.camera.params.tolist() == [20.0, 21.0, 8.5, 5.5, 0.01, 0.0, 0.0, 0.0]


def test_the_folder_must_be_empty(tmp_path):
    captures.instant_ngp(tmp_path)
    with pytest.raises(OutputError, match="is not empty; choose another folder"):
        convert_capture(tmp_path, tmp_path, "colmap")
    with pytest.raises(OutputError, match="cannot be written"):
        convert_capture(tmp_path, tmp_path / "transforms.json", "colmap")


def test_the_command(tmp_path, capsys):
    captures.llff(tmp_path / "in")
    assert main(["convert", str(tmp_path / "in"), str(tmp_path / "out"), "--to", "colmap"]) == 0
    assert f"{tmp_path / 'out'}: 10 photos" in capsys.readouterr().out
    assert len(load_scene(tmp_path / "out").train) == 8
    assert main(["convert", str(tmp_path / "in"), str(tmp_path / "out")]) == 1
    assert "is not empty" in capsys.readouterr().err


def test_one_name_in_two_folders(tmp_path):
    captures.blender(tmp_path / "in", 3)
    for to in FORMS:
        convert_capture(tmp_path / "in", tmp_path / to, to)
        names = [entry.path.relative_to(tmp_path / to).as_posix() for entry in read_capture(tmp_path / to).entries]
        assert len(set(names)) == 6 and {"images/train/000.png", "images/test/000.png"} <= set(names)
