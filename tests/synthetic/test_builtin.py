"""The built-in scene: the tracer against closed forms, and the frozen files in assets/scene against the tracer."""

import hashlib
import json
import math
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
import trimesh
from torch.nn.functional import normalize

from nerfcore.cameras import Camera, camera_rays
from nerfcore.synthetic import NUM_OBJECTS, SOLIDS, signed_distance, trace, trace_solids
from nerfcore.types import Rays

SCENE = Path(__file__).parents[2] / "assets" / "scene"
SIDE = 3.03  # of the scene box that instant-ngp's default scale of 0.33 gives
GENUS = {"ball": 0, "tunnel box": 1, "ring": 1, "wheel": 8, "capsule": 0}


@pytest.fixture(scope="module")
def mesh():
    return trimesh.load(SCENE / "mesh.ply")


def read_split(split):
    return json.loads((SCENE / f"transforms_{split}.json").read_text())


def view(split, index):
    """The camera and pose [3, 4], float64, of one picture."""
    listing = read_split(split)
    focal = 100 / math.tan(0.5 * listing["camera_angle_x"])
    pose = torch.tensor(listing["frames"][index]["transform_matrix"], dtype=torch.float64)[:3]
    return Camera(200, 200, focal, focal, 100.0, 100.0), pose


def random_rays(count, seed=0, dtype=torch.float64):
    random = torch.Generator().manual_seed(seed)
    origin = 4 * normalize(torch.randn(count, 3, generator=random, dtype=dtype), dim=-1)
    target = 0.7 * torch.randn(count, 3, generator=random, dtype=dtype)
    return Rays(origin, normalize(target - origin, dim=-1))


def solid(name):
    return next(s for s in SOLIDS if s.name == name)


# ---- the tracer

def test_ball_distance_and_normal_are_those_of_the_quadratic_equation():
    ball, rays = solid("ball"), random_rays(4000)
    centre, radius = torch.tensor(ball.centre, dtype=torch.float64), 0.45
    offset = rays.origin - centre
    half_b = (offset * rays.direction).sum(-1)
    discriminant = half_b**2 - offset.square().sum(-1) + radius**2
    render = trace_solids([ball], rays)
    assert torch.equal(render.opacity > 0, discriminant > 0)
    assert 200 < render.opacity.sum() < 3000
    hit = discriminant > 1e-3
    t = -half_b[hit] - discriminant[hit].sqrt()
    torch.testing.assert_close(render.distance[hit], t, rtol=0, atol=1e-8)
    points = rays.origin[hit] + t[:, None] * rays.direction[hit]
    torch.testing.assert_close(render.normal[hit], (points - centre) / radius, rtol=0, atol=1e-7)


def test_ring_is_hit_at_the_first_root_of_its_quartic():
    ring, rays = solid("ring"), random_rays(1500, seed=1)
    big, small = 0.37, 0.14
    render = trace_solids([ring], rays)
    origin = ring.to_local(rays.origin).numpy()
    heading = (rays.direction @ ring.rotation(rays.direction)).numpy()
    for o, d, opaque, distance in zip(origin, heading, render.opacity, render.distance, strict=True):
        sphere = np.polynomial.Polynomial([o @ o + big**2 - small**2, 2 * o @ d, 1])
        level = np.polynomial.Polynomial([o[:2] @ o[:2], 2 * o[:2] @ d[:2], d[:2] @ d[:2]])
        roots = (sphere**2 - 4 * big**2 * level).roots()
        real = roots.real[np.abs(roots.imag) < 1e-6]
        assert bool(opaque) == (len(real) > 0)
        if opaque:
            assert abs(real.min() - distance.item()) < 1e-6


def test_tunnel_can_be_seen_through():
    box = solid("tunnel box")
    axis = box.to_world(torch.tensor([[0.0, 0.0, 3.0], [0.3, 0.0, 3.0]], dtype=torch.float64))
    direction = -box.rotation(axis)[:, 2].expand(2, 3)
    assert trace_solids([box], Rays(axis, direction)).opacity.tolist() == [0.0, 1.0]


