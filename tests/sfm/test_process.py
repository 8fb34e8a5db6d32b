"""From a folder of photographs to a capture that trains."""

import json
import shutil
import sys

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest
import torch

import nerfcore
from nerfcore.cameras.alignment import Similarity
from nerfcore.cameras.poses import rotation_angle
from nerfcore.cli.main import main
from nerfcore.errors import NerfcoreError, OutputError, SceneError
from nerfcore.sfm import reconstruct
from nerfcore.sfm.process import _kinds


@pytest.fixture
def pycolmap():
    return pytest.importorskip("pycolmap", reason="pycolmap is not installed")


@pytest.fixture(scope="module")
def processed(corner, tmp_path_factory):
    """The corner, with a blank photograph and a broken one besides, and a report of progress."""
    pytest.importorskip("pycolmap", reason="pycolmap is not installed")
    photos, out, seen = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("made") / "out", []
    shutil.copytree(corner[0], photos, dirs_exist_ok=True)
    iio.imwrite(photos / "blank.png", np.full((240, 320, 3), 90, np.uint8))
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 and no more")
    result = nerfcore.process(photos, out, threads=1, on_progress=lambda *step: seen.append(step))
    return photos, out, result, seen


def test_cameras_are_where_they_were(processed, corner):
    _, out, _, _ = processed
    scene, truth = nerfcore.load_scene(out), corner[1]
    frames = {frame.path.name: frame for split in (scene.train, scene.test) for frame in split.frames}
    assert sorted(frames) == sorted(truth)
    found = torch.stack([frames[name].pose for name in truth]).double()
    given = torch.stack(list(truth.values()))
    similarity = Similarity.between(found[:, :, 3], given[:, :, 3])
    extent = (given[:, :, 3].amax(0) - given[:, :, 3].amin(0)).norm()
    assert (similarity.points(found[:, :, 3]) - given[:, :, 3]).norm(dim=1).max() < 0.01 * extent
    assert rotation_angle(similarity.poses(found)[:, :, :3], given[:, :, :3]).rad2deg().max() < 1
    assert frames["0.png"].camera.fl_x == pytest.approx(300, rel=0.02)  # the first guess was 384
    assert len({frame.camera for frame in frames.values()}) == 1
    surface = similarity.points(scene.points).abs().min(dim=1).values  # the corner's planes are those of the axes
    assert len(surface) > 300 and surface.median() < 0.02


def test_the_world_is_put_right(processed):
    _, out, _, _ = processed
    scene = nerfcore.load_scene(out)
    poses = torch.cat([scene.train.poses, scene.test.poses])
    assert poses[:, 2, 0].abs().max() < 0.02 and (poses[:, 2, 1] > 0).all()  # level, z up
    assert scene.points.median(0).values.abs().max() < 1e-5  # the cameras look too much the same way for another origin
    assert 0.7 < poses[:, :, 3].norm(dim=1).median() < 1.4


def test_what_is_told(processed):
    photos, out, result, seen = processed
    assert (result.photographs, result.registered, result.cameras, result.matching) == (11, 9, 1, ["exhaustive"])
    assert result.left_out == {
        "blank.png": "too few features (0): it is blurred, dark or plain", "broken.jpg": "cannot be read as an image",
    }
    assert 0 < result.reprojection_error < 1 and result.points > 300
    told = json.loads((out / "process.json").read_text())
    assert told["schema"] == 1 and told["left_out"] == result.left_out and told["registered"] == 9
    assert list(dict.fromkeys(stage for stage, _, _ in seen)) == [
        "photographs", "features", "exhaustive matches", "incremental mapping",
    ]
    assert all(0 <= done <= total for _, done, total in seen)
    assert sorted(path.name for path in out.iterdir()) == [
        "colmap", "images", "process.json", "sparse_pc.ply", "transforms.json",
    ]
    assert (out / "images" / "0.png").samefile(photos / "0.png") and not (out / "images" / "broken.jpg").exists()


def test_the_model_is_kept_for_others(processed, pycolmap):
    """The same cameras by pycolmap's reader as by ours of transforms.json."""
    _, out, _, _ = processed
    model = pycolmap.Reconstruction(out / "colmap" / "sparse" / "0")
    frames = json.loads((out / "transforms.json").read_text())["frames"]
    for frame in frames:
        image = model.find_image_with_name(frame["file_path"].removeprefix("images/"))
        assert np.allclose(image.projection_center(), np.array(frame["transform_matrix"])[:3, 3], atol=1e-9)
    assert model.num_reg_images() == len(frames) == 9


def test_again_takes_what_is_there(processed, monkeypatch, pycolmap):
    """Features are not sought twice; what photographs say of the world is the same."""
    photos, out, result, _ = processed
    before = json.loads((out / "transforms.json").read_text())
    monkeypatch.setattr(pycolmap, "extract_features", lambda *_, **__: pytest.fail("they were there"))
    again = nerfcore.process(photos, out, threads=1)
    assert (again.registered, again.left_out) == (result.registered, result.left_out)
    after = json.loads((out / "transforms.json").read_text())
    assert after["fl_x"] == pytest.approx(before["fl_x"], rel=1e-3) and len(after["frames"]) == 9


def test_other_settings_want_another_folder(processed, pycolmap):
    photos, out, _, _ = processed
    with pytest.raises(OutputError, match="was begun with camera_model OPENCV; repeat that, or choose another folder"):
        nerfcore.process(photos, out, camera_model="PINHOLE")


