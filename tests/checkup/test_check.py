"""A capture that is right has no findings; each thing that goes wrong with one is found, and nothing else."""

import json
import math

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

import nerfcore
from nerfcore.checkup.checkup import Checkup
from nerfcore.checkup.photographs import read_photos
from nerfcore.data import builtin_scene_path, load_scene
from nerfcore.data.formats import read_capture
from nerfcore.errors import SceneError
from tests.checkup import room
from tests.data import captures


def kinds(checkup: Checkup) -> set[str]:
    return {finding.kind for finding in checkup.findings}


def finding(checkup: Checkup, kind: str):
    found, = (finding for finding in checkup.findings if finding.kind == kind)
    return found


def turn(frame: dict, degrees: float, axis=(0.6, 0.0, 0.8)) -> None:
    matrix = np.array(frame["transform_matrix"])
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * np.array(axis)).as_matrix() @ matrix[:3, :3]
    frame["transform_matrix"] = matrix.tolist()


def swap(first: dict, second: dict) -> None:
    first["transform_matrix"], second["transform_matrix"] = second["transform_matrix"], first["transform_matrix"]


def rewrite(path, change) -> None:
    iio.imwrite(path, np.rint(change(iio.imread(path).astype(np.float64))).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return nerfcore.check(room.write(tmp_path_factory.mktemp("room") / "room"))


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """Much that is wrong at once: its folder, and what is found."""
    folder = room.write(tmp_path_factory.mktemp("room") / "room")
    photos = folder / "images"

    def damage(table):
        turn(table["frames"][6], 10)
        table.update(scale=1.0, aabb=[[-0.5] * 3, [0.5] * 3])
        for name in ("absent.png", "nan.png", "torn.png", "copy.png"):
            table["frames"].append({**table["frames"][3], "file_path": f"images/{name}"})
        table["frames"][-3] = {"file_path": "images/nan.png", "transform_matrix": [[math.nan] * 4] * 4}

    room.edit(folder, damage)
    for name in ("nan.png", "copy.png"):
        (photos / name).write_bytes((photos / "03.png").read_bytes())
    (photos / "torn.png").write_bytes((photos / "03.png").read_bytes()[:200])
    rewrite(photos / "04.png", lambda photo: gaussian_filter(photo, (1.5, 1.5, 0)))
    rewrite(photos / "02.png", lambda photo: 0.6 * photo)
    rewrite(photos / "08.png", lambda photo: photo * [0.7, 1.0, 1.0])
    return folder, nerfcore.check(folder)


def test_a_good_capture_has_no_findings(good):
    assert good.findings == [] and not good.severe
    assert good.agreement.min() > 0.5 and (good.box_shares == 1).all()
    distance = np.minimum(np.abs(good.points[:, 2]), np.abs(good.points.sum(1) + 1.5) / 3**0.5)
    assert np.median(distance) < 0.05  # what it shows lies on the floor or the wall


def test_what_is_wrong_is_found_at_once_and_by_name(bad):
    _, checkup = bad
    assert kinds(checkup) == {
        "absent", "broken frame", "unreadable", "outlier poses", "duplicate photos", "duplicate poses", "blur",
        "exposure", "white balance", "box too small",
    }
    assert finding(checkup, "absent").photos == ("images/absent.png",)
    assert "nan.png" in finding(checkup, "broken frame").what
    assert finding(checkup, "unreadable").photos == ("images/torn.png",)
    assert finding(checkup, "outlier poses").photos == ("images/06.png",)
    assert finding(checkup, "blur").photos == ("images/04.png",)
    assert len(finding(checkup, "duplicate photos").photos) == 1
    assert finding(checkup, "exposure").photos[0] == "images/02.png"
    assert finding(checkup, "white balance").photos[0] == "images/08.png"
    assert checkup.severe and [f.severity for f in checkup.findings] == sorted(
        (f.severity for f in checkup.findings), key=("severe", "warning", "note").index
    )
    assert all(f.what and f.why and f.fix for f in checkup.findings)
    gains = dict(zip([photo.name for photo in checkup.photos], checkup.gains, strict=True))
    relative = gains["images/02.png"] - gains["images/03.png"]
    np.testing.assert_allclose(relative, math.log(0.6), atol=0.08)


def test_what_was_applied_is_no_longer_found(bad, tmp_path):
    folder, checkup = bad
    before = (folder / "transforms.json").read_bytes()
    checkup.apply(tmp_path / "scene", drop_blurred=True)
    assert (folder / "transforms.json").read_bytes() == before
    again = nerfcore.check(tmp_path / "scene")
    assert kinds(again) <= {"exposure", "white balance"}
    assert len(again.photos) == 8  # of 13 present: without the broken, torn, turned, blurred ones and the copy
    scene = load_scene(tmp_path / "scene")
    assert len(scene.train) + len(scene.test) == 8
    low, high = scene.transform.world_box.numpy()
    assert ((checkup.points > low) & (checkup.points < high)).all(1).mean() > 0.9


def test_axes_of_opencv_are_told_and_put_right(good, tmp_path):
    folder = room.write(tmp_path / "room")

    def flip(table):
        for frame in table["frames"]:
            frame["transform_matrix"] = (np.array(frame["transform_matrix"]) @ np.diag([1, -1, -1, 1])).tolist()

    room.edit(folder, flip)
    checkup = nerfcore.check(folder)
    assert kinds(checkup) == {"axes"} and "OpenCV" in finding(checkup, "axes").what
    torch.testing.assert_close(checkup.poses, good.poses)
    checkup.apply(tmp_path / "scene")
    poses = torch.stack([entry.pose for entry in read_capture(tmp_path / "scene").entries])
    assert {tuple(p) for p in poses[:, :, 3].tolist()} == {tuple(p) for p in good.poses[:, :, 3].tolist()}


def test_photos_in_another_order_than_their_poses(tmp_path):
    folder = room.write(tmp_path / "room")

    def shuffle(table):
        matrices = [frame["transform_matrix"] for frame in table["frames"]]
        for frame, k in zip(table["frames"], (5, 8, 1, 6, 9, 2, 7, 0, 3, 4), strict=True):
            frame["transform_matrix"] = matrices[k]

    room.edit(folder, shuffle)
    assert finding(nerfcore.check(folder), "nothing agrees").severity == "severe"


@pytest.fixture(scope="module")
def builtin(tmp_path_factory):
    """``builtin(change)``: what is found in the third of the built-in scene seen from above, poses changed."""

    def examine(change):
        folder, source = tmp_path_factory.mktemp("builtin"), builtin_scene_path()
        table = json.loads((source / "transforms_train.json").read_text())
        table["frames"].sort(key=lambda frame: -frame["transform_matrix"][2][3])
        del table["frames"][24:]
        for frame in table["frames"]:
            frame["file_path"] = str((source / frame["file_path"]).resolve())
        change(table["frames"])
        (folder / "transforms.json").write_text(json.dumps(table))
        return nerfcore.check(folder), table["frames"]

    return examine


@pytest.mark.parametrize("change", [
    pytest.param(lambda frames: None, id="as it is"),
    pytest.param(lambda frames: (turn(frames[4], 10), turn(frames[11], 10, (0.0, 1.0, 0.0))), id="turned by 10 degrees"),
    pytest.param(lambda frames: swap(frames[4], frames[11]), id="swapped"),
])
def test_exactly_the_wrong_poses_of_the_builtin_scene_are_found(builtin, change, request):
    checkup, frames = builtin(change)
    wrong = [] if "as it is" in request.node.name else [frames[4], frames[11]]
    kind = "swapped poses" if "swapped" in request.node.name else "outlier poses"
    found = {finding.kind: sorted(finding.photos) for finding in checkup.findings if finding.kind != "coverage"}
    assert found == ({kind: sorted(frame["file_path"] for frame in wrong)} if wrong else {})


def linked_fox(real, folder, change):
    """The fox with its poses changed; every other photo, for the time it takes."""
    table = json.loads((real / "transforms.json").read_text())
    present = [frame for frame in table["frames"] if (real / frame["file_path"]).exists()]
    table["frames"] = sorted(present, key=lambda frame: frame["file_path"])[::2]
    for frame in table["frames"]:
        frame["file_path"] = str(real / frame["file_path"])
    change(table["frames"])
    (folder / "transforms.json").write_text(json.dumps(table))
    return table["frames"]


def test_fox_with_two_poses_swapped_and_a_small_box(shared_data, tmp_path):
    frames = linked_fox(shared_data / "fox", tmp_path, lambda frames: swap(frames[3], frames[17]))
    side = 4 / 0.33
    checkup = nerfcore.check(tmp_path, box=[-0.05 * side] * 3 + [0.05 * side] * 3)
    wrong = [frame["file_path"] for frame in (frames[3], frames[17])]
    assert sorted(finding(checkup, "swapped poses").photos) == sorted(wrong) and "outlier poses" not in kinds(checkup)
    right = [np.array(frame["transform_matrix"])[:3] for frame in (frames[17], frames[3])]  # changed back
    by_name = {photo.name: pose for photo, pose in zip(checkup.photos, checkup.poses.numpy(), strict=True)}
    np.testing.assert_allclose([by_name[name] for name in wrong], right, atol=1e-6)
    small = finding(checkup, "box too small")
    assert small.severity == "severe" and "--box" in small.fix
    assert nerfcore.data.bounds.find_box(checkup.capture).transform.scale == pytest.approx(1 / side)


def test_fern_has_no_findings(shared_data):
    assert nerfcore.check(shared_data / "fern").findings == []


@pytest.mark.parametrize(("box", "kind"), [
    ((-0.4, -0.4, -0.4, 0.4, 0.4, 0.4), "box too small"),
    ((-40, -40, -40, 40, 40, 40), "box too big"),
    ((5, 5, 5, 9, 9, 9), "box too small"),
])
def test_boxes(good, box, kind):
    from nerfcore.checkup.geometry import box_findings, box_shares

    given = good.box.within(box)
    views = [photo.view for photo in good.photos]
    found = box_findings(good.photos, good.poses, given, box_shares(views, given), good.points, "--box")
    assert found[0].kind == kind and found[0].applied


def photo_kinds(folder):
    photos, findings = read_photos(read_capture(folder))
    return photos, {finding.kind: finding for finding in findings}


@pytest.mark.parametrize(("settings", "words"), [
    (dict(fl_x=5000.0), "1.38° wide"), (dict(cx=100.0), "off the middle"), (dict(fl_y=60.0), "1.83 times fl_y"),
])
def test_intrinsics_that_are_odd(tmp_path, settings, words):
    _, found = photo_kinds(room.write(tmp_path / "room", **settings))
    assert found.keys() == {"intrinsics"} and words in found["intrinsics"].what
    assert len(found["intrinsics"].photos) == room.COUNT


def test_distortion_that_folds(tmp_path):
    with pytest.raises(SceneError, match="has no ray for some pixels"):
        nerfcore.check(room.write(tmp_path / "room", k1=-3.0))


def test_intrinsics_of_photos_of_almost_the_same_shape_are_stretched(tmp_path):
    photos, found = photo_kinds(room.write(tmp_path / "room", w=1200, h=886, fl_x=1100.0))
    assert found.keys() == {"image size"} and len(found["image size"].photos) == room.COUNT
    camera = photos[0].camera
    assert (camera.width, camera.height, camera.fl_x) == (120, 90, pytest.approx(110))
    assert camera.fl_y == pytest.approx(1100 * 90 / 886)


def test_photos_that_lie_on_their_side_or_were_cropped(tmp_path):
    folder = room.write(tmp_path / "room")
    path = folder / "images/03.png"
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)
    Image.open(folder / "images/05.png").crop((0, 0, 100, 90)).save(folder / "images/05.png")
    _, findings = read_photos(read_capture(folder))
    sizes = {finding.photos: finding.what for finding in findings if finding.kind == "image size"}
    assert "lies on its side" in sizes["images/03.png",] and "100x90" in sizes["images/05.png",]