def test_hits_lie_on_the_nearest_surface_and_normals_point_at_the_viewer():
    rays = random_rays(3000, seed=2)
    render = trace(rays)
    hit = render.opacity > 0
    assert set(render.opacity.tolist()) == {0.0, 1.0}
    points = rays.origin[hit] + render.distance[hit, None] * rays.direction[hit]
    assert signed_distance(points).amin(-1).abs().max() < 1e-9
    for part in torch.linspace(0, 1, 50)[:-1]:  # nothing lies before the hit
        before = rays.origin[hit] + part * render.distance[hit, None] * rays.direction[hit]
        assert signed_distance(before).min() > -1e-9
    torch.testing.assert_close(render.normal[hit].norm(dim=-1), torch.ones(int(hit.sum())).double())
    assert ((render.normal[hit] * rays.direction[hit]).sum(-1) < 1e-3).all()
    assert (render.distance[~hit] == 0).all() and (render.normal[~hit] == 0).all() and (render.rgb[~hit] == 1).all()


def test_background_type_and_empty_input():
    rays = random_rays(64, dtype=torch.float32)
    black, white = trace(rays, background=(0.0, 0.0, 0.0)), trace(rays)
    assert white.rgb.dtype == white.distance.dtype == torch.float32
    torch.testing.assert_close(white.rgb - black.rgb, (1 - white.opacity)[:, None].expand(-1, 3))
    assert trace(rays[:0]).rgb.shape == (0, 3)


def test_only_the_highlight_depends_on_the_view():
    ball, like = solid("ball"), torch.zeros(1, 3, dtype=torch.float64)
    normal = normalize(like + torch.tensor([0.5, -0.6, 0.6]), dim=-1)
    point = like + torch.tensor(ball.centre) + 0.45 * normal
    side = normalize(torch.linalg.cross(normal, like + torch.tensor([0.0, 0.0, 1.0])), dim=-1)
    slanted = normalize(-normal - 2 * side, dim=-1)
    assert (ball.colour(point, normal, -normal) - ball.colour(point, normal, slanted)).max() > 0.1
    box = solid("tunnel box")
    assert torch.equal(box.colour(point, normal, -normal), box.colour(point, normal, slanted))


@pytest.mark.parametrize("body", SOLIDS, ids=lambda body: body.name)
def test_distance_functions_are_safe_to_step_along(body):
    random = torch.Generator().manual_seed(3)
    a = 2 * torch.rand(20000, 3, generator=random, dtype=torch.float64) - 1
    b = a + 0.1 * torch.randn(20000, 3, generator=random, dtype=torch.float64)
    slope = (body.sdf(a) - body.sdf(b)).abs() / (a - b).norm(dim=-1)
    assert slope.max() <= 1 + 1e-9
    assert a[body.sdf(a) < 0].norm(dim=-1).max() < body.radius


# ---- the files

def test_files_are_the_frozen_ones():
    digest = json.loads((SCENE / "digest.json").read_text())["sha256"]
    present = {p.relative_to(SCENE).as_posix() for p in SCENE.rglob("*") if p.is_file()} - {"digest.json"}
    assert present == set(digest)
    for name, expected in digest.items():
        assert hashlib.sha256((SCENE / name).read_bytes()).hexdigest() == expected, f"{name} has changed"


def test_scene_is_small_and_complete():
    assert sum(p.stat().st_size for p in SCENE.rglob("*") if p.is_file()) < 4 * 2**20
    for split, count in {"train": 60, "val": 10, "test": 20}.items():
        frames = read_split(split)["frames"]
        assert [f["file_path"] for f in frames] == [f"./{split}/r_{i}" for i in range(count)]
        for frame in frames:
            assert iio.improps(SCENE / f"{frame['file_path']}.png").shape == (200, 200, 4)


