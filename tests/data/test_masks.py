"""Pixels that a mask names or a lens does not cover: never drawn, never scored."""

import json
import math
from dataclasses import replace

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from nerfcore.cameras import Camera, Equirectangular, Fisheye
from nerfcore.data import PixelSampler, load_scene
from nerfcore.errors import SceneError
from nerfcore.training.evaluate import evaluate
from tests.analytic import Ball, model_of
from tests.data import captures


def edit(folder, change):
    table = json.loads((folder / "transforms.json").read_text())
    change(table)
    (folder / "transforms.json").write_text(json.dumps(table))


def mask(index):
    return np.random.default_rng(100 + index).random((12, 16)) < 0.3


@pytest.fixture
def masked(tmp_path):
    """A capture whose pixel colours are all different, with `mask(i)` for the ignored pixels of photo i."""

    def make(form):
        captures.instant_ngp(tmp_path)
        for i, view in enumerate(captures.views()):
            colours = np.arange(192, dtype=np.uint8).reshape(12, 16)
            iio.imwrite(tmp_path / "images" / view.name, np.dstack([colours, np.full_like(colours, i), colours]))
            if form == "instant-ngp":
                iio.imwrite(tmp_path / "images" / f"dynamic_mask_{i:03d}.png", mask(i).astype(np.uint8) * 200)
            else:
                iio.imwrite(tmp_path / f"mask_{i}.png", (~mask(i)).astype(np.uint8) * 255)
        if form == "nerfstudio":
            edit(tmp_path, lambda t: [f.update(mask_path=f"mask_{i}.png") for i, f in enumerate(t["frames"])])
        return tmp_path

    return make


@pytest.mark.parametrize("form", ["nerfstudio", "instant-ngp"])
def test_masked_pixels_are_never_drawn_and_all_others_are(masked, form):
    scene = load_scene(masked(form))
    for i in range(len(scene.test)):
        assert np.array_equal(scene.test.ignored(i).numpy(), mask(8 * i))
    _, colour, *_ = PixelSampler(scene.train).sample(100_000, torch.Generator().manual_seed(0))
    drawn = {(int(g), int(r)) for r, g, _ in (255 * colour).round().tolist()}
    expected = {(i, int(p)) for i in range(10) if i % 8 for p in np.flatnonzero(~mask(i))}
    assert drawn == expected


def test_a_block_with_a_masked_pixel_is_masked(masked):
    scene = load_scene(masked("nerfstudio"), downscale=2)
    assert np.array_equal(scene.test.ignored(1).numpy(), mask(8).reshape(6, 2, 8, 2).any((1, 3)))


def test_rays_and_colours_of_drawn_pixels_belong_together(masked):
    scene = load_scene(masked("nerfstudio"))
    rays, colour, *_ = PixelSampler(scene.train).sample(50, torch.Generator().manual_seed(0))
    frames = {int(f.path.stem): f for f in scene.train.frames}
    for direction, origin, (r, g, _) in zip(rays.direction, rays.origin, (255 * colour).round().long(), strict=True):
        frame, pixel = frames[int(g)], torch.tensor([[int(r) % 16 + 0.5, int(r) // 16 + 0.5]])
        assert torch.equal(origin, frame.pose[:, 3])
        assert torch.allclose(frame.camera.unproject(pixel)[1] @ frame.pose[:, :3].T, direction, atol=1e-6)


def fisheye(folder, **top):
    captures.nerfstudio(folder, camera_model="OPENCV_FISHEYE", fl_x=4.0, fl_y=4.0, cx=8.0, cy=6.0, k1=-0.1, **top)
    return folder


def test_outside_the_image_circle_of_a_fisheye_nothing_is_drawn(tmp_path):
    scene = load_scene(fisheye(tmp_path))
    camera = scene.train.frames[0].camera
    assert camera.lens == Fisheye(k1=-0.1)
    covered = camera.covers(camera.pixel_centres()).reshape(12, 16)
    assert 0 < covered.sum() < 192 and torch.equal(scene.train.ignored(3), ~covered)
    rays, *_ = PixelSampler(scene.train).sample(2000, torch.Generator().manual_seed(0))
    assert torch.allclose(rays.direction.norm(dim=-1), torch.ones(2000), atol=1e-5)
    # θ' = θ - 0.1 θ³ stops growing at θ = sqrt(10 / 3)
    assert rays.z_scale.min() > math.cos(math.sqrt(10 / 3)) - 1e-3


@pytest.mark.parametrize("downscale", [1, 2])
def test_the_crop_radius_of_nerfstudio(tmp_path, downscale):
    scene = load_scene(fisheye(tmp_path, fisheye_crop_radius=4.5), downscale)
    y, x = np.mgrid[:12, :16] + 0.5
    outside = np.hypot(x - 8, y - 6) >= 4.5
    outside = outside.reshape(12 // downscale, downscale, 16 // downscale, downscale).any((1, 3))
    assert np.array_equal(scene.train.ignored(0).numpy(), outside)


@pytest.mark.parametrize("top", [{"camera_model": "EQUIRECTANGULAR"}, {"latlong": True}])
def test_panoramas(tmp_path, top):
    form = captures.nerfstudio if "camera_model" in top else captures.instant_ngp
    scene = load_scene(form(tmp_path, **top))
    assert scene.train.frames[0].camera == Camera.panorama(16, 12) and scene.train.ignore_mask is None
    assert isinstance(scene.train.frames[0].camera.lens, Equirectangular)


def test_scores_and_pictures_leave_ignored_pixels_out(masked):
    scene = load_scene(masked("nerfstudio"))
    model = model_of(Ball())
    view = replace(scene.test, ignore_mask=torch.zeros_like(scene.test.ignore_mask))
    view.ignore_mask[5] = True  # so that whole windows are left
    wrong = view.pixels.clone()
    wrong[5] = 255 - wrong[5]
    result, same = evaluate(model, view), evaluate(model, replace(view, pixels=wrong))
    assert result.metrics == same.metrics
    assert evaluate(model, replace(view, ignore_mask=None)).metrics["psnr"] != result.metrics["psnr"]
    _, truth, prediction = result.pictures[0]
    assert (truth[0, 5] == 1).all() and (prediction[0, 5] == 1).all()


def test_errors(masked):
    folder = masked("nerfstudio")
    iio.imwrite(folder / "mask_3.png", np.zeros((6, 8), np.uint8))
    with pytest.raises(SceneError, match=r"mask_3.png: is 8x6 but its photo .*003.png is 16x12"):
        load_scene(folder)
    iio.imwrite(folder / "mask_3.png", np.zeros((12, 16), np.uint8))
    with pytest.raises(SceneError, match=r"003.png: its mask and its lens leave no pixel"):
        load_scene(folder)
    (folder / "mask_3.png").unlink()
    with pytest.raises(SceneError, match=r"frame images/003.png: its mask_path does not exist"):
        load_scene(folder)
