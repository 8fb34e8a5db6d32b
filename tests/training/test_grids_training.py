"""Fields made of plain grids, in training: they learn, grow, and go on from a checkpoint · settings that a field lacks."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import nerfcore
from nerfcore.errors import NerfcoreError
from nerfcore.fields.plenoxels import PlenoxelsField
from nerfcore.renderer.model import Model
from nerfcore.training import trainer as trainer_module
from nerfcore.training.config import TrainConfig
from nerfcore.training.evaluate import evaluate
from nerfcore.training.trainer import Trainer
from tests.training.test_trainer import run, same

SMALL = TrainConfig(steps=240, samples_per_step=4096, min_rays=64, occupancy_resolution=32)
FIELDS = {
    "plenoxels": dict(resolution=48, coarsest=24),
    "tensorf": dict(resolution=48, coarsest=24, hidden=32),
    "triplane": dict(resolution=48, coarsest=24, features=16, hidden=32),
}


@pytest.fixture(autouse=True)
def a_small_scene_is_soon_seen(monkeypatch):
    monkeypatch.setattr(trainer_module, "SEEN_RAYS", 1 << 13)


@pytest.fixture(scope="module")
def scene():
    """The built-in scene at 25 x 25 pixels."""
    return nerfcore.load_scene(downscale=8)


@pytest.mark.parametrize("name", FIELDS)
def test_learns_and_grows_and_its_file_holds_all_of_it(scene, name):
    config = dataclasses.replace(SMALL, field=name, field_config=FIELDS[name])
    trainer = Trainer(scene, config)
    before = sum(p.numel() for p in trainer.field.parameters())
    run(trainer, 240)
    model = trainer.model({})
    views = dataclasses.replace(scene.val, frames=scene.val.frames[:3], offsets=scene.val.offsets[:4])
    psnr = evaluate(model, views).metrics["psnr"]
    assert psnr > 17  # before anything is learned it is 12
    assert sum(p.numel() for p in trainer.field.parameters()) != before
    assert sum(p.nbytes for p in trainer.field.parameters()) <= trainer.field.most_bytes()
    tensors, description = model.state()
    again = Model.from_state({k: v.clone() for k, v in tensors.items()}, description)
    assert evaluate(again, views).metrics["psnr"] == psnr


@pytest.mark.parametrize("name", FIELDS)
def test_a_resumed_run_ends_with_the_bits_of_an_unbroken_one(scene, name):
    """Saved before the field has grown, and after it has grown once."""
    config = dataclasses.replace(SMALL, steps=80, field=name, field_config=FIELDS[name])
    states, trainer = [], Trainer(scene, config)
    for step in (7, 40):
        tensors, description = run(trainer, step).state()
        states.append((step, {k: v.clone() for k, v in tensors.items()}, description))
    run(trainer, 72)
    for step, *state in states:
        resumed = Trainer(scene, config)
        resumed.load_state(*state)
        assert resumed.steps == step
        same(run(resumed, 72), trainer)


def test_a_grid_of_voxels_in_contracted_space(scene):
    """What training asks of a field reaches the one that is contracted."""
    config = dataclasses.replace(SMALL, steps=64, field="plenoxels", field_config=FIELDS["plenoxels"], bounds="contracted")
    pixels = scene.train.pixels[:, :3].contiguous()
    opaque = dataclasses.replace(scene, train=dataclasses.replace(scene.train, pixels=pixels), has_alpha=False)
    trainer = run(Trainer(opaque, config), 64)
    assert list(trainer.touched) == ["inner.held", "inner.coefficients"] or not trainer.touched
    assert len(trainer.field.inner.links) == 48 and trainer.field.rate("inner.held") == trainer.field.inner.rate("held")
    trainer.check_finite()


def test_a_setting_that_a_field_does_not_know_is_refused(scene):
    for setting in (dict(table_storage="bfloat16"), dict(precision="bf16")):
        (name,) = setting
        with pytest.raises(NerfcoreError, match=f"the field 'plenoxels' knows no {name}; leave that at float32"):
            Trainer(scene, dataclasses.replace(SMALL, field="plenoxels", **setting))


def test_what_nobody_sees_is_left_out():
    """A grid with one opaque ball of voxels, of which rays meet one half."""
    field = PlenoxelsField(17, 17)
    axis = torch.linspace(-1, 1, 17)
    radius = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt().flatten()
    with torch.no_grad():
        field.held[radius < 0.5] = 20.0
    x = torch.cartesian_prod(*[torch.linspace(0, 1, 17)] * 3)
    field.prune(lambda: [(x, (x[:, 0] <= 0.5).float())])
    kept = torch.zeros(17**3, dtype=torch.bool)
    kept[field.corners] = True
    solid = (radius < 0.5) & (x[:, 0] <= 0.5)
    near = torch.nn.functional.max_pool3d(solid.float().view(1, 1, 17, 17, 17), 3, 1, 1).flatten() > 0
    assert torch.equal(kept, near) and torch.equal(field.links.flatten() >= 0, kept)
    assert torch.equal(field.held[:, 0] > 0, (radius < 0.5)[kept])