def test_views_differ_and_surround_the_scene():
    frames = [frame for split in ("train", "val", "test") for frame in read_split(split)["frames"]]
    eyes = np.array([np.array(frame["transform_matrix"])[:3, 3] for frame in frames])
    np.testing.assert_allclose(np.linalg.norm(eyes, axis=1), 4.0, rtol=1e-6)
    angle = np.degrees(np.arccos(np.clip(eyes @ eyes.T / 16, -1, 1))) + 180 * np.eye(len(eyes))
    assert angle[:60].min() > 5 and angle.min() > 3
    directions = normalize(torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)), dim=-1).numpy()
    assert np.degrees(np.arccos((directions @ eyes[:60].T / 4).max(1))).max() < 25


@pytest.mark.parametrize("split, index", [("train", 0), ("val", 3), ("test", 7)])
def test_pixels_are_the_means_of_traced_rays(split, index):
    stored = iio.imread(SCENE / split / f"r_{index}.png").astype(int)
    camera, pose = view(split, index)
    random = np.random.default_rng(0)
    alpha = stored[..., 3]
    kinds = alpha == 255, alpha == 0, (alpha > 0) & (alpha < 255)
    rows, columns = np.concatenate([random.permutation(np.argwhere(kind))[:60] for kind in kinds]).T
    offset = (torch.arange(4, dtype=torch.float64) + 0.5) / 4
    inner = torch.stack(torch.meshgrid(offset, offset, indexing="xy"), dim=-1).reshape(-1, 2)
    xy = torch.stack([torch.from_numpy(columns), torch.from_numpy(rows)], dim=-1)[:, None] + inner
    render = trace(camera_rays(camera, pose, xy.reshape(-1, 2)), background=(0.0, 0.0, 0.0))
    coverage = render.opacity.reshape(-1, 16).mean(1)
    colour = render.rgb.reshape(-1, 16, 3).mean(1) / coverage.clamp(min=1 / 16)[:, None]
    expected = torch.cat([colour, coverage[:, None]], dim=-1) * 255
    assert np.abs(stored[rows, columns] - expected.numpy()).max() <= 1


@pytest.mark.parametrize("index", [0, 13])
def test_distance_and_normal_maps_are_those_of_the_pixel_centres(index):
    step = read_split("test")["distance_step"]
    distance = iio.imread(SCENE / "test" / f"r_{index}_distance.png").astype(np.float64).reshape(-1) * step
    normal = iio.imread(SCENE / "test" / f"r_{index}_normal.png").reshape(-1, 3) / 127.5 - 1
    camera, pose = view("test", index)
    render = trace(camera_rays(camera, pose))
    hit = render.opacity.numpy() > 0
    assert np.array_equal(distance > 0, hit) and 0.1 < hit.mean() < 0.8
    assert np.abs(distance - render.distance.numpy()).max() <= 0.5001 * step
    assert np.abs(normal - render.normal.numpy())[hit].max() <= 0.5001 / 127.5


def test_mesh_is_one_watertight_component_for_each_solid(mesh):
    parts = mesh.split(only_watertight=False)
    assert len(parts) == NUM_OBJECTS == 5 and len(mesh.faces) <= 40_000
    found = {}
    for part in parts:
        assert part.is_watertight and part.is_winding_consistent and part.volume > 0
        nearest = signed_distance(torch.tensor(part.vertices, dtype=torch.float64)).abs().amax(0).argmin()
        found[SOLIDS[nearest].name] = 1 - part.euler_number // 2
    assert found == GENUS


def test_mesh_lies_on_the_surfaces(mesh):
    vertices = torch.tensor(mesh.vertices, dtype=torch.float64)
    assert signed_distance(vertices).abs().amin(-1).max() < 1e-6  # float32 storage
    points, _ = trimesh.sample.sample_surface(mesh, 20_000, seed=0)
    error = signed_distance(torch.from_numpy(points)).abs().amin(-1)
    assert error.max() < 6e-3 and error.mean() < 1e-3  # world units: flat faces on curved surfaces


def test_solids_stand_apart_and_inside_the_box(mesh):
    vertices = torch.tensor(mesh.vertices, dtype=torch.float64)
    distances = signed_distance(vertices).sort(dim=-1).values
    assert distances[:, 1].min() > 0.05 * SIDE
    assert vertices.norm(dim=-1).max() < 1.35 < SIDE / 2
