"""From a mesh file to a run folder and back."""

from __future__ import annotations

import json

import imageio.v3 as iio
import pytest
import torch
import trimesh

from nerfcore.applications import distance
from nerfcore.applications.distance import load_distance, train_distance
from nerfcore.errors import SceneError
from tests import solids


def test_a_run_folder(kernels, tmp_path, monkeypatch):
    for name, value in dict(SCORED_POINTS=1 << 14, SURFACE_POINTS=1 << 12, RESOLUTION=48, PICTURE=48).items():
        monkeypatch.setattr(distance, name, value)
    mesh = solids.cuboid()
    mesh.apply_translation((3, 0, 0))
    mesh.export(tmp_path / "block.obj")
    stages, out = [], tmp_path / "run"
    run = train_distance(
        tmp_path / "block.obj", out, steps=150, points_per_step=1 << 12, on_progress=lambda p: stages.append(p.stage),
        field_config=dict(num_levels=4, features=2, log2_table=12, coarsest=8, finest=64, hidden=32),
    )
    assert sorted(p.name for p in out.iterdir()) == ["config.yaml", "mesh.ply", "metrics.json", "model.nerf", "picture.png"]
    assert stages[0] == "loading" and stages[-2:] == ["evaluating", "saving"]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["iou"] > 0.95 and metrics["surface_error"] < 0.005 and metrics["is_closed"] and metrics["steps"] == 150
    assert metrics["surface_worst"] >= metrics["surface_error_back"] > 0
    cut = trimesh.load(out / "mesh.ply")
    assert cut.is_watertight and abs(cut.bounds - mesh.bounds).max() < 0.05  # in the user's coordinates
    picture = iio.imread(out / "picture.png")
    assert picture.shape == (48, 48, 3) and (picture == 255).all(-1).mean() > 0.2 and picture[24, 24].max() < 250
    points = torch.tensor([[3.0, 0.0, 0.0], [3.0, 0.5, 0.0]])
    again = load_distance(out)
    assert torch.equal(again.distance(points), run.model.distance(points))
    assert again.distance(points).tolist() == pytest.approx([-0.2, 0.2], abs=0.05)


def test_a_mesh_that_is_none_leaves_no_folder(tmp_path):
    with pytest.raises(SceneError, match="there is no such file"):
        train_distance(tmp_path / "absent.obj", tmp_path / "run", steps=1)
    assert not (tmp_path / "run").exists()
