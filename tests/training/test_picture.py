"""Training of pictures: it learns them, repeats, resumes, and leaves a run folder."""

from __future__ import annotations

import json
import math

import imageio.v3 as iio
import numpy as np
import pytest
import torch
import yaml

from nerfcore.data.tiles import tile_picture, write_tiles
from nerfcore.errors import ModelError, NerfcoreError, SceneError
from nerfcore.training.picture import PictureConfig, PictureTrainer, load_picture, score_picture, train_picture
from nerfcore.training.run import load, train

SMALL = dict(size=2.0, points_per_step=4096, field_config=dict(num_levels=5, log2_table=10, finest=64, hidden=16))


@pytest.fixture
def source(tmp_path):
    """Waves of colour, and an edge."""
    y, x = np.mgrid[0:90, 0:140] / 140
    waves = [np.sin(20 * x + 9 * y), np.cos(31 * y), (x > 0.4) - 0.5]
    iio.imwrite(tmp_path / "waves.png", np.uint8(np.clip(127.5 + 100 * np.stack(waves, -1), 0, 255)))
    return tmp_path / "waves.png"


def test_a_run_learns_the_picture_and_leaves_its_folder(source, tmp_path):
    stages, out = [], tmp_path / "run"
    run = train_picture(source, out, steps=150, on_progress=lambda p: stages.append(p.stage), **SMALL)
    assert run.metrics["psnr"] > 30 and 0.8 < run.metrics["ssim"] <= 1
    assert [s for s in stages if s != "training"] == ["loading", "ready", "saving", "evaluating"]
    assert sorted(p.name for p in out.iterdir()) == [
        "checkpoint", "config.yaml", "metrics.json", "metrics.jsonl", "model.nerf", "picture.png",
    ]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics == run.metrics and metrics["steps"] == 150 and metrics["pixels_scored"] == 90 * 140
    assert yaml.safe_load((out / "config.yaml").read_text())["picture"] == str(source)
    shown = iio.imread(out / "picture.png")
    truth = iio.imread(source)
    error = np.square(shown.astype(float) / 255 - truth / 255).mean()
    assert -10 * math.log10(error) == pytest.approx(metrics["psnr"], abs=0.1)  # and rounding to 8 bits


def test_what_was_scored_is_what_was_saved(source, tmp_path):
    run = train_picture(source, tmp_path / "run", steps=20, **SMALL)
    loaded = load_picture(tmp_path / "run")
    assert torch.equal(loaded.render(), run.model.render())
    picture = tile_picture(source, tmp_path / "tiles")
    assert score_picture(loaded, picture)["psnr"] == run.metrics["psnr"]
    parameters = sum(value.nbytes for value in loaded.state()[0].values())
    assert run.metrics["parameter_bytes"] == parameters
    assert run.metrics["share_of_pixel_bytes"] == pytest.approx(parameters / (3 * 90 * 140))
    assert (tmp_path / "run" / "model.nerf").stat().st_size < parameters + 4096


