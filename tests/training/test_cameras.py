"""CameraRefinement: corrected rays are rays of corrected cameras · gradients · what all have in common · disturbed
cameras are found again · errors."""

import dataclasses
import math

import pytest
import torch

import nerfcore
from nerfcore.cameras import Fisheye, Orthographic, Perspective, Similarity, camera_rays, rotation_angle, rotation_exp
from nerfcore.data import PixelSampler
from nerfcore.errors import SceneError
from nerfcore.fields import field_named
from nerfcore.ops._dispatch import use_kernel
from nerfcore.renderer.volume import render_samples, sample_rays
from nerfcore.training import cameras as cameras_module
from nerfcore.training import evaluate as evaluate_module
from nerfcore.training.cameras import CameraRefinement
from nerfcore.training.config import TrainConfig
from nerfcore.training.evaluate import evaluate
from nerfcore.training.loss import modular_loss, photometric_loss
from nerfcore.training.trainer import Trainer
from nerfcore.types import Rays, SampleLattice


@pytest.fixture(scope="module")
def scene():
    """The built-in scene at 25 x 25 pixels."""
    return nerfcore.load_scene(downscale=8)


def with_frames(scene, change):
    frames = [dataclasses.replace(frame, **change(i, frame)) for i, frame in enumerate(scene.train.frames)]
    return dataclasses.replace(scene, train=dataclasses.replace(scene.train, frames=frames))


def with_lenses(scene, *lenses):
    return with_frames(
        scene, lambda i, frame: dict(camera=dataclasses.replace(frame.camera, lens=lenses[i % len(lenses)]))
    )


def refinement(scene, intrinsics: bool, size: float = 0.0) -> CameraRefinement:
    """With random corrections of a size, in float64."""
    cameras = CameraRefinement(scene.train, scene.transform, "cameras" if intrinsics else "poses").double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in cameras.parameters():
            parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    return cameras


def box_rays(frame, scene, pixel) -> Rays:
    rays = camera_rays(frame.camera, frame.pose.double(), pixel)
    return Rays(scene.transform.to_box(rays.origin), rays.direction, rays.z_scale)


