"""Random training rays against the rays of whole images."""

from dataclasses import replace

import pytest
import torch

from nerfcore.cameras import Orthographic, camera_rays
from nerfcore.data import PixelSampler, load_scene


def sampler_of(scene):
    return PixelSampler(scene.train)


@pytest.mark.parametrize("downscale", [1, 3])
def test_rays_and_colours_are_those_of_a_pixel(ngp, edit, downscale):
    def change(table):
        table.update(k1=0.05)
        table["frames"][2]["fl_x"] = 25.0  # two distinct cameras

    edit(ngp / "transforms.json", change)
    scene = load_scene(ngp, downscale)
    train = scene.train
    rays, colour, image, *_ = sampler_of(scene).sample(500, torch.Generator().manual_seed(0))
    all_rays = [camera_rays(frame.camera, frame.pose) for frame in train.frames]
    origin = torch.cat([r.origin for r in all_rays])
    direction = torch.cat([r.direction for r in all_rays])
    z_scale = torch.cat([r.z_scale for r in all_rays])
    pixels = torch.cat([train.image(i).reshape(-1, 3) for i in range(len(train))])
    for i in range(500):
        same = (direction - rays.direction[i]).abs().sum(-1) + (origin - rays.origin[i]).abs().sum(-1)
        pixel = same.argmin()
        assert same[pixel] < 1e-5 and abs(z_scale[pixel] - rays.z_scale[i]) < 1e-6
        assert torch.equal(pixels[pixel], colour[i]) and train.offsets[image[i]] <= pixel < train.offsets[image[i] + 1]
    assert colour.dtype == torch.float32


def test_rays_that_do_not_start_at_the_camera(ngp):
    scene = load_scene(ngp)
    frames = [replace(frame, camera=replace(frame.camera, lens=Orthographic())) for frame in scene.train.frames]
    sampler = PixelSampler(replace(scene.train, frames=frames))
    rays, *_ = sampler.sample(200, torch.Generator().manual_seed(0))
    all_rays = [camera_rays(frame.camera, frame.pose) for frame in frames]
    origin = torch.cat([r.origin for r in all_rays])
    nearest = (origin - rays.origin[:, None]).norm(dim=-1).min(dim=1)
    assert nearest.values.max() < 1e-5
    assert torch.allclose(torch.cat([r.direction for r in all_rays])[nearest.indices], rays.direction, atol=1e-5)
    assert sampler.nbytes == 2 * 12 * 16 * 3 * 4 and scene.train.nbytes == 8 * 12 * 16 * 3
    boxed, *_ = PixelSampler(replace(scene.train, frames=frames), transform=scene.transform).sample(
        200, torch.Generator().manual_seed(0)
    )
    assert torch.allclose(boxed.origin, scene.transform.to_box(rays.origin), atol=1e-6)


def test_alpha_comes_last_and_straight(blender):
    scene = load_scene(blender)
    _, colour, *_ = sampler_of(scene).sample(200, torch.Generator().manual_seed(0))
    rows = {tuple(row) for row in scene.train.pixels.tolist()}
    assert all(tuple((row * 255).round().int().tolist()) in rows for row in colour)


def test_pixels_are_drawn_uniformly_and_by_the_generator_only(ngp):
    sampler = sampler_of(load_scene(ngp))
    rays, colour, *_ = sampler.sample(40000, torch.Generator().manual_seed(1))
    _, counts = torch.unique(rays.origin, dim=0, return_counts=True)
    expected, deviation = 40000 / 8, (40000 * (1 / 8) * (7 / 8)) ** 0.5
    assert len(counts) == 8 and (counts - expected).abs().max() < 5 * deviation
    torch.manual_seed(123)
    again, colour_again, *_ = sampler.sample(40000, torch.Generator().manual_seed(1))
    assert torch.equal(rays.direction, again.direction) and torch.equal(colour, colour_again)


def test_no_rays(ngp):
    rays, colour, *_ = sampler_of(load_scene(ngp)).sample(0, torch.Generator())
    assert len(rays) == 0 and colour.shape == (0, 3)


def test_equal_cameras_share_one_table_of_directions(ngp):
    assert sampler_of(load_scene(ngp)).source.directions.shape == (12 * 16, 3)
