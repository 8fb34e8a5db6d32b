"""The mesh of a ball known exactly, through the whole exporter."""

import math

import pytest
import torch
import trimesh

from nerfcore.applications.export import export_mesh, seen_by_the_cameras
from nerfcore.errors import NerfcoreError, OutputError
from tests.analytic import Ball, model_of

CENTER = torch.tensor([3.0, -1.0, 0.5])
RADIUS, SCALE, RESOLUTION = 2.0, 0.125, 48


@pytest.fixture
def model():
    """A ball of radius 2 about (3, -1, 0.5) in a box of side 8."""
    return model_of(Ball(radius=RADIUS * SCALE), SCALE, (0.5 - SCALE * CENTER).tolist(), num_views=16)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb"])
def test_a_ball_comes_out_as_a_ball_in_world_coordinates(model, tmp_path, suffix):
    mesh = export_mesh(model, tmp_path / f"ball{suffix}", RESOLUTION)
    file = trimesh.load(tmp_path / f"ball{suffix}", force="mesh")
    cell = 1 / SCALE / (RESOLUTION - 1)
    radius = torch.as_tensor(file.vertices - CENTER.numpy()).norm(dim=-1)
    assert abs(radius - RADIUS).max() <= cell
    assert file.is_watertight and file.body_count == 1 and file.euler_number == 2
    assert file.volume == pytest.approx(4 / 3 * math.pi * RADIUS**3, rel=0.1)
    assert torch.allclose(mesh.colors.float(), torch.tensor([0.2, 0.4, 0.8]), atol=1e-6)
    outward = torch.nn.functional.normalize(mesh.vertices - CENTER.to(mesh.vertices), dim=-1)
    assert ((mesh.normals * outward).sum(-1) > 0.8).all()


def test_a_box_crops_the_mesh(model, tmp_path):
    """The upper half of the ball, closed where it is cut."""
    low, high = CENTER - 3, CENTER + 3
    low[2] = CENTER[2]
    export_mesh(model, tmp_path / "half.ply", RESOLUTION, box=[*low.tolist(), *high.tolist()])
    file, cell = trimesh.load(tmp_path / "half.ply"), 6 / (RESOLUTION - 1)
    assert file.is_watertight and file.volume == pytest.approx(2 / 3 * math.pi * RADIUS**3, rel=0.1)
    assert file.bounds[:, 2] == pytest.approx([CENTER[2].item(), CENTER[2].item() + RADIUS], abs=cell)
    with pytest.raises(ValueError, match="box_max must exceed box_min"):
        export_mesh(model, tmp_path / "none.ply", 16, box=[*high.tolist(), *low.tolist()])


def test_cameras_see_the_near_side(model):
    for view in seen_by_the_cameras(model):
        height, width = view.distance_map.shape
        pixel, distance, inside = view.project(CENTER[None].double())
        assert inside.item() and pixel[0].tolist() == pytest.approx([width / 2, height / 2], abs=1e-3)
        middle = view.distance_map[height // 2, width // 2].item()
        assert middle == pytest.approx(distance.item() - RADIUS, abs=0.05) and view.opacity[0, 0] == 0


def test_nothing_to_export_and_nowhere_to_write(model, tmp_path):
    with pytest.raises(OutputError):
        export_mesh(model, tmp_path / "missing.xyz", 16)
    model.occupancy.bits.zero_()
    with pytest.raises(NerfcoreError):
        export_mesh(model, tmp_path / "none.ply", 16)
    assert not list(tmp_path.iterdir())
