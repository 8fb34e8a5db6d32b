"""One set of cameras in every form: what is read is the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nerfcore.cameras import Perspective, camera_rays
from nerfcore.data import load_scene
from nerfcore.data.formats import FORMATS, read_capture
from tests.data import captures

WRITTEN = {name: write for name, write in captures.FORMS.items() if name != "blender"}


@pytest.mark.parametrize("form", WRITTEN)
def test_cameras_are_those_that_were_written(tmp_path, form):
    capture = read_capture(WRITTEN[form](tmp_path))
    assert [len(capture.splits[split]) for split in ("train", "test")] == [8, 2] and capture.absent == ()
    entries = sorted(capture.entries, key=lambda entry: entry.name)
    for view, entry in zip(captures.views(), entries, strict=True):
        assert np.abs(entry.pose[:, :3].numpy() - view.rotation).max() < 1e-9
        assert np.abs(entry.pose[:, 3].numpy() - view.centre).max() < 1e-9
        camera = entry.camera(*captures.SIZE)
        if form == "llff":  # has one focal length, and its centre is that of the photo
            expected = captures.FL_X, captures.FL_X, captures.WIDTH / 2, captures.HEIGHT / 2
        else:
            expected = captures.FL_X, captures.FL_Y, captures.CX, captures.CY
        assert (camera.fl_x, camera.fl_y, camera.cx, camera.cy) == pytest.approx(expected, abs=1e-9)
        assert camera.lens == Perspective(k1=0.01 if "colmap" in form else 0.0)


@pytest.mark.parametrize("form", captures.FORMS)
def test_every_form_loads_and_its_box_holds_the_scene(tmp_path, form):
    scene = load_scene(captures.FORMS[form](tmp_path), downscale=2)
    assert (scene.train.frames[0].camera.width, scene.train.frames[0].camera.height) == (8, 6)
    middle = scene.transform.to_box(torch.tensor([[0.5, -1.0, 2.0]]))
    if form not in ("blender", "instant_ngp"):  # whose boxes are fixed, about the origin
        assert ((middle > 0.2) & (middle < 0.8)).all()
    if form not in ("blender", "instant_ngp", "neus"):  # whose files say where the box is
        inside = scene.transform.to_box(scene.camera_centres())
        assert ((inside >= 0) & (inside <= 1)).all() and 1 <= scene.cascades <= 5
    assert (scene.points is not None) == ("colmap" in form)


def test_the_same_scene_gives_the_same_rays_in_every_form(tmp_path):
    scenes = [
        load_scene(captures.instant_ngp(tmp_path / "ngp", k1=0.01, p1=0.002)),
        load_scene(captures.nerfstudio(tmp_path / "nerfstudio", k1=0.01, p1=0.002)),
        load_scene(captures.colmap(tmp_path / "binary", bends=(0.01, 0.0, 0.002, 0.0))),
        load_scene(captures.colmap(tmp_path / "text", binary=False, bends=(0.01, 0.0, 0.002, 0.0))),
    ]
    for split in ("train", "test"):
        for frames in zip(*(getattr(scene, split).frames for scene in scenes), strict=True):
            first, *others = (camera_rays(frame.camera, frame.pose) for frame in frames)
            assert len({frame.path.name for frame in frames}) == 1
            for rays in others:
                assert torch.allclose(rays.origin, first.origin, rtol=0, atol=1e-5)
                assert torch.allclose(rays.direction, first.direction, rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", captures.FORMS)
def test_the_file_that_describes_a_capture_is_a_path_too(tmp_path, form):
    folder = captures.FORMS[form](tmp_path)
    source = next(source for entry in FORMATS if (source := entry.find(folder)))
    if source.is_file():
        assert len(read_capture(source).entries) == len(read_capture(folder).entries)


def test_a_form_with_points_goes_before_one_without(tmp_path):
    captures.llff(tmp_path)
    captures.colmap(tmp_path)
    assert load_scene(tmp_path).points is not None


def test_photos_of_the_size_that_was_calibrated_or_an_exact_rescale(tmp_path):
    entry = read_capture(captures.colmap(tmp_path)).entries[0]
    half, whole = entry.camera(8, 6), entry.camera(16, 12)
    assert half == replace(whole, width=8, height=6, fl_x=10.0, fl_y=10.5, cx=4.25, cy=2.75)
