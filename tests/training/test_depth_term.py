"""The depth term: closed forms, finite differences through compositing, rays that say nothing, and what it teaches."""

import json
import shutil

import imageio.v3 as iio
import numpy as np
import pytest
import torch

import nerfcore
from nerfcore.cameras import camera_rays
from nerfcore.errors import NerfcoreError
from nerfcore.fields.unbounded import UnboundedField
from nerfcore.ops.composite import composite
from nerfcore.synthetic import trace
from nerfcore.training import trainer as trainer_module
from nerfcore.training.config import TrainConfig
from nerfcore.training.loss import DepthTerm, placed_loss, stopped_elsewhere
from nerfcore.training.trainer import Trainer
from nerfcore.types import Samples

SMALL = dict(
    preset="fast", samples_per_step=4096, min_rays=64, occupancy_resolution=32, device="cpu", downscale=8,
)


def ray_of(t, weights, distance):
    """The term of one ray with weights at points t."""
    t, weights = torch.tensor(t), torch.tensor(weights)
    return stopped_elsewhere(weights, Samples(t - 0.1, t + 0.1, torch.tensor([0, len(t)])), torch.tensor([distance]))


@pytest.mark.parametrize("t, weights, expected", [
    ([2.0], [1.0], 0.0),  # all light is stopped at the surface
    ([2.0], [0.25], 0.75),  # a quarter is
    ([1.0], [1.0], 0.5),  # half way
    ([3.0], [1.0], 0.5),
    ([4.0], [1.0], 1.0),  # at most 1
    ([40.0], [1.0], 1.0),
    ([1.0, 3.0], [0.5, 0.5], 0.5),  # right in the mean, and nowhere
    ([1.0, 2.0, 3.0], [0.2, 0.5, 0.1], 0.2 + 0.15),
    ([], [], 1.0),
])
def test_closed_forms(t, weights, expected):
    assert ray_of(t, weights, 2.0).item() == pytest.approx(expected, abs=1e-6)
    assert ray_of(t, weights, 0.0).item() == 0


def random_rays(dtype=torch.float64):
    random = torch.Generator().manual_seed(0)
    counts = torch.tensor([5, 0, 1, 12, 7, 3])
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    length = torch.rand(int(offsets[-1]), generator=random, dtype=dtype) * 0.2 + 0.05
    t_end = torch.cat([part.cumsum(0) for part in length.split(counts.tolist())]) + 0.5
    sigma = 3 * torch.rand(len(length), generator=random, dtype=dtype)
    return sigma, Samples(t_end - length, t_end, offsets), torch.tensor([0.9, 1.0, 0.6, 1.4, 0.0, 0.1], dtype=dtype)


def test_gradient_of_the_densities_against_finite_differences():
    sigma, samples, distance = random_rays()

    def term(sigma):
        *_, weights = composite(sigma, sigma.new_zeros(len(sigma), 3), samples, backend="reference")
        return DepthTerm(distance, 0.3)(weights, samples)

    sigma.requires_grad_()
    (gradient,) = torch.autograd.grad(term(sigma), sigma)
    step = 1e-6
    for i in range(len(sigma)):
        there = torch.zeros_like(sigma)
        there[i] = step
        difference = (term((sigma + there).detach()) - term((sigma - there).detach())) / (2 * step)
        assert gradient[i].item() == pytest.approx(difference.item(), abs=1e-8)
    unknown = slice(int(samples.ray_offsets[4]), int(samples.ray_offsets[5]))
    assert not gradient[unknown].any() and gradient.abs().max() > 1e-3


def test_the_mean_is_over_rays():
    sigma, samples, distance = random_rays()
    *_, weights = composite(sigma, sigma.new_zeros(len(sigma), 3), samples, backend="reference")
    each, t = [], samples.t_mid.tolist()
    for ray in range(6):
        begin, end = samples.ray_offsets[ray : ray + 2].tolist()
        missed = sum(weights[i].item() * min(abs(t[i] / max(distance[ray].item(), 1e-9) - 1), 1) for i in range(begin, end))
        each.append((missed + 1 - weights[begin:end].sum().item()) * bool(distance[ray]))
    assert DepthTerm(distance, 2.0)(weights, samples).item() == pytest.approx(2 * sum(each) / 6)