def test_steps_repeat_to_the_bit(source):
    first, again, other = (train_picture(source, steps=10, seed=seed, **SMALL).model.render() for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_tiles_train_as_their_picture_does(source, tmp_path):
    tile_picture(source, tmp_path / "tiles")
    from_file, from_tiles = (train_picture(s, steps=10, **SMALL).model.render() for s in (source, tmp_path / "tiles"))
    assert torch.equal(from_file, from_tiles)


def test_a_pool_of_few_tiles_learns_all_of_the_picture(tmp_path):
    y, x = np.mgrid[0:500, 0:500] / 500
    image = np.uint8(127.5 + 100 * np.stack([np.sin(9 * x), np.cos(7 * y), np.sin(5 * x + 5 * y)], -1))
    write_tiles(tmp_path, 500, 500, [image])
    memory = 8 * 127**2 * 3 / 2**30  # half of the tiles
    assert train_picture(tmp_path, steps=300, memory=memory, **SMALL).metrics["psnr"] > 28


def test_pixels_as_areas_are_means_and_enlarge_sharper_than_points(tmp_path):
    y, x = np.mgrid[0:128, 0:128] / 128
    original = np.uint8(127.5 + 100 * np.tanh(200 * np.stack([x - 0.45, y - 0.55, x + y - 1], -1)))
    reduced = original.reshape(64, 2, 64, 2, 3).mean((1, 3)).round().astype(np.uint8)
    iio.imwrite(tmp_path / "reduced.png", reduced)
    settings = SMALL | dict(steps=300, size=9.0, field_config=dict(num_levels=5, log2_table=14, finest=64, hidden=32))
    areas, points = (train_picture(tmp_path / "reduced.png", footprint=n, **settings).model for n in (2, 1))
    enlarged = areas.render(128, 128)
    means = enlarged.view(64, 2, 64, 2, 3).mean((1, 3))
    assert (means - torch.from_numpy(reduced) / 255).square().mean() < 1e-3
    truth = torch.from_numpy(original) / 255
    assert (enlarged - truth).square().mean() < (points.render(128, 128) - truth).square().mean()


def test_a_resumed_run_goes_on(source, tmp_path):
    train_picture(source, tmp_path / "run", steps=40, **SMALL)
    run = train_picture(source, tmp_path / "run", steps=80, resume=True, **SMALL)
    assert run.metrics["steps"] == 80 and run.metrics["psnr"] > train_picture(source, steps=40, **SMALL).metrics["psnr"]
    other = SMALL | dict(field_config=dict(num_levels=4, log2_table=10, finest=64, hidden=16))
    with pytest.raises(ModelError, match="another source or configuration"):
        train_picture(source, tmp_path / "run", steps=80, resume=True, **other)
    with pytest.raises(ModelError, match="resume needs the run folder"):
        train_picture(source, steps=80, resume=True, **SMALL)


def test_an_interrupted_run_is_saved(source, tmp_path):
    def interrupt(progress):
        if progress.stage == "ready":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # before there is anything to save
        train_picture(source, tmp_path / "run", steps=10, on_progress=interrupt, **SMALL)

    steps = PictureTrainer.step

    def step(trainer):
        if trainer.steps == 5:
            raise KeyboardInterrupt
        steps(trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PictureTrainer, "step", step)
        run = train_picture(source, tmp_path / "run", steps=10, **SMALL)
    assert run.interrupted and not run.metrics
    assert train_picture(source, tmp_path / "run", steps=10, resume=True, **SMALL).metrics["steps"] == 10


def test_what_cannot_be_is_refused_in_words(source, tmp_path):
    with pytest.raises(NerfcoreError, match=r"more than 0.25 of the picture's 37800; allow more \(size"):
        train_picture(source, steps=1)
    with pytest.raises(NerfcoreError, match="minutes or steps"):
        PictureConfig(minutes=1, steps=1)
    with pytest.raises(NerfcoreError, match="size must be positive"):
        PictureConfig(size=0)
    with pytest.raises(SceneError, match="there is no picture"):
        train_picture(tmp_path / "absent.png", steps=1)
    with pytest.raises(ModelError, match="there is no model file"):
        load_picture(tmp_path)


def test_a_scene_is_no_picture():
    with pytest.raises(NerfcoreError, match="'image' is not of a scene"):
        train(field="image", steps=1, downscale=16)


def test_a_number_that_is_not_finite_is_named(source, tmp_path):
    trainer = PictureTrainer(tile_picture(source, tmp_path / "tiles"), PictureConfig(steps=10, **SMALL))
    trainer.step()
    with torch.no_grad():
        trainer.field.table[0] = math.nan
    with pytest.raises(NerfcoreError, match="table is not finite at step 1"):
        trainer.check_finite()
    trainer.close()


def test_albert_is_learned_quickly(shared_data):
    """The figure itself is a benchmark's; this is that real pictures work, at the size that is asked for."""
    run = train_picture(shared_data / "images" / "albert_srgb.png", steps=60)
    assert run.metrics["psnr"] > 26 and run.metrics["share_of_pixel_bytes"] <= 0.25


def test_a_picture_is_no_scene(source, tmp_path):
    """And the error says what loads it."""
    train_picture(source, tmp_path / "run", steps=2, **SMALL)
    with pytest.raises(ModelError, match="'image'; load it by nerfcore.training.picture.load_picture"):
        load(tmp_path / "run")
