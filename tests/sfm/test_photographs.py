"""Photographs gathered, and told apart by camera."""

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from nerfcore.errors import SceneError
from nerfcore.sfm import photographs
from nerfcore.sfm.photographs import by_camera, find_photographs, gather


def shoot(path, size=(32, 24), **exif):
    """A JPEG with EXIF data: model, focal, orientation."""
    data = Image.Exif()
    for name, tag in (("model", 0x0110), ("orientation", 0x0112)):
        if name in exif:
            data[tag] = exif[name]
    if "focal" in exif:
        data.get_ifd(0x8769)[0x920A] = exif["focal"]
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(path, exif=data)
    return path


def test_one_camera_for_each_device_focal_length_and_stored_size(tmp_path):
    shots = [
        shoot(tmp_path / "a.jpg", model="X", focal=24.0), shoot(tmp_path / "b.jpg", model="X", focal=50.0),
        shoot(tmp_path / "c.jpg", model="X", focal=24.0, orientation=6), shoot(tmp_path / "d.jpg", model="Y", focal=24.0),
        shoot(tmp_path / "e.jpg"), shoot(tmp_path / "f.jpg", size=(24, 32)), shoot(tmp_path / "g.jpg"),
    ]
    assert by_camera(shots) == [["a.jpg", "c.jpg"], ["b.jpg"], ["d.jpg"], ["e.jpg", "g.jpg"], ["f.jpg"]]


@pytest.mark.parametrize("links", [True, False], ids=["links", "copies"])
def test_gathering_names_what_cannot_be_read_and_keeps_what_is_there(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(photographs.os, "link", lambda *_: (_ for _ in ()).throw(OSError("another disk")))
    source, folder, seen = tmp_path / "in", tmp_path / "out" / "images", []
    source.mkdir()
    whole = shoot(source / "a.jpg")
    (source / "b.jpg").write_bytes(whole.read_bytes()[:200])
    iio.imwrite(source / "c.png", np.zeros((4, 4), np.uint8))
    left_out = gather(find_photographs(source), folder, lambda done, total: seen.append((done, total)))
    assert left_out == {"b.jpg": "cannot be read as an image"} and seen == [(1, 3), (2, 3), (3, 3)]
    assert sorted(p.name for p in folder.iterdir()) == ["a.jpg", "c.png"]
    assert (folder / "a.jpg").read_bytes() == whole.read_bytes() and (folder / "a.jpg").samefile(whole) == links
    monkeypatch.setattr(photographs, "_link", lambda *_: pytest.fail("it was there already"))
    assert gather(find_photographs(source), folder) == left_out


def test_where_photographs_may_be_is_said(tmp_path):
    with pytest.raises(SceneError, match="there is no such folder or video"):
        find_photographs(tmp_path / "nowhere")
    with pytest.raises(SceneError, match="holds no photographs .*; put some there"):
        find_photographs(tmp_path)
    (tmp_path / "a.heic").write_bytes(b"")
    with pytest.raises(SceneError, match="only files that end in .heic; convert them to JPEG"):
        find_photographs(tmp_path)
    (tmp_path / "images").mkdir()
    shoot(tmp_path / "images" / "a.jpg")
    with pytest.raises(SceneError, match="its folder images does; give that"):
        find_photographs(tmp_path)