@pytest.fixture(scope="module")
def few_views(tmp_path_factory):
    """Six views of the built-in scene with true distances; an eighth of the numbers in their maps are missing."""
    folder, source = tmp_path_factory.mktemp("few"), nerfcore.data.builtin_scene_path()
    for name in ("transforms_test.json", "transforms_val.json"):
        shutil.copy(source / name, folder)
    for split in ("test", "val", "train"):
        (folder / split).symlink_to(source / split)
    table, scene = json.loads((source / "transforms_train.json").read_text()), nerfcore.load_scene(downscale=8)
    table["frames"] = table["frames"][::10]
    for frame, view in zip(table["frames"], scene.train.frames[::10], strict=True):
        distance = trace(camera_rays(view.camera, view.pose.double())).distance.reshape(25, 25).numpy()
        distance[::4, ::2] = 0
        name = frame["distance_file_path"] = f"{view.path.stem}.png"
        iio.imwrite(folder / name, (distance / 1e-4).round().astype(np.uint16))
    (folder / "transforms_train.json").write_text(json.dumps(table | dict(distance_unit_scale_factor=1e-4)))
    return folder


def distance_error(model):
    """Mean over rays that meet a solid."""
    errors = []
    for frame in nerfcore.load_scene(downscale=8).test.frames[::4]:
        truth = trace(camera_rays(frame.camera, frame.pose.double())).distance.float()
        found = model.render_image(frame.camera, frame.pose)["distance"].flatten()
        errors.append((found - truth)[truth > 0].abs().mean())
    return torch.stack(errors).mean().item()


def trained(folder, steps, memory=None, **settings):
    config = TrainConfig(steps=steps, **SMALL | settings)
    trainer = Trainer(nerfcore.load_scene(folder, 8, memory=memory, depth_maps=True), config)
    while trainer.steps < steps:
        trainer.step()
    trainer.close()
    return trainer.model({})


@pytest.mark.parametrize("memory", [None, 0], ids=["memory", "pool"])
def test_it_teaches_distances(few_views, memory):
    errors = {
        weight: distance_error(trained(few_views, 100, memory, depth_weight=weight)) for weight in (0.0, 0.3)
    }
    assert errors[0.3] < 0.7 * errors[0.0]


def test_it_costs_nothing_where_there_is_nothing_to_learn(few_views, monkeypatch):
    """Without weight or maps steps are the fused ones, with the same bits."""
    def no_term(*_):
        raise AssertionError("a depth term")

    monkeypatch.setattr(trainer_module, "DepthTerm", no_term)
    trained(few_views, 2, depth_weight=0.0)
    without, with_default = (trained(None, 5, depth_weight=weight) for weight in (0.0, 0.5))
    assert torch.equal(without.field.table, with_default.field.table)
    with pytest.raises(AssertionError, match="a depth term"):
        trained(few_views, 2)


def test_it_works_without_bounds(few_views):
    """A field with proposals has the term too."""
    field = UnboundedField("ngp", dict(log2_table=12, num_levels=4, finest=64))
    field.initialise(torch.Generator().manual_seed(0))
    origin = torch.tensor([[0.5, 0.5, 0.5]]).repeat(8, 1)
    direction = torch.nn.functional.normalize(torch.randn(8, 3, generator=torch.Generator().manual_seed(1)), dim=-1)
    batch = field, origin, direction, torch.full((8,), 0.5), torch.zeros(8, 3), torch.full((8, 3), 0.5)
    *_, plain = placed_loss(*batch)
    *_, guided = placed_loss(*batch, depth=DepthTerm(torch.full((8,), 2.0), 1.0))
    *_, unknown = placed_loss(*batch, depth=DepthTerm(torch.zeros(8), 1.0))
    name = "inner.table"
    assert torch.equal(plain[name], unknown[name]) and not torch.equal(plain[name], guided[name])


def test_a_negative_weight_is_refused():
    with pytest.raises(NerfcoreError, match="depth_weight must be 0 or more, got -1"):
        TrainConfig(depth_weight=-1)
