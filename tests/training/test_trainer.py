"""Trainer: repeatable to the bit · never waits for a GPU · resumed = unbroken · learns · the ray budget · names what went
bad, before it spreads."""

import dataclasses

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import nerfcore
from nerfcore.errors import NerfcoreError
from nerfcore.fields.base import Field
from nerfcore.fields.ngp import NGPField
from nerfcore.ops._late import LateNumber
from nerfcore.renderer import occupancy as occupancy_module
from nerfcore.training import recorder as recorder_module
from nerfcore.training import trainer as trainer_module
from nerfcore.training.config import TrainConfig
from nerfcore.training.evaluate import evaluate
from nerfcore.training.trainer import Trainer, seen_by_a_camera

SMALL = TrainConfig(steps=400, preset="fast", samples_per_step=4096, min_rays=64, occupancy_resolution=32)


@pytest.fixture(scope="module")
def scene():
    """The built-in scene at 25 x 25 pixels."""
    return nerfcore.load_scene(downscale=8)


def run(trainer: Trainer, until: int) -> Trainer:
    while trainer.steps < until:
        trainer.step()
    return trainer


def same(ours: Trainer, theirs: Trainer) -> None:
    for (name, a), b in zip(ours.field.named_parameters(), theirs.field.parameters(), strict=True):
        assert torch.equal(a, b), f"{name} differs by up to {(a - b).abs().max()}"
    if ours.cameras is not None:
        for a, b in zip(ours.cameras.parameters(), theirs.cameras.parameters(), strict=True):
            assert torch.equal(a, b) and a.abs().min() > 0
    assert torch.equal(ours.occupancy.density, theirs.occupancy.density) and torch.equal(
        ours.occupancy.bits, theirs.occupancy.bits
    )
    assert (ours.rays, ours.samples, ours.num_rays) == (theirs.rays, theirs.samples, theirs.num_rays)


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("refine", ["none", "cameras"])
def test_same_seed_same_bits_for_any_number_of_threads(scene, refine):
    threads, trained = torch.get_num_threads(), []
    config = dataclasses.replace(SMALL, samples_per_step=1 << 15, min_rays=512, occupancy_resolution=64, refine=refine)
    try:
        for n in (1, 2, 2):
            torch.set_num_threads(n)
            trained.append(run(Trainer(scene, config), 30))
    finally:
        torch.set_num_threads(threads)
    same(trained[1], trained[2])
    same(trained[0], trained[1])


