"""PhotoAppearance: maps of known form · inverses · colour casts and vignettes are found again · held-out photographs'
appearances settle. PhotoCodes: light that changes here and not there · a model shown in a photograph's light."""

import dataclasses

import pytest
import torch
from torch import nn

import nerfcore
from nerfcore.cameras import Camera, camera_rays
from nerfcore.data.scene import Split, to_unit
from nerfcore.errors import NerfcoreError
from nerfcore.synthetic.builtin import trace
from nerfcore.training import cameras as cameras_module
from nerfcore.training import evaluate as evaluate_module
from nerfcore.training.appearance import UNIT, PhotoAppearance, PhotoCodes
from nerfcore.training.config import TrainConfig
from nerfcore.training.evaluate import evaluate
from nerfcore.training.trainer import Trainer

SHORT = TrainConfig(steps=300, preset="fast", samples_per_step=8192, min_rays=512, occupancy_resolution=64)


def colours(count: int = 7) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def appearance(kind: str, size: float = 0.05, anchored: bool = False) -> PhotoAppearance:
    made, generator = PhotoAppearance(4, kind, anchored).double(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    return made


@pytest.mark.parametrize("kind", ["exposure", "affine"])
def test_the_map_to_a_photograph_has_an_inverse(kind):
    made, image = appearance(kind), torch.tensor([0, 1, 2, 3, 3, 2, 1])
    z_scale = torch.linspace(0.4, 1, 7, dtype=torch.float64)
    shown = made.in_photograph(colours(), z_scale, image)
    assert (shown - colours()).abs().max() > 0.05
    assert torch.allclose(made.in_field(shown, z_scale, image), colours(), atol=1e-12)


def test_maps_of_known_form():
    """Diagonals are exposures, offsets are added, and light falls off by a power of the cosine."""
    made, image, z_scale = PhotoAppearance(2, "affine", anchored=True).double(), torch.tensor([1]), torch.ones(1).double()
    colour, exposure = torch.tensor([[0.2, 0.4, 0.8]]).double(), torch.tensor([0.5, 2.0, 1.5]).double()
    with torch.no_grad():
        made.colour[1].diagonal().copy_(exposure.log() / UNIT)
        assert torch.allclose(made.in_photograph(colour, z_scale, image), exposure * colour)
        assert torch.allclose(made.gains()[1], exposure)
        made.colour.zero_()[1, :, 3] = torch.tensor([0.1, 0.0, -0.2]) / UNIT
        assert torch.allclose(made.in_photograph(colour, z_scale, image), torch.tensor([[0.3, 0.4, 0.6]]).double())
        made.colour.zero_()
        made.falloff[1] = 4 / UNIT
        assert torch.allclose(made.in_photograph(colour, 0.9 * z_scale, image), 0.9**4 * colour)


def test_the_mean_is_taken_out_unless_a_field_stands_still():
    assert appearance("affine").logarithms().mean(0).abs().max() < 1e-12
    assert appearance("affine", anchored=True).logarithms().mean(0).abs().max() > 0.01


@pytest.mark.parametrize("kind", ["exposure", "affine"])
def test_gradients(kind):
    made, image, z_scale = appearance(kind), torch.tensor([0, 1, 2, 3]), torch.linspace(0.6, 1, 4).double()
    made.forward = made.in_field
    names = [name for name, _ in made.named_parameters()]

    def mapped(*values):
        given = dict(zip(names, values, strict=True))
        return torch.func.functional_call(made, given, (colours(4), z_scale, image))

    assert torch.autograd.gradcheck(mapped, [p.detach().requires_grad_() for p in made.parameters()], fast_mode=True)


def tinted(split: Split, seed: int) -> Split:
    """Every photograph through a colour filter that mixes channels, with a haze over it and darker edges."""
    generator, pixels, camera = torch.Generator().manual_seed(seed), to_unit(split.pixels), split.frames[0].camera
    for i in range(len(split)):
        rows = slice(*split.offsets[i : i + 2].tolist())
        mix = torch.diag(0.4 + 0.2 * torch.rand(3, generator=generator)) + 0.1 * torch.rand(3, 3, generator=generator)
        haze, power = 0.2 * torch.rand(3, generator=generator), 5 * torch.rand((), generator=generator)
        pixels[rows, :3] = (pixels[rows, :3] @ mix.T + haze) * cosines(camera)[:, None] ** power
    return dataclasses.replace(split, pixels=(255 * pixels).round().clamp(0, 255).byte())


def cosines(camera: Camera) -> torch.Tensor:
    return -camera.unproject(camera.pixel_centres())[1][:, 2].float()


def trained(scene, **settings) -> Trainer:
    trainer = Trainer(scene, dataclasses.replace(SHORT, **settings))
    while trainer.steps < trainer.config.steps:
        trainer.step()
    return trainer


def sharpness(trainer: Trainer, scene) -> float:
    """PSNR on what is opaque in the held-out views of a scene, after the affine map of the colours of each prediction
    that is best for it: how well the field knows what photographs of any light show."""
    scores = []
    for i, (_, truth, prediction) in enumerate(evaluate(trainer.model({}), scene.test).pictures):
        opaque = scene.test.image(i)[..., 3] == 1
        given, wanted = nn.functional.pad(prediction[opaque], (0, 1), value=1.0), truth[opaque]
        best = given @ torch.linalg.lstsq(given, wanted).solution
        scores.append(-10 * (best - wanted).square().mean().log10())
    return torch.stack(scores).mean().item()


def test_photographs_of_changing_light_make_one_field():
    """It is sharper where their exposures, or their maps, are learned than where they are taken as they are."""
    scene = nerfcore.load_scene(downscale=8)
    tints = dataclasses.replace(scene, train=tinted(scene.train, 1))
    kinds = "none", "exposure", "affine"
    none, exposure, affine = (sharpness(trained(tints, appearance=kind), scene) for kind in kinds)
    assert exposure > none + 0.7 and affine > none + 0.9


def test_held_out_photographs_settle_in_their_own_light(monkeypatch):
    """Predictions take it, and the photographs' part in the score is told."""
    monkeypatch.setattr(cameras_module, "FIRST_RATE", 5e-3)
    monkeypatch.setattr(evaluate_module, "SETTLE_STEPS", 60)
    monkeypatch.setattr(evaluate_module, "SETTLE_RAYS", 1024)
    scene = nerfcore.load_scene(downscale=8)
    model, dark = trained(scene).model(dict(config=dict(appearance="affine"))), tinted(scene.test, 2)
    best, before, after = (
        evaluate(model, split, settle=settle).metrics
        for split, settle in ((scene.test, False), (dark, False), (dark, True))
    )
    assert after["settled"] and not before["settled"]
    assert best["psnr"] > after["psnr"] > before["psnr"] + 1.5


def half_lit(split: Split) -> Split:
    """In every second photograph a third of the light falls on what lies at x > 0; elsewhere nothing changes."""
    pixels = to_unit(split.pixels)
    for i, frame in enumerate(split.frames[::2]):
        rows = slice(*split.offsets[2 * i : 2 * i + 2].tolist())
        rays = camera_rays(frame.camera, frame.pose)
        place = rays.origin + trace(rays).distance[:, None] * rays.direction
        pixels[rows, :3] *= torch.where(place[:, :1] > 0, 1 / 3, 1.0)
    return dataclasses.replace(split, pixels=(255 * pixels).round().byte())


def test_codes_tell_light_that_changes_here_and_not_there(monkeypatch):
    """Seen from one place, what changed is dark in the light of one photograph and not of another; all else is alike."""
    monkeypatch.setattr(cameras_module, "FIRST_RATE", 5e-3)
    monkeypatch.setattr(evaluate_module, "SETTLE_STEPS", 60)
    monkeypatch.setattr(evaluate_module, "SETTLE_RAYS", 1024)
    scene = nerfcore.load_scene(downscale=8)
    lit = dataclasses.replace(scene, train=half_lit(scene.train), test=half_lit(scene.test))
    model = trained(lit, appearance="code").model(dict(config=dict(appearance="code")))
    few, count = lit.test, 4
    few = dataclasses.replace(few, frames=few.frames[:count], offsets=few.offsets[: count + 1], pixels=few.pixels[: few.offsets[count]])
    before, after = (evaluate(model, few, settle=settle).metrics["psnr"] for settle in (False, True))
    assert after > before + 1.5
    model = nerfcore.Model.from_state(*model.state())
    (dark_name, camera, pose), (light_name, _, _) = model.cameras[:2]
    dark, light = (model.as_in(name).render_image(camera, pose)["rgb"] for name in (dark_name, light_name))
    rays = camera_rays(camera, pose)
    truth = trace(rays)
    place, solid = rays.origin + truth.distance[:, None] * rays.direction, truth.opacity > 0.5
    ratio = (dark.view(-1, 3) / light.view(-1, 3)).mean(1)
    assert ratio[solid & (place[:, 0] > 0.1)].median() < 0.55 and ratio[solid & (place[:, 0] < -0.1)].median() > 0.85
    assert not torch.equal(model.render_image(camera, pose)["rgb"], dark)
    with pytest.raises(NerfcoreError, match="no training photograph is called 'nobody'; there are"):
        model.as_in("nobody")


def test_the_mean_of_codes_is_none():
    codes = PhotoCodes(5, 3)
    with torch.no_grad():
        codes.code.copy_(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    assert codes.codes().shape == (5, 3) and codes.codes().mean(0).abs().max() < 1e-6 < codes.codes().abs().max()


def test_fields_without_codes_and_models_without_appearances_say_so():
    scene = nerfcore.load_scene(downscale=8)
    with pytest.raises(NerfcoreError, match="the field 'triplane' takes no code of appearances"):
        Trainer(scene, dataclasses.replace(SHORT, field="triplane", appearance="code"))
    with pytest.raises(NerfcoreError, match="train it with --appearance code"):
        Trainer(scene, SHORT).model({}).as_in("r_0")