@pytest.mark.parametrize("intrinsics", [False, True])
@pytest.mark.parametrize("size", [0.0, 0.02])
@pytest.mark.parametrize(
    "lenses", [(Perspective(),), (Perspective(k1=0.1, p1=0.01), Fisheye(k1=0.05)), (Orthographic(),)], ids=str
)
def test_corrected_rays_are_the_rays_of_corrected_cameras(scene, lenses, size, intrinsics):
    if intrinsics and not lenses[0].is_central:
        pytest.skip("refused")
    scene = with_lenses(scene, *lenses)
    cameras = refinement(scene, intrinsics, size)
    pixel = 3 + 19 * torch.rand(40, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for i, corrected in enumerate(cameras.corrected_frames()[:3]):
        given, expected = (box_rays(frame, scene, pixel) for frame in (scene.train.frames[i], corrected))
        if not lenses[0].is_central:  # parallel rays start in the picture, whose size is that of the box
            local = scene.transform.scale * (expected.origin - expected.origin.mean(0))
            assert size or torch.allclose(local, scene.transform.scale * (given.origin - given.origin.mean(0)), atol=1e-6)
        rays = cameras(given, torch.full((40,), i))
        assert torch.allclose(rays.origin, expected.origin, atol=1e-6)
        assert torch.allclose(rays.direction, expected.direction, atol=1e-6)
        assert size == 0 or (rays.direction - given.direction).norm(dim=-1).min() > 1e-4


@pytest.mark.parametrize("size", [0.0, 0.1])
def test_gradients_of_corrected_rays(scene, size):
    scene = with_lenses(scene, Perspective(k1=0.1), Fisheye(k1=0.05))
    cameras = refinement(scene, True, size)
    image = torch.arange(4)
    given = [box_rays(frame, scene, torch.tensor([[5.0 + i, 17.0]])) for i, frame in enumerate(scene.train.frames[:4])]
    given = Rays(torch.cat([rays.origin for rays in given]), torch.cat([rays.direction for rays in given]))

    def corrected(motion, intrinsics):
        rays = torch.func.functional_call(cameras, dict(motion=motion, intrinsics=intrinsics), (given, image))
        return rays.origin, rays.direction

    parameters = [parameter.detach().clone().requires_grad_() for parameter in cameras.parameters()]
    assert torch.autograd.gradcheck(corrected, parameters, fast_mode=True)


def test_gradients_of_the_loss_to_rays_against_finite_differences():
    """In float64; the samples stay where they are."""
    generator = torch.Generator().manual_seed(0)
    shape = dict(num_levels=3, features=2, log2_table=12, coarsest=4, finest=12, hidden=16)
    field = field_named("ngp")(**shape, backend="reference").double()
    field.initialise(generator)
    with torch.no_grad():
        field.table.normal_(generator=generator)
    lattice = SampleLattice(torch.full((8**3 // 8,), 255, dtype=torch.uint8), 8, 1, 0.05)
    origin = torch.tensor([[-1.0, 0.4, 0.5], [0.6, 1.9, 0.3]], dtype=torch.float64)
    towards = torch.tensor([[0.5, 0.52, 0.41], [0.3, 0.5, 0.7]], dtype=torch.float64)
    direction = torch.nn.functional.normalize(towards - origin, dim=-1)
    jitter, background, truth = (torch.rand(2, *c, generator=generator).double() for c in ((), (3,), (3,)))
    samples = sample_rays(origin, direction, lattice, jitter, backend="reference")

    def loss(origin, direction, background, truth):
        rgb, opacity, *_ = render_samples(field, origin, direction, samples, "reference")
        return (rgb + (1 - opacity[:, None]) * background - truth).square().mean()

    inputs = dict(origin=origin, direction=direction, background=background, truth=truth)
    rays = [given.clone().requires_grad_() for given in inputs.values()]
    batch = field, *rays[:2], lattice, jitter, *rays[2:]
    *_, gradients = modular_loss(*batch, backend="reference")
    *_, same = photometric_loss(*batch, expected_samples=100, backend="reference")
    for name in inputs:
        assert torch.equal(gradients[name], same[name])
        for ray in range(2):
            for axis in range(3):
                values = []
                for step in (-1e-6, 1e-6):
                    moved = {name: given.clone() for name, given in inputs.items()}
                    moved[name][ray, axis] += step
                    values.append(loss(**moved).item())
                assert gradients[name][ray, axis] == pytest.approx((values[1] - values[0]) / 2e-6, rel=1e-4, abs=1e-9)


def test_what_all_cameras_have_in_common_is_no_correction(scene):
    """Motions that turn, shift and grow the whole capture, made from the poses that result: nothing is left of them to
    first order, and of others all but seven numbers."""
    e, given = 1e-4, scene.train.poses.double()
    turn = rotation_exp(e * torch.tensor([0.5, -0.7, 0.4], dtype=torch.float64))
    moved = Similarity(1 + e, turn, e * torch.tensor([0.3, 0.9, -0.6], dtype=torch.float64)).poses(given)
    cameras = refinement(scene, False)
    to_box = scene.transform.to_box
    with torch.no_grad():
        turns = given[:, :, :3].mT @ moved[:, :, :3]
        k = 0.5 * (turns - turns.mT)
        w = torch.stack([k[:, 2, 1], k[:, 0, 2], k[:, 1, 0]], dim=-1)
        steps = (to_box(moved[:, :, 3]) - to_box(given[:, :, 3]))[:, None] @ given[:, :, :3]
        v = steps.squeeze(1) - cameras.pivot + (rotation_exp(w) @ cameras.pivot[:, :, None]).squeeze(-1)
        cameras.motion.copy_(torch.cat([w, v], dim=-1))
        assert torch.allclose(cameras.motion[:, :3].norm(dim=-1), torch.full((len(w),), e * 0.9**0.5).double(), rtol=1e-3)
        assert cameras.corrections().abs().max() < 0.01 * e
        assert torch.linalg.matrix_rank(cameras.common) == 7
        cameras.motion.normal_(generator=torch.Generator().manual_seed(0))
        once = cameras.corrections()
        cameras.motion.copy_(once)
        assert torch.allclose(cameras.corrections(), once, atol=1e-6)


def disturbed(scene, degrees: float, share: float):
    """The scene with every camera turned by an angle and moved by a share of its distance, in random directions."""
    generator, count = torch.Generator().manual_seed(7), len(scene.train)
    axis, shift = torch.nn.functional.normalize(torch.randn(2, count, 3, generator=generator), dim=-1)
    turn, poses = rotation_exp(math.radians(degrees) * axis), scene.train.poses
    distance = (poses[:, :, 3] - scene.transform.world_box.mean(0)).norm(dim=-1, keepdim=True)
    centre = poses[:, :, 3] + share * distance * shift
    poses = torch.cat([turn @ poses[:, :, :3], centre[:, :, None]], dim=-1)
    return with_frames(scene, lambda i, frame: dict(pose=poses[i]))


SHORT = TrainConfig(steps=300, preset="fast", samples_per_step=8192, min_rays=512, occupancy_resolution=64)


def trained(scene, **settings) -> Trainer:
    trainer = Trainer(scene, dataclasses.replace(SHORT, **settings))
    while trainer.steps < trainer.config.steps:
        trainer.step()
    return trainer


def test_disturbed_cameras_are_found_again(monkeypatch):
    """At 50 x 50 pixels, of which 2 degrees are nearly three; the centres as well. In few steps, therefore long ones."""
    monkeypatch.setattr(cameras_module, "FIRST_RATE", 3e-3)
    scene = nerfcore.load_scene(downscale=4)
    truth, wrong = scene.train.poses, disturbed(scene, 2.0, 0.02)

    def errors(poses):
        poses = Similarity.between(poses[:, :, 3], truth[:, :, 3]).poses(poses)
        turned = rotation_angle(poses[:, :, :3], truth[:, :, :3]).mean()
        return math.degrees(turned), (poses[:, :, 3] - truth[:, :, 3]).norm(dim=-1).mean().item()

    angle, distance = errors(wrong.train.poses)
    trainer = trained(wrong, refine="poses", steps=600)
    assert not trainer.cameras.are_right
    model = trainer.model({})
    left_angle, left_distance = errors(torch.stack([pose for _, _, pose in model.cameras]))
    assert left_angle < 0.5 * angle and left_distance < 0.5 * distance


def test_right_cameras_stay(scene):
    """A step has few rays, whose gradients are mostly noise; a pixel is 2 degrees."""
    given = trained(scene)
    refined = trained(scene, refine="poses")
    assert refined.cameras.are_right  # so that most steps are fused
    assert sum(change["turn"] for change in refined.cameras.changes()) / len(scene.train) < 0.05
    scores = [evaluate(trainer.model({}), scene).metrics["psnr"] for trainer in (given, refined)]
    assert scores[1] > scores[0] - 0.5


def test_steps_with_gradients_of_rays_have_as_many_of_them(scene):
    """They look at samples behind which no light comes from, too; these do not count."""
    if not use_kernel("auto", torch.empty(0)):
        pytest.skip("without the kernels no step is fused")
    trainer = trained(scene)
    met = []
    for refine in ("none", "poses"):
        trainer.generator.manual_seed(1)
        cameras = CameraRefinement(scene.train, scene.transform, refine, "exposure")
        trainer.cameras = cameras if refine == "poses" else None
        field = {name: value.clone() for name, value in trainer.field.state_dict().items()}
        cameras.begin_step(0.0, 0)
        trainer._fit(1000, 1.0, None if refine == "none" else 1.0)
        trainer.field.load_state_dict(field)
        met.append(trainer.met.item())
    assert met[1] == pytest.approx(met[0], rel=0.01)


def test_wrong_intrinsics_are_found_again(scene):
    """By a field that knows better: photographs alone tell a focal length from a distance only where perspective is
    strong."""
    trainer = trained(scene)
    true = scene.train.frames[0].camera
    camera = dataclasses.replace(true, fl_x=1.05 * true.fl_x, fl_y=1.05 * true.fl_y, cx=true.cx + 0.5)
    wrong = with_frames(scene, lambda i, frame: dict(camera=camera))
    trainer.pixels = PixelSampler(wrong.train, transform=scene.transform)
    trainer.cameras = cameras = CameraRefinement(wrong.train, scene.transform, "cameras", anchored=True)
    del cameras.named["cameras.motion"], cameras.optimizers[0].parameters["cameras.motion"]
    trainer.field.hold_back = lambda gradients, detail: [gradient.zero_() for gradient in gradients.values()]
    for _ in range(60):
        cameras.optimizers[0].begin_step(2e-3)
        trainer._fit(1000, 1.0, 1.0)
    found = cameras.corrected_frames()[0].camera
    assert abs(found.fl_x / true.fl_x - 1) < 0.02 and abs(found.fl_y - found.fl_x) < 1e-9
    assert abs(found.cx - true.cx) < 0.15 and abs(found.cy - true.cy) < 0.15


def test_intrinsics_of_parallel_rays_are_refused(scene):
    scene = with_lenses(scene, Orthographic())
    with pytest.raises(SceneError, match="parallel rays cannot be refined; refine poses alone"):
        CameraRefinement(scene.train, scene.transform, "cameras")


def test_exposures_are_found_again(scene):
    """Every photograph has its colours multiplied by factors of its own, between 0.6 and 1. After 300 steps about
    two thirds are found (62 and 67 % with two draws of factors): colour that depends on the view explains some as well."""
    train = scene.train
    gains = 0.6 + 0.4 * torch.rand(len(train), 3, generator=torch.Generator().manual_seed(3))
    image = torch.repeat_interleave(torch.arange(len(train)), train.offsets.diff())
    pixels = train.pixels.clone()
    pixels[:, :3] = (pixels[:, :3] * gains[image]).round().to(pixels.dtype)
    dimmed = dataclasses.replace(scene, train=dataclasses.replace(train, pixels=pixels))
    cameras = trained(dimmed, appearance="exposure").cameras
    assert cameras.motion is None and cameras.intrinsics is None and cameras.corrected_frames() is train.frames
    relative = gains / gains.log().mean(0).exp()
    found = cameras.appearance.gains().detach()
    assert (found / relative).log().abs().mean() < 0.45 * relative.log().abs().mean()
    assert torch.allclose(found.log().mean(0), torch.zeros(3), atol=1e-6)
    assert [change["exposure"] for change in cameras.changes()] == pytest.approx(found.mean(1).tolist())


def test_held_out_cameras_settle(scene, monkeypatch):
    """Those with errors of their own regain most of what these cost; photographs had a part in it, and that is told."""
    monkeypatch.setattr(cameras_module, "FIRST_RATE", 3e-3)
    monkeypatch.setattr(evaluate_module, "SETTLE_STEPS", 100)
    model = trained(scene).model({})
    wrong = disturbed(dataclasses.replace(scene, train=scene.test), 2.0, 0.02).train
    best, before, after = (
        evaluate(model, split, settle=settle).metrics
        for split, settle in ((scene.test, False), (wrong, False), (wrong, True))
    )
    assert after["settled"] and not before["settled"]
    assert after["psnr"] - before["psnr"] > 0.7 * (best["psnr"] - before["psnr"]) > 0.7