class NoWaiting(TorchDispatchMode):
    """Fails where a host would wait for a GPU: where it reads a number, asks for a number of results, or makes a tensor
    of numbers of its own, all of which a CUDA graph refuses."""

    WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "_unique2", "equal"}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        masks = name.startswith("index") and any(
            isinstance(i, torch.Tensor) and i.dtype == torch.bool for i in (args[1] if name == "index" else [])
        )
        assert name not in self.WAITING and not masks, f"{function} waits for the device"
        return function(*args, **kwargs or {})


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Trainers that have room for a fixed number of samples and no fused step."""
    monkeypatch.setattr(NGPField, "fused_loss", Field.fused_loss)

    def trainer(scene, config):
        trainer = Trainer(scene, config)
        trainer.capacity, trainer.occupancy.waits = trainer.samples_per_step, False
        return trainer

    return trainer


@pytest.mark.parametrize("refine", ["none", "poses"])
def test_nothing_in_training_waits_for_a_gpu(scene, as_on_a_gpu, monkeypatch, refine):
    """Early steps and late ones, updates of the occupancy grid, and forgetting. What LateNumber reads is there; for cells
    outside of the grid only a CPU looks."""
    monkeypatch.setattr(trainer_module, "EARLY_STEPS", 32)
    monkeypatch.setattr(trainer_module, "FORGET_RAYS", 1000)
    monkeypatch.setattr(LateNumber, "read", lambda self, number: number.numpy().item())
    monkeypatch.setattr(
        occupancy_module, "occupancy_update",
        lambda *tensors, backend: torch.ops.nerfcore.occupancy_update(*tensors),
    )
    forgotten = trainer_module.OccupancyGrid.forget_hidden
    config = dataclasses.replace(SMALL, refine=refine, appearance="none" if refine == "none" else "exposure")
    trainer = run(as_on_a_gpu(scene, config), 15)
    calls = []
    monkeypatch.setattr(
        trainer_module.OccupancyGrid, "forget_hidden", lambda self: calls.append(forgotten(self))
    )
    with NoWaiting():
        run(trainer, 70)
        with pytest.raises(AssertionError, match="_local_scalar_dense.* waits for the device"):
            assert trainer.occupancy.num_occupied
    assert calls


def test_rays_without_room_do_not_count(scene, as_on_a_gpu):
    """Steps of a fixed size learn as others do, and fill their room from rays that are more than enough."""
    scene = nerfcore.load_scene(downscale=4)
    config = dataclasses.replace(SMALL, samples_per_step=1 << 14, min_rays=512, occupancy_resolution=64)
    trainer = run(as_on_a_gpu(scene, config), 400)
    assert trainer.num_rays & trainer.num_rays - 1 == 0 and trainer.met * trainer.num_rays >= 0.8 * trainer.capacity
    assert trainer.samples <= 400 * trainer.capacity
    views = dataclasses.replace(scene.val, frames=scene.val.frames[:4], offsets=scene.val.offsets[:5])
    assert evaluate(trainer.model({}), views).metrics["psnr"] >= 20


@pytest.mark.parametrize("table_storage", ["float32", "bfloat16"])
def test_recorded_steps_are_the_steps(scene, backend, device, monkeypatch, table_storage):
    """With sums in a fixed order, a run that records its steps ends with the bits of one that does not, and of itself."""
    if backend != "cuda":
        pytest.skip("CUDA graphs need a GPU")
    config = dataclasses.replace(SMALL, deterministic=True, table_storage=table_storage)
    trained = [run(Trainer(scene, config, device), 100) for _ in range(2)]
    assert trained[0].recorder.graphs
    monkeypatch.setattr(recorder_module, "RECORD_AFTER", 10**9)
    trained.append(run(Trainer(scene, config, device), 100))
    assert not trained[2].recorder.graphs
    same(trained[0], trained[1])
    same(trained[0], trained[2])


def test_another_seed_is_another_run(scene):
    one, two = (run(Trainer(scene, dataclasses.replace(SMALL, seed=seed)), 2) for seed in (0, 1))
    assert not torch.equal(one.field.table, two.field.table)


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize(
    "settings", [{}, dict(table_storage="bfloat16"), dict(refine="cameras", appearance="affine", steps=80)], ids=str
)
def test_a_resumed_run_ends_with_the_bits_of_an_unbroken_one(scene, monkeypatch, settings):
    """Resumed early, at the change to late training, and between two times of forgetting hidden space; where cameras
    are refined, the last time after they came to rest."""
    config = dataclasses.replace(SMALL, **settings)
    monkeypatch.setattr(trainer_module, "EARLY_STEPS", 32)
    monkeypatch.setattr(trainer_module, "FORGET_RAYS", 3000)
    states, trainer = {}, Trainer(scene, config)
    for step in (15, 32, 48, 61):
        tensors, description = run(trainer, step).state()
        states[step] = {k: v.clone() for k, v in tensors.items()}, description
    run(trainer, 80)
    for step, state in states.items():
        resumed = Trainer(scene, config)
        resumed.load_state(*state)
        assert resumed.steps == step and resumed.occupancy.occupied_share > 0
        same(run(resumed, 80), trainer)


def test_time_goes_on_counting(scene):
    tensors, description = run(Trainer(scene, SMALL), 15).state()
    resumed = Trainer(scene, dataclasses.replace(SMALL, steps=30))
    resumed.load_state(tensors, dict(description, seconds=100.0))
    assert 100 <= resumed.seconds < 130 and resumed.fraction == 0.5
    timed = Trainer(scene, dataclasses.replace(SMALL, minutes=5.0, steps=None))
    timed.load_state(tensors, dict(description, seconds=150.0))
    assert timed.fraction == pytest.approx(0.5, abs=0.1)


def test_learns_the_built_in_scene():
    """At 50 x 50 pixels, 400 short steps; an untrained or collapsed field stays below 13 dB."""
    scene = nerfcore.load_scene(downscale=4)
    config = dataclasses.replace(SMALL, samples_per_step=1 << 14, min_rays=512, occupancy_resolution=64)
    trainer = run(Trainer(scene, config), 400)
    views = dataclasses.replace(scene.val, frames=scene.val.frames[:4], offsets=scene.val.offsets[:5])
    assert evaluate(trainer.model({}), views).metrics["psnr"] >= 20
    assert trainer.occupancy.occupied_share < 0.5


@pytest.mark.parametrize("background", ["random", "white"])
def test_before_their_plain_colour_photos_without_alpha_show_only_the_object(scene, background):
    """Where every picture is white a field before white stays empty; before random colours fog has to be white."""
    pixels = scene.train.pixels.double() / 255
    pixels = (255 * (pixels[:, :3] * pixels[:, 3:] + 1 - pixels[:, 3:])).round().byte()
    opaque = dataclasses.replace(scene, train=dataclasses.replace(scene.train, pixels=pixels), has_alpha=False)
    config = dataclasses.replace(SMALL, steps=300, background=background)
    model = run(Trainer(opaque, config), 300).model({"config": {"background": background}})
    view = scene.train.frames[0]
    opacity = model.render_image(view.camera, view.pose)["opacity"][scene.train.image(0)[..., 3] == 0]
    assert opacity.median() < 1e-3 if background == "white" else opacity.median() > 0.01
    metrics = evaluate(model, scene).metrics
    assert metrics["background"] == "white" and metrics["psnr"] > 14


def test_rays_follow_the_samples_they_need(scene):
    trainer = run(Trainer(scene, SMALL), 40)
    samples = trainer.samples
    run(trainer, 60)
    assert 0.5 < (trainer.samples - samples) / 20 / SMALL.samples_per_step < 1.5


def test_a_step_never_has_more_samples_than_its_memory_is_stated_for(scene, monkeypatch):
    """Everything is occupied and thin: rays would have hundreds of samples."""
    monkeypatch.setattr(trainer_module, "MAX_SAMPLES", 4096)
    trainer = Trainer(scene, dataclasses.replace(SMALL, min_rays=512))
    trainer.step()
    assert 2048 < trainer.samples <= 4096
    limit = trainer.memory_limit()
    assert set(limit) == {"photographs", "field", "occupancy", "step"} and all(n > 0 for n in limit.values())


@pytest.mark.parametrize("name", ["table", "color_mlp.1"])
def test_a_bad_tensor_is_named(scene, name):
    trainer = run(Trainer(scene, SMALL), 1)
    trainer.check_finite()
    with torch.no_grad():
        dict(trainer.field.named_parameters())[name].view(-1)[3] = float("nan")
    with pytest.raises(NerfcoreError, match=rf"{name} is not finite at step 1"):
        trainer.check_finite()


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("color_mlp.1", float("nan"), r"mlp: weights\[1\] is not finite \(4096 of 4096 numbers\)"),
        ("table", float("inf"), r"hash_grid: table is not finite \(\d+ of \d+ numbers\)"),
        ("table", 1e38, r"mlp: out is not finite \(\d+ of \d+ numbers\)"),
    ],
)
def test_a_bad_step_moves_nothing_and_is_traced_to_its_operation(scene, name, value, what):
    trainer = run(Trainer(scene, SMALL), 2)
    parameters = dict(trainer.field.named_parameters())
    with torch.no_grad():
        parameters[name].fill_(value)
    before = {n: p.detach().clone() for n, p in parameters.items()}
    with pytest.raises(NerfcoreError, match=rf"^{what} at step 2; lower the learning rate"):
        run(trainer, 20)
    assert all(torch.equal(p.nan_to_num(), before[n].nan_to_num()) for n, p in parameters.items())


def test_what_cannot_be_traced_is_named_all_the_same(scene, monkeypatch):
    loss = trainer_module.photometric_loss
    monkeypatch.setattr(trainer_module, "photometric_loss", lambda *batch: (torch.tensor(torch.nan), *loss(*batch)[1:]))
    trainer = Trainer(scene, dataclasses.replace(SMALL, precision="fp16"))
    with pytest.raises(NerfcoreError, match="^the loss is not finite at step 0; lower"):
        trainer.step()
    trainer.device = "cuda"  # where fp16 means something
    with pytest.raises(NerfcoreError, match="^the loss is not finite at step 0; train with precision bf16, lower"):
        trainer.check_finite()


def test_an_unknown_field_and_a_bad_option_are_told(scene):
    with pytest.raises(NerfcoreError, match="there is no field 'nerve'; choose "):
        Trainer(scene, dataclasses.replace(SMALL, field="nerve"))
    assert Trainer(scene, dataclasses.replace(SMALL, field_config=dict(log2_table=9))).field.config["log2_table"] == 9


def test_seen_space_is_what_projects_into_a_picture(scene):
    """Against every camera by hand, for points; a ball is seen wherever its middle is."""
    points = torch.rand(400, 3, generator=torch.Generator().manual_seed(0)) * 12 - 6
    scene = dataclasses.replace(scene, train=dataclasses.replace(scene.train, frames=scene.train.frames[:3]))
    expected = torch.zeros(400, dtype=torch.bool)
    for frame in scene.train.frames:
        camera, matrix = frame.camera, torch.eye(4, dtype=torch.float64)
        matrix[:3] = frame.pose
        local = (torch.linalg.inv(matrix) @ torch.cat((points.double(), torch.ones(400, 1)), 1).T)[:3]
        u, v = camera.cx + camera.fl_x * local[0] / -local[2], camera.cy - camera.fl_y * local[1] / -local[2]
        expected |= (local[2] < 0) & (u >= 0) & (u <= camera.width) & (v >= 0) & (v <= camera.height)
    assert 20 < expected.sum() < 400
    assert torch.equal(seen_by_a_camera(scene, points, 1e-6), expected)
    assert (seen_by_a_camera(scene, points, 0.5) >= expected).all()
