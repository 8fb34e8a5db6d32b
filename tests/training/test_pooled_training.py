"""Training on photographs that memory does not hold: as good as from memory, repeatable, resumable, nothing is left."""

import dataclasses

import pytest
import torch

import nerfcore
from nerfcore.data import pool as pool_module
from nerfcore.data.scene import StoredSplit
from nerfcore.errors import OutputError
from nerfcore.training import loop
from nerfcore.training.config import TrainConfig
from nerfcore.training.evaluate import evaluate
from nerfcore.training.trainer import Trainer

MEBIBYTE = 1 / 1024  # of the GiB that memory and pool are given in
SMALL = dict(
    preset="fast", samples_per_step=4096, min_rays=64, occupancy_resolution=32, device="cpu", downscale=4,
    pool=0.2 * MEBIBYTE,  # a sixth of its pixels
)


def test_as_good_as_from_memory():
    settings = dict(SMALL, samples_per_step=1 << 13, occupancy_resolution=64, steps=300)
    whole, pooled = (nerfcore.train(memory=memory, **settings).metrics for memory in (1.0, 0.1 * MEBIBYTE))
    assert whole["pool_bytes"] == 0 < pooled["pool_bytes"] <= 0.2 * 2**20
    assert whole["psnr"] > 20 and abs(pooled["psnr"] - whole["psnr"]) < 0.7


def test_a_pool_repeats_to_the_bit_where_it_should():
    scene = nerfcore.load_scene(downscale=8, memory=0)
    config = TrainConfig(steps=30, deterministic=True, **dict(SMALL, pool=0.02 * MEBIBYTE))
    trained = []
    for seed in (0, 0, 1):
        trainer = Trainer(scene, dataclasses.replace(config, seed=seed))
        while trainer.steps < 30:
            trainer.step()
        assert trainer.pixels.source.asked > len(scene.train)
        trainer.close()
        trained.append(trainer.field.table.detach())
    assert torch.equal(trained[0], trained[1]) and not torch.equal(trained[0], trained[2])


def test_interrupted_then_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)

    def stop(progress):
        if progress.stage == "training":
            assert [p.name for p in tmp_path.iterdir()] == ["config.yaml"]  # the pool has no name
            raise KeyboardInterrupt

    assert nerfcore.train(None, tmp_path, steps=9, memory=MEBIBYTE, on_progress=stop, **SMALL).interrupted
    run = nerfcore.train(None, tmp_path, steps=9, memory=MEBIBYTE, resume=True, **SMALL)
    assert run.metrics["steps"] == 9 and run.metrics["pool_bytes"] > 0


def test_a_disk_that_fills_up_costs_no_training(tmp_path, monkeypatch):
    decode = pool_module.PixelPool._decode

    def full_later(self, photo, place, number):
        if number > 60 + 10:
            self.file.close()
            self.file = open("/dev/full", "wb", buffering=0)
        return decode(self, photo, place, number)

    monkeypatch.setattr(pool_module.PixelPool, "_decode", full_later)
    with pytest.raises(OutputError, match="No space left on device"):
        nerfcore.train(None, tmp_path, steps=500, memory=MEBIBYTE, deterministic=True, **SMALL)
    monkeypatch.undo()
    steps = nerfcore.load(tmp_path).header["steps"]
    assert 1 <= steps < 500
    run = nerfcore.train(
        None, tmp_path, steps=steps + 2, memory=MEBIBYTE, deterministic=True, resume=True, **SMALL
    )
    assert run.metrics["steps"] == steps + 2


def test_scores_are_those_from_memory():
    model = nerfcore.train(steps=3, **SMALL | dict(downscale=8)).model
    whole, stored = (nerfcore.load_scene(downscale=8, memory=memory) for memory in (None, 0))
    assert isinstance(stored.test, StoredSplit)
    assert evaluate(model, stored).metrics == evaluate(model, whole).metrics
