"""Depth maps: their files and sizes, and how far along its ray a drawn pixel has its surface, for every lens."""

import json
import math
from dataclasses import replace

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from nerfcore.cameras import Orthographic
from nerfcore.data import PixelSampler, load_scene
from nerfcore.data.images import read_depth_map
from nerfcore.errors import SceneError
from tests.data import captures

PLANE = 5.0  # away from the camera, along its axis


def with_maps(folder, values, key="depth_file_path", suffix=".png", **top):
    """A capture of 16 x 12 pixels whose frames all have this map."""
    captures.nerfstudio(folder, **top)
    name = f"map{suffix}"
    np.save(folder / name, values) if suffix == ".npy" else iio.imwrite(folder / name, values)
    table = json.loads((folder / "transforms.json").read_text())
    for frame in table["frames"]:
        frame[key] = name
    (folder / "transforms.json").write_text(json.dumps(table))
    return folder


def drawn(split, **options):
    sampler = PixelSampler(split, **options)
    rays, *_, distance = sampler.sample(400, torch.Generator().manual_seed(0))
    sampler.close()
    return rays, distance


LENSES = {
    "pinhole": dict(),
    "distorted": dict(k1=0.1, p1=0.01),
    "fisheye": dict(camera_model="OPENCV_FISHEYE", fl_x=8.0, fl_y=8.0, k1=0.02),
}


@pytest.mark.parametrize("memory", [None, 0], ids=["memory", "pool"])
@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES)
def test_a_plane_across_the_axis(tmp_path, lens, memory):
    """z_depth is the same everywhere, and rays end on the plane."""
    folder = with_maps(tmp_path, np.full((12, 16), round(1000 * PLANE), np.uint16), **lens)
    scene = load_scene(folder, memory=memory, depth_maps=True)
    frame = scene.train.frames[0]
    sampler = PixelSampler(scene.train)
    rays, _, image, distance = sampler.sample(400, torch.Generator().manual_seed(0))
    sampler.close()
    assert (distance > 0).all() and distance.max() > 1.05 * PLANE
    end = rays.origin + distance[:, None] * rays.direction
    poses = scene.train.poses[image]
    depth = -((end - poses[:, :, 3]) * poses[:, :, 2]).sum(-1)
    assert torch.allclose(depth, torch.full_like(depth, PLANE), rtol=2e-6)
    rays, boxed = drawn(scene.train, transform=scene.transform)
    assert torch.allclose(boxed, scene.transform.scale * PLANE / rays.z_scale) and frame.z_depth_unit == 1e-3


def test_a_ball_around_the_camera(tmp_path):
    """distance is the same everywhere, also behind a camera that sees all around."""
    folder = with_maps(
        tmp_path, np.full((12, 16), 3000, np.uint16), "distance_file_path", camera_model="EQUIRECTANGULAR"
    )
    scene = load_scene(folder, depth_maps=True)
    rays, distance = drawn(scene.train)
    assert torch.allclose(distance, torch.full_like(distance, 3.0)) and rays.z_scale.min() < -0.5
    frames = [replace(f, distance_path=None, z_depth_path=f.distance_path) for f in scene.train.frames]
    rays, distance = drawn(replace(scene.train, frames=frames))
    assert torch.equal(distance > 0, rays.z_scale > 0)  # nothing has a depth along the axis that is behind


def test_parallel_rays(tmp_path):
    scene = load_scene(with_maps(tmp_path, np.full((12, 16), 7000, np.uint16)), depth_maps=True)
    frames = [replace(f, camera=replace(f.camera, lens=Orthographic())) for f in scene.train.frames]
    assert drawn(replace(scene.train, frames=frames))[1].tolist() == pytest.approx([7.0] * 400)


