"""The scene without an end: what rays see is where the closed forms have it, out to 100 times the ring."""

from __future__ import annotations

import json
import math

import imageio.v3 as iio
import torch
from torch.nn.functional import normalize

from nerfcore.data import load_scene
from nerfcore.synthetic import unbounded
from nerfcore.synthetic.unbounded import RING, SKY, STONES, ring_poses, trace
from nerfcore.types import Rays


def test_every_ray_hits_something_and_the_sky_is_a_sphere():
    g = torch.Generator().manual_seed(0)
    origin = ring_poses()[torch.randint(len(ring_poses()), (600,), generator=g), :, 3].double()
    direction = normalize(torch.randn(600, 3, generator=g, dtype=torch.float64), dim=-1)
    render = trace(Rays(origin, direction))
    assert (render.opacity == 1).all() and (render.rgb >= 0).all() and (render.rgb <= 1).all()
    points = origin + render.distance[:, None] * direction
    sky = points.norm(dim=-1) > SKY - 1e-6
    assert sky.sum() > 100 and (points.norm(dim=-1) <= SKY + 1e-6).all()
    assert torch.allclose(render.normal[sky], -normalize(points[sky], dim=-1), atol=1e-6)


def test_objects_reach_from_the_ring_to_far_away():
    distances = [math.dist(stone.centre, (0, 0, 0)) / RING for stone in STONES]
    assert min(distances) < 3 and max(distances) > 50 and SKY == 100 * RING
    assert all(d - s.radius / RING > 1 for s, d in zip(STONES, distances, strict=True))  # cameras stay outside
    near, far = (sum(low <= d < 2 * low for d in distances) for low in (2, 28))
    assert near and far


def test_a_written_scene_loads(tmp_path, monkeypatch):
    monkeypatch.setattr(unbounded, "VIEWS", 9)
    monkeypatch.setattr(unbounded, "SIZE", 8)
    unbounded.write_scene(tmp_path)
    scene = load_scene(tmp_path)
    assert (len(scene.train), len(scene.test), scene.has_alpha) == (7, 2, False)
    assert torch.allclose(scene.test.frames[0].pose, ring_poses()[0], atol=1e-6)
    box = scene.transform.to_box(scene.camera_centres())
    assert ((box > 0) & (box < 1)).all()
    image = torch.from_numpy(iio.imread(tmp_path / "000.png"))
    assert torch.equal(image, unbounded.picture(ring_poses()[0], 8))
    assert json.loads((tmp_path / "transforms.json").read_text())["aabb_scale"] == 1
