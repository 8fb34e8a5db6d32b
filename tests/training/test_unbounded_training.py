"""Training with contraction and proposals: learns far objects · repeats to the bit · resumes."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nerfcore.data import load_scene
from nerfcore.errors import NerfcoreError
from nerfcore.renderer.model import Model
from nerfcore.synthetic import unbounded
from nerfcore.training.config import TrainConfig
from nerfcore.training.evaluate import evaluate
from nerfcore.training.trainer import Trainer
from tests.training.test_trainer import NoWaiting, run, same

SMALL = TrainConfig(steps=200, preset="fast", samples_per_step=4096, occupancy_resolution=32, bounds="contracted")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The scene without an end, 36 views of 24 x 24 pixels."""
    folder = tmp_path_factory.mktemp("scene")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unbounded, "VIEWS", 36)
        patch.setattr(unbounded, "SIZE", 24)
        unbounded.write_scene(folder)
    return load_scene(folder)


def test_learns_what_is_far_away(scene):
    """Held-out views; the box that ends at the ring of cameras has nowhere to put stones and sky."""
    found = {}
    for bounds in ("contracted", "box"):
        trainer = run(Trainer(scene, dataclasses.replace(SMALL, bounds=bounds)), 200)
        assert trainer.field.bounded == (bounds == "box")
        model = trainer.model({})
        found[bounds] = evaluate(model, scene).metrics["psnr"]
        if bounds == "contracted":
            tensors, description = model.state()
            again = evaluate(Model.from_state(tensors, description), scene).metrics["psnr"]
            assert again == found[bounds]
    assert found["contracted"] > 20 and found["contracted"] > found["box"] + 3


def test_same_seed_same_bits_for_any_number_of_threads(scene):
    threads, trained = torch.get_num_threads(), []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            trained.append(run(Trainer(scene, SMALL), 8))
    finally:
        torch.set_num_threads(threads)
    same(*trained)


def test_a_resumed_run_ends_with_the_bits_of_an_unbroken_one(scene):
    unbroken = run(Trainer(scene, SMALL), 6)
    tensors, description = unbroken.state()
    tensors = {k: v.clone() for k, v in tensors.items()}
    resumed = Trainer(scene, SMALL)
    resumed.load_state(tensors, description)
    same(run(resumed, 12), run(unbroken, 12))


def test_the_field_itself_is_chosen_by_its_bounds(scene):
    with pytest.raises(NerfcoreError, match="the field 'unbounded' is made of another one"):
        Trainer(scene, dataclasses.replace(SMALL, field="unbounded"))


def test_a_step_stays_within_its_stated_size(scene):
    trainer = run(Trainer(scene, dataclasses.replace(SMALL, min_rays=64)), 20)
    assert 0.8 < trainer.samples / trainer.rays / trainer.field.num_samples[-1] < 1.2
    assert trainer.num_rays * trainer.field.num_samples[-1] <= SMALL.samples_per_step
    assert 0 < trainer.memory_limit()["step"] < 2**30  # of 2**22 samples, as a box may hold, it would be many times that


def test_nothing_in_a_step_waits_for_a_gpu(scene):
    trainer = run(Trainer(scene, SMALL), 2)
    trainer.capacity = trainer.samples_per_step  # as on a GPU
    with NoWaiting():
        trainer._fit(64, 1.0, None)


def test_a_bad_step_moves_nothing_and_is_traced_to_its_operation(scene):
    trainer = run(Trainer(scene, SMALL), 2)
    with torch.no_grad():
        trainer.field.proposals[1].table.fill_(torch.inf)
    before = trainer.field.inner.table.detach().clone()
    with pytest.raises(NerfcoreError, match=r"^hash_grid: table is not finite .* at step 2; lower the learning rate"):
        run(trainer, 4)
    assert torch.equal(trainer.field.inner.table, before)
