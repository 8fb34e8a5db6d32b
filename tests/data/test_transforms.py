"""The instant-ngp form: what is read, what is held out, which camera each photo gets."""

import math

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from nerfcore.cameras import Camera, Perspective
from nerfcore.data import load_scene

FILE = "transforms.json"


def test_every_8th_by_name_is_held_out_and_pixels_are_those_of_the_files(ngp, edit, picture, pose):
    edit(ngp / FILE, lambda table: table["frames"].reverse())
    scene = load_scene(ngp)
    assert [f.name for f in scene.test.frames] == ["images/00.png", "images/08.png"]
    assert [f.name for f in scene.train.frames] == [f"images/{i:02d}.png" for i in (1, 2, 3, 4, 5, 6, 7, 9)]
    assert scene.val is None and not scene.has_alpha and scene.name == "capture" and "8th" in scene.split_rule
    assert scene.train.pixels.dtype == torch.uint8 and scene.train.offsets.tolist() == [192 * i for i in range(9)]
    for split in (scene.train, scene.test):
        for i, frame in enumerate(split.frames):
            index = int(frame.path.stem)
            assert torch.allclose(split.image(i), torch.from_numpy(picture(index)) / 255, atol=1e-7)
            assert torch.allclose(frame.pose, pose(index), atol=1e-6)
    assert torch.equal(scene.camera_centres("test"), torch.stack([pose(0), pose(8)])[:, :, 3])


def test_absent_images_are_skipped_with_one_warning(ngp):
    for index in (0, 3, 4):
        (ngp / f"images/{index:02d}.png").unlink()
    with pytest.warns(UserWarning, match="3 of 10 listed images do not exist") as caught:
        scene = load_scene(ngp)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert [f.name for f in scene.test.frames] == ["images/01.png"]  # the first of those present
    assert len(scene.train) == 6


def test_the_file_itself_is_a_path_too(ngp):
    assert len(load_scene(str(ngp / FILE)).train) == 8


def test_all_intrinsics_are_read(ngp, edit):
    given = {"fl_x": 21.0, "fl_y": 22.0, "cx": 7.0, "cy": 6.5, "w": 16.0, "h": 12.0}
    lens = {"k1": 0.01, "k2": 0.02, "k3": 0.03, "k4": 0.04, "p1": 0.005, "p2": 0.006}
    edit(ngp / FILE, lambda table: table.update(given, **lens))
    camera = load_scene(ngp).train.frames[0].camera
    assert camera == Camera(16, 12, 21.0, 22.0, 7.0, 6.5, Perspective(**lens))


def test_the_angle_of_view_gives_the_focal_length_and_the_centre_is_the_default(ngp, edit):
    def change(table):
        del table["fl_x"]
        table["camera_angle_x"] = math.pi / 2
        table["camera_angle_y"] = 2 * math.atan(0.5)

    edit(ngp / FILE, change)
    camera = load_scene(ngp).train.frames[0].camera
    assert (camera.fl_x, camera.fl_y, camera.cx, camera.cy) == pytest.approx((8.0, 12.0, 8.0, 6.0))


def test_intrinsics_of_a_frame_go_before_those_of_the_file(ngp, edit):
    edit(ngp / FILE, lambda table: table["frames"][2].update(camera_angle_x=math.pi / 2, cx=3.0))
    one, two = (load_scene(ngp).train.frames[i].camera for i in (0, 1))
    assert (one.fl_x, one.cx) == (20.0, 8.0)
    assert (two.fl_x, two.cx) == (pytest.approx(8.0), 3.0)


def test_photos_of_another_size_follow_an_exact_rescale(ngp, edit):
    edit(ngp / FILE, lambda table: table.update(w=32, h=24, fl_x=40.0, fl_y=44.0, cx=15.0, cy=13.0))
    assert load_scene(ngp).train.frames[0].camera == Camera(16, 12, 20.0, 22.0, 7.5, 6.5)


def test_each_photo_may_have_its_own_size_with_its_own_intrinsics(ngp, edit, picture):
    iio.imwrite(ngp / "images/05.png", picture(5, height=20, width=9))
    edit(ngp / FILE, lambda table: table["frames"][5].update(fl_x=30.0))
    train = load_scene(ngp).train
    assert (train.frames[4].camera.width, train.frames[4].camera.height) == (9, 20)
    assert torch.allclose(train.image(4), torch.from_numpy(picture(5, height=20, width=9)) / 255)
    assert torch.allclose(train.image(5), torch.from_numpy(picture(6)) / 255)


def test_photos_without_alpha_are_opaque_beside_those_with_it(ngp, picture):
    iio.imwrite(ngp / "images/05.png", picture(5, channels=4))
    scene = load_scene(ngp)
    assert scene.has_alpha and scene.test.pixels.shape[1] == 4
    assert torch.allclose(scene.train.image(4), torch.from_numpy(picture(5, channels=4)) / 255)
    assert (scene.train.image(0)[:, :, 3] == 1).all()


@pytest.mark.parametrize("factor", [2, 5])
def test_downscale_averages_blocks_and_scales_the_camera(ngp, edit, picture, factor):
    edit(ngp / FILE, lambda table: table.update(k1=0.1, cx=7.0))
    scene = load_scene(ngp, downscale=factor)
    height, width = 12 // factor, 16 // factor
    blocks = picture(1)[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    assert scene.train.pixels.dtype == torch.uint16
    assert np.allclose(scene.train.image(0).numpy(), blocks.mean((1, 3)) / 255, atol=1e-5)
    expected = Camera(width, height, 20 / factor, 20 / factor, 7 / factor, 6 / factor, Perspective(k1=0.1))
    assert scene.train.frames[0].camera.description() == pytest.approx(expected.description())


@pytest.mark.parametrize(("settings", "side"), [({}, 1), ({"aabb_scale": 4}, 4), ({"aabb_scale": 128}, 128)])
def test_the_box_is_that_of_instant_ngp(ngp, edit, settings, side):
    edit(ngp / FILE, lambda table: table.update(settings, scale=0.25, offset=[0.5, 0.75, 0.0]))
    scene = load_scene(ngp)
    low, high = 0.5 - side / 2, 0.5 + side / 2
    expected = torch.tensor([[(edge - o) / 0.25 for o in (0.5, 0.75, 0.0)] for edge in (low, high)])
    assert torch.allclose(scene.transform.world_box, expected)
    assert scene.cascades == 1 + math.log2(side)


def test_the_box_has_instant_ngps_defaults(ngp):
    box = load_scene(ngp).transform.world_box
    assert torch.allclose(box, torch.tensor([[-0.5 / 0.33] * 3, [0.5 / 0.33] * 3]))


def test_fox(real_scene):
    with pytest.warns(UserWarning, match="17 of 67 listed images"):
        scene = load_scene(real_scene("fox"), downscale=4)
    assert (len(scene.train), len(scene.test), scene.cascades) == (43, 7, 3)
    assert scene.test.frames[0].name == "images/0001.jpg"
    camera = scene.train.frames[0].camera
    assert (camera.width, camera.height, camera.fl_x, camera.lens.k1) == (270, 480, 1375.52 / 4, 0.0578421)
    full = iio.imread(scene.train.frames[0].path).astype(np.float64) / 255
    assert np.allclose(scene.train.image(0), full.reshape(480, 4, 270, 4, 3).mean((1, 3)), atol=1e-5)
    inside = scene.transform.to_box(scene.camera_centres())
    assert ((inside > 0) & (inside < 1)).all()
