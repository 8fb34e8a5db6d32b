"""Training before a learned sphere: it takes the colours of what is behind the scene · alpha is refused."""

import dataclasses

import pytest
import torch
from torch.nn.functional import normalize

import nerfcore
from nerfcore.cameras import camera_rays
from nerfcore.data.scene import Split, to_unit
from nerfcore.errors import NerfcoreError
from nerfcore.metrics import psnr
from nerfcore.synthetic.builtin import trace
from nerfcore.training.config import TrainConfig
from nerfcore.training.trainer import Trainer
from tests.training.test_trainer import run

SHORT = TrainConfig(
    steps=200, preset="fast", samples_per_step=8192, min_rays=128, occupancy_resolution=32, background="learned"
)


def sky(direction: torch.Tensor) -> torch.Tensor:
    """Bands of colours over the sphere."""
    return 0.5 + 0.4 * torch.sin(torch.tensor([3.0, 5.0, 4.0]) * direction + torch.tensor([0.0, 1.0, 2.0]))


def before_sky(split: Split) -> Split:
    """The built-in scene's photographs, opaque."""
    pixels = to_unit(split.pixels)
    direction = torch.cat([camera_rays(frame.camera, frame.pose).direction for frame in split.frames])
    colour = torch.lerp(sky(direction), pixels[:, :3], pixels[:, 3:])
    return dataclasses.replace(split, pixels=(255 * colour).round().byte())


@pytest.fixture(scope="module")
def scene():
    given = nerfcore.load_scene(downscale=8)
    return dataclasses.replace(given, train=before_sky(given.train), test=before_sky(given.test), has_alpha=False)


def held_out_psnr(model: nerfcore.Model, scene: nerfcore.Scene) -> float:
    frames = enumerate(scene.test.frames[:5])
    return sum(psnr(model.render_image(f.camera, f.pose)["rgb"], scene.test.image(i)) for i, f in frames) / 5


def test_the_sphere_is_what_lies_behind(scene):
    """Also between the photographs, and better than walls of the box that photographs are painted on."""
    scores = {}
    for background in ("random", "learned"):
        config = dataclasses.replace(SHORT, background=background, bounds="box")
        trainer = run(Trainer(scene, config), SHORT.steps)
        scores[background] = held_out_psnr(trainer.model({}), scene)
    assert scores["learned"] > scores["random"] + 3
    model, errors = trainer.model({}), []
    for frame in scene.test.frames:
        rays = camera_rays(frame.camera, frame.pose)
        nothing_there = trace(rays).opacity == 0
        errors.append((model.render(rays).rgb - sky(rays.direction))[nothing_there].abs())
    assert len(torch.cat(errors)) > 200 and torch.cat(errors).mean() < 0.05


def test_photographs_with_alpha_have_nothing_behind():
    with pytest.raises(NerfcoreError, match="photographs with alpha show nothing behind the scene"):
        Trainer(nerfcore.load_scene(downscale=8), SHORT)


def test_the_sphere_is_no_field_of_its_own(scene):
    with pytest.raises(NerfcoreError, match="'backdrop' is made of another one"):
        Trainer(scene, dataclasses.replace(SHORT, field="backdrop"))


def test_a_saved_sphere_is_the_same(scene):
    model = run(Trainer(scene, SHORT), 20).model({})
    again = nerfcore.Model.from_state(*model.state())
    direction = normalize(torch.randn(30, 3), dim=-1)
    assert torch.equal(model.field.sky(direction), again.field.sky(direction))