def test_an_interrupted_call_leaves_frames_and_features(corner, tmp_path, pycolmap):
    """Of a video, each of whose pictures lasts two frames; stopped when matching begins."""
    photos, video, stages = sorted(corner[0].iterdir()), tmp_path / "walk.mp4", []
    writer = imageio_ffmpeg.write_frames(str(video), (320, 240), fps=2, codec="libx264", quality=9)
    writer.send(None)
    for photo in photos:
        for _ in range(2):
            writer.send(iio.imread(photo).tobytes())
    writer.close()

    def stop(stage, done, total):
        stages.append(stage)
        if stage == "exhaustive matches":
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            nerfcore.process(video, tmp_path / "out", frames=9, threads=1, on_progress=stop)
    assert list(dict.fromkeys(stages)) == ["frames", "features", "exhaustive matches"] and stages[-2:] == 2 * stages[-1:]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["colmap", "images"]
    with pycolmap.Database.open(tmp_path / "out" / "colmap" / "database.db") as database:
        found = [database.exists_keypoints(image.image_id) for image in database.read_all_images()]
    assert found == 9 * [True]


def test_photographs_without_texture(tmp_path, pycolmap):
    for i in range(4):
        iio.imwrite(tmp_path / f"{i}.png", np.full((60, 80, 3), 40 * i, np.uint8))
    with pytest.raises(SceneError, match="0 of 4 photographs show enough .*the most features are 0.*with texture"):
        nerfcore.process(tmp_path, tmp_path / "out")


def test_photographs_of_different_things(tmp_path, pycolmap):
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 255, (24, 32, 3), dtype=np.uint8)
        iio.imwrite(tmp_path / f"{i}.png", noise.repeat(10, 0).repeat(10, 1))
    with pytest.raises(SceneError, match="3 photographs could not be joined .*overlaps with no other"):
        nerfcore.process(tmp_path, tmp_path / "out")


def test_one_photograph(tmp_path, pycolmap):
    iio.imwrite(tmp_path / "a.png", np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(SceneError, match="has 1 photograph that can be read, and 3 are the least"):
        nerfcore.process(tmp_path, tmp_path / "out")


def test_a_folder_of_something_else_is_not_touched(corner, tmp_path, pycolmap):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not empty; choose another folder"):
        nerfcore.process(corner[0], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_full_disk_is_said_before_it_is_full(corner, tmp_path, monkeypatch, pycolmap):
    """Before the work, and in it: pycolmap ends the process where it cannot write."""
    free = iter([2**20, 2**30, 2**25])
    monkeypatch.setattr(reconstruct.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**40, 0, next(free)))
    with pytest.raises(OutputError, match="out: 1 MiB are free there and 73 MiB are needed"):
        nerfcore.process(corner[0], tmp_path / "out")
    with pytest.raises(OutputError, match="colmap: 32 MiB are free there and 64 MiB are needed"):
        nerfcore.process(corner[0], tmp_path / "out")
    with pycolmap.Database.open(tmp_path / "out" / "colmap" / "database.db") as database:
        assert database.num_images() == 9


@pytest.mark.parametrize(("count", "name", "tried"), [
    (40, "IMG_{:04d}.jpg", ["exhaustive"]), (41, "IMG_{:04d}.jpg", ["sequential", "exhaustive"]), (41, "{}.jpg", ["exhaustive"]),
    (301, "IMG_{:04d}.jpg", ["sequential", "vocabulary"]), (301, "{}.jpg", ["vocabulary"]),
])
def test_kinds_of_matching_that_are_tried(count, name, tried):
    """By name, 10 comes before 9: such photographs are no sequence, unless they are frames of a video."""
    names = sorted(name.format(i) for i in range(count))
    assert _kinds(names, False, "auto") == tried and _kinds(names, True, "exhaustive") == ["exhaustive"]
    assert _kinds(names, True, "auto")[0] == ("exhaustive" if count <= 40 else "sequential")


@pytest.mark.parametrize("words", [dict(matching="guess"), dict(mapping="guess"), dict(camera_model="MINE"), dict(frames=1)])
def test_settings_that_do_not_exist(tmp_path, words):
    with pytest.raises(ValueError, match=next(iter(words))):
        nerfcore.process(tmp_path, tmp_path / "out", **words)


def test_without_pycolmap(corner, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(NerfcoreError, match=r'pip install "nerfcore\[sfm\]"'):
        nerfcore.process(corner[0], tmp_path / "out")
    assert main(["process", str(corner[0]), str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_command(corner, tmp_path, capsys, pycolmap):
    assert main(["process", str(tmp_path / "none"), str(tmp_path / "out")]) == 1
    assert "there is no such folder or video" in capsys.readouterr().err


def test_command_offers_the_camera_models_that_are_read():
    from typing import get_args, get_type_hints

    from nerfcore.cli.process import Process
    from nerfcore.data.colmap import CAMERA_MODELS
    from nerfcore.sfm.process import MAPPING, MATCHING

    hints = get_type_hints(Process)
    assert set(get_args(hints["camera_model"])) == set(CAMERA_MODELS)
    assert get_args(hints["matching"]) == ("auto", *MATCHING) and get_args(hints["mapping"]) == MAPPING
