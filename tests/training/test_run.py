"""train(): the run folder · interruption · resume and its errors · load."""

import json
from dataclasses import asdict

import pytest
import torch
import yaml

import nerfcore
from nerfcore.cameras.rays import camera_rays
from nerfcore.errors import ModelError, NerfcoreError
from nerfcore.training import loop
from nerfcore.training.config import TrainConfig

SMALL = dict(preset="fast", samples_per_step=2048, min_rays=64, occupancy_resolution=32, device="cpu")


@pytest.fixture(scope="module")
def scene():
    return nerfcore.load_scene(downscale=8)


@pytest.fixture(scope="module")
def finished(scene, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return nerfcore.train(scene, out, steps=20, seed=3, **SMALL), out


def test_the_run_folder(finished):
    run, out = finished
    names = {str(f.relative_to(out)) for f in out.rglob("*") if f.is_file()}
    assert names == {
        "config.yaml",
        "metrics.json",
        "metrics.jsonl",
        "model.nerf",
        "report.html",
        "checkpoint/state.nerf",
    }
    metrics = json.loads((out / "metrics.json").read_text())
    promised = "schema psnr ssim num_eval_images background steps train_seconds rays_per_second samples_per_second device backend peak_rss_bytes seed version"
    assert set(promised.split()) <= metrics.keys() and metrics["steps"] == 20 and metrics["seed"] == 3
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert lines and lines[-1]["psnr"] == metrics["psnr"] == run.metrics["psnr"]
    config = yaml.safe_load((out / "config.yaml").read_text())
    config.pop("scene")
    assert TrainConfig(**config) == run.config and asdict(run.config)["steps"] == 20


def test_the_saved_model_is_the_trained_one(scene, finished):
    run, out = finished
    frame = scene.test.frames[0]
    rays = camera_rays(frame.camera, frame.pose)
    ours, theirs = run.render(rays), nerfcore.load(out / "model.nerf").render(rays)
    assert torch.equal(ours.rgb, theirs.rgb) and torch.equal(ours.distance, theirs.distance)


def test_no_folder_no_files(scene, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert nerfcore.train(scene, steps=2, **SMALL).metrics["steps"] == 2 and not list(tmp_path.iterdir())


def test_interrupted_then_resumed(scene, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)

    def stop(progress):
        if progress.stage == "training" and progress.step == 7:
            raise KeyboardInterrupt

    run = nerfcore.train(scene, tmp_path, steps=12, on_progress=stop, **SMALL)
    assert run.interrupted and not run.metrics and not (tmp_path / "metrics.json").exists()
    nerfcore.load(tmp_path)
    stages = []
    run = nerfcore.train(
        scene, tmp_path, steps=12, resume=True, on_progress=lambda p: stages.append((p.stage, p.step)), **SMALL
    )
    assert not run.interrupted and run.metrics["steps"] == 12
    assert [step for stage, step in stages if stage == "training"] == [8, 9, 10, 11, 12]
    assert [stage for stage, _ in stages if stage != "training"][0] == "loading" and stages[-1][0] == "evaluating"
    straight = nerfcore.train(scene, steps=12, **SMALL)
    assert torch.equal(run.model.field.table, straight.model.field.table)


def test_resume_without_anything_to_resume_from(scene, tmp_path):
    with pytest.raises(ModelError, match="resume needs the run folder"):
        nerfcore.train(scene, resume=True, steps=2, **SMALL)
    with pytest.raises(ModelError, match="there is no model file"):
        nerfcore.train(scene, tmp_path, resume=True, steps=2, **SMALL)


@pytest.mark.parametrize("other", [dict(preset="default"), dict(occupancy_resolution=64)], ids=str)
def test_resume_with_another_configuration(scene, finished, other):
    _, out = finished
    config = (out / "config.yaml").read_text()
    with pytest.raises(ModelError, match="of another source or configuration") as error:
        nerfcore.train(scene, out, resume=True, steps=30, **SMALL | other)
    assert "\n" not in str(error.value)
    assert (out / "config.yaml").read_text() == config


@pytest.mark.parametrize("name, kind", [("refine", "poses"), ("appearance", "affine")])
def test_resume_must_learn_the_same(scene, tmp_path, name, kind):
    """Neither are corrections forgotten in the middle of a run, nor begun there."""
    settings = dict(steps=2, **SMALL)
    for given, resumed in (({name: kind}, {}), ({}, {name: kind})):
        out = tmp_path / (given and "with" or "without")
        nerfcore.train(scene, out, **settings, **given)
        with pytest.raises(ModelError, match=f"it has {name} {given.get(name, 'none')}, not {resumed.get(name, 'none')}"):
            nerfcore.train(scene, out, resume=True, **settings, **resumed)


def test_unknown_field_is_told_in_words(scene):
    with pytest.raises(NerfcoreError, match="there is no field 'nerve'"):
        nerfcore.train(scene, steps=1, field="nerve", **SMALL)


@pytest.mark.usefixtures("restless")
def test_a_run_that_refines_cameras_tells_and_keeps_what_it_found(scene, tmp_path):
    run = nerfcore.train(scene, tmp_path, steps=20, refine="cameras", **SMALL)
    changes = json.loads((tmp_path / "metrics.json").read_text())["camera_changes"]
    assert [change["name"] for change in changes] == [frame.name for frame in scene.train.frames]
    assert all(0 < change["turn"] < 10 and change["shift"] > 0 and change["focal"] != 1 for change in changes)
    assert "camera_changes" not in (tmp_path / "metrics.jsonl").read_text()
    assert "Corrected cameras" in (tmp_path / "report.html").read_text()
    for kept, found, frame in zip(nerfcore.load(tmp_path).cameras, run.model.cameras, scene.train.frames, strict=True):
        assert kept[:2] == found[:2] and torch.equal(kept[2], found[2]) and not torch.equal(found[2], frame.pose)