def test_values_belong_to_the_pixel_that_is_drawn(tmp_path):
    row, column = np.indices((12, 16))
    values = (1 + column + 100 * row).astype(np.uint16)
    folder = with_maps(tmp_path, values, depth_unit_scale_factor=1.0)
    for options in (dict(), dict(memory=0)):
        scene = load_scene(folder, depth_maps=True, **options)
        camera = scene.train.frames[0].camera
        rays, distance = drawn(scene.train)
        value = (distance * rays.z_scale).round().long()
        pixel = torch.stack([(value - 1) % 100, (value - 1) // 100], dim=-1) + 0.5
        _, local = camera.unproject(pixel)
        assert torch.allclose(-local[:, 2], rays.z_scale, atol=1e-6) and len(value.unique()) > 100


@pytest.mark.parametrize("shape", [(12, 16), (6, 8), (24, 32), (3, 4)], ids=str)
@pytest.mark.parametrize("downscale", [1, 2])
def test_maps_of_other_sizes_give_the_nearest_value(tmp_path, shape, downscale):
    values = np.arange(1, 1 + shape[0] * shape[1], dtype=np.uint16).reshape(shape)
    scene = load_scene(with_maps(tmp_path, values, depth_unit_scale_factor=1.0), downscale, depth_maps=True)
    height, width = 12 // downscale, 16 // downscale
    found = scene.train.measured[: height * width].reshape(height, width)
    for i in range(height):
        for j in range(width):
            y, x = (i + 0.5) * shape[0] / height, (j + 0.5) * shape[1] / width  # in the map, from its border
            value = int(found[i, j]) - 1
            centre_y, centre_x = value // shape[1] + 0.5, value % shape[1] + 0.5
            assert abs(centre_y - y) <= 0.5 and abs(centre_x - x) <= 0.5


def test_numbers_that_say_nothing(tmp_path):
    values = np.full((12, 16), 2.0, np.float32)
    values[0, :5] = 0, -1, math.nan, math.inf, -math.inf
    folder = with_maps(tmp_path, values, suffix=".npy", depth_unit_scale_factor=0.5)
    measured = load_scene(folder, depth_maps=True).train.measured
    assert measured[:5].tolist() == [0] * 5 and (measured[5:192] == 1).all()
    rays, distance = drawn(load_scene(folder, depth_maps=True).train)
    assert torch.isfinite(distance).all() and (distance == 0).any() and len(rays) == 400


def test_frames_without_a_map_say_nothing(tmp_path):
    folder = with_maps(tmp_path, np.full((12, 16), 1000, np.uint16))
    table = json.loads((folder / "transforms.json").read_text())
    del table["frames"][1]["depth_file_path"]
    (folder / "transforms.json").write_text(json.dumps(table))
    train = load_scene(folder, depth_maps=True).train
    assert train.frames[0].z_depth_path is None and not train.measured[:192].any() and (train.measured[192:] == 1).all()


def test_distances_go_before_depths(tmp_path):
    folder = with_maps(tmp_path, np.full((12, 16), 1000, np.uint16))
    iio.imwrite(folder / "far.png", np.full((12, 16), 3, np.uint8))
    table = json.loads((folder / "transforms.json").read_text())
    table["frames"][1].update(distance_file_path="far.png")
    (folder / "transforms.json").write_text(json.dumps(table | dict(distance_unit_scale_factor=2.0)))
    sampler = PixelSampler(load_scene(folder, depth_maps=True).train)
    rays, _, image, distance = sampler.sample(300, torch.Generator().manual_seed(0))
    assert torch.equal(distance[image == 0], torch.full_like(distance[image == 0], 6.0))
    assert torch.allclose((distance * rays.z_scale)[image > 0], torch.ones(()))


def test_unusable_maps_are_named(tmp_path):
    folder = with_maps(tmp_path, np.full((12, 12), 1000, np.uint16))
    assert load_scene(folder).train.measured is None  # nobody asked
    with pytest.raises(SceneError, match=r"map\.png: is 12x12 but its photo .* is 16x12; save it in the same prop"):
        load_scene(folder, depth_maps=True)
    iio.imwrite(folder / "map.png", np.zeros((12, 16, 3), np.uint8))
    with pytest.raises(SceneError, match=r"map\.png: has shape \(12, 16, 3\); a depth map has one number"):
        load_scene(folder, depth_maps=True)
    (folder / "map.png").write_bytes(b"no picture")
    with pytest.raises(SceneError, match=r"map\.png: cannot be read as a depth map"):
        load_scene(folder, depth_maps=True)
    np.save(folder / "map.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(SceneError, match=r"map\.npy: cannot be read"):
        read_depth_map(folder / "map.npy")


def test_sixteen_bits_are_kept(tmp_path):
    values = np.random.default_rng(0).integers(0, 1 << 16, (12, 16), dtype=np.uint16)
    iio.imwrite(tmp_path / "map.png", values)
    assert np.array_equal(read_depth_map(tmp_path / "map.png"), values)