def test_sizes_that_are_mixed(tmp_path):
    folder = room.write(tmp_path / "room")
    path = folder / "images/03.png"
    Image.open(path).resize((60, 45), Image.Resampling.BOX).save(path)
    photos, found = photo_kinds(folder)
    assert found["mixed sizes"].photos == ("images/03.png",) and len(photos) == room.COUNT


def test_captures_without_a_photo_that_can_be_read(tmp_path):
    folder = room.write(tmp_path / "room")
    for path in (folder / "images").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(SceneError, match="none of its 10 photos can be used"):
        nerfcore.check(folder)
    with pytest.raises(SceneError, match="no such folder"):
        nerfcore.check(tmp_path / "nowhere")


@pytest.mark.parametrize("form", captures.FORMS)
def test_every_form_can_be_checked_and_written(tmp_path, form):
    checkup = nerfcore.check(captures.FORMS[form](tmp_path / "in"))
    assert "nothing agrees" in kinds(checkup) or not np.isfinite(checkup.agreement).any()  # their pictures are noise
    kept = checkup.apply(tmp_path / "out")
    assert len(read_capture(tmp_path / "out").entries) == len(kept.entries)


@pytest.mark.parametrize("top", [
    dict(camera_model="OPENCV_FISHEYE", k1=0.02), dict(camera_model="EQUIRECTANGULAR"), dict(k1=0.1, p1=0.01),
], ids=["fisheye", "panorama", "distorted"])
def test_every_lens_can_be_checked(tmp_path, top):
    checkup = nerfcore.check(captures.nerfstudio(tmp_path, **top))
    assert len(checkup.photos) == 10 and (checkup.box_shares > 0).all()
