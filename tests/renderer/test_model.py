"""Model on analytic scenes: picture and distances in closed form · world units · save and load · damaged files."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import nerfcore
from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.lenses import Fisheye, Orthographic, Perspective
from nerfcore.cameras.poses import look_at
from nerfcore.cameras.rays import camera_rays
from nerfcore.errors import ModelError
from nerfcore.fields.base import FIELDS
from nerfcore.fields.ngp import NGPField
from nerfcore.training.checkpoint import KEY, SCHEMA, read_tensors, write_tensors
from nerfcore.types import Rays
from tests.analytic import Ball, Blob, model_of

CAMERA = Camera(48, 32, 40.0, 40.0, 24.0, 16.0, Perspective(k1=0.05))
POSE = look_at((4.0, -3.0, 2.0), (0.1, 0.2, 0.0))
RGB = (0.2, 0.4, 0.8)


class Hollow(Ball):
    """The reverse of a ball: constant density outside it."""

    def density(self, x):
        sigma, embedding = super().density(x)
        return self.config["density"] - sigma, embedding


def ball_hit(rays: Rays, center, radius) -> torch.Tensor:
    """Distance [R] to a ball, inf where the ray misses."""
    offset = rays.origin.double() - torch.tensor(center, dtype=torch.float64)
    along = (offset * rays.direction.double()).sum(-1)
    inside = along.square() - offset.square().sum(-1) + radius**2
    return torch.where(inside > 0, -along - inside.clamp(min=0).sqrt(), math.inf)


@pytest.mark.parametrize(
    ("background", "rgb"), [("white", (1.0, 1, 1)), ("black", (0.0, 0, 0)), ((0.1, 0.5, 0.2), (0.1, 0.5, 0.2))]
)
def test_picture_of_a_ball_has_the_closed_form(background, rgb):
    model = model_of(Ball())  # world: radius 1 about the origin
    image = model.render_image(CAMERA, POSE, background, normals=False)
    assert image["rgb"].shape == (32, 48, 3) and image["distance"].shape == (32, 48) and "normal" not in image
    rays = camera_rays(CAMERA, POSE)
    step = model.marching.step / model.transform.scale
    hit = ball_hit(rays, (0.0, 0.0, 0.0), 1.0)
    grazing = (ball_hit(rays, (0.0, 0.0, 0.0), 1 + step) < math.inf) & (
        ball_hit(rays, (0.0, 0.0, 0.0), 1 - step) == math.inf
    )
    inside, outside = (hit < math.inf) & ~grazing, (hit == math.inf) & ~grazing
    flat = {name: value.flatten(0, 1) for name, value in image.items()}
    assert inside.sum() > 100 and outside.sum() > 100
    assert torch.allclose(flat["rgb"][inside], torch.tensor(RGB), atol=1e-3)
    assert torch.allclose(flat["rgb"][outside], torch.tensor(rgb), atol=1e-6)
    assert (flat["opacity"][inside] > 0.999).all() and not flat["opacity"][outside].any()
    z_depth = hit * (rays.direction.double() @ -POSE[:, 2].double())
    for name, true in (("distance", hit), ("median_distance", hit), ("z_depth", z_depth)):
        assert ((flat[name] - true)[inside].abs() < 0.5 * step + 1e-3).all(), name
    assert not flat["distance"][outside].any() and not flat["z_depth"][outside].any()


def test_a_panorama_from_the_middle_of_a_hollow_is_equally_far_all_around():
    model, camera, pose = model_of(Hollow()), Camera.panorama(48, 24), look_at((0.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    image = model.render_image(camera, pose)
    assert (image["opacity"] > 0.999).all()
    assert (image["distance"] - 1.0).abs().max() < 2 * model.marching.step / model.transform.scale
    assert torch.allclose(image["z_depth"].flatten(), image["distance"].flatten() * camera_rays(camera, pose).z_scale)
    assert (image["z_depth"] < 0).sum() == 48 * 24 / 2


def test_an_orthographic_picture_of_a_ball_is_a_disc_of_its_size():
    model, camera = model_of(Ball()), Camera(80, 60, 20.0, 20.0, 40.0, 30.0, Orthographic())
    image = model.render_image(camera, POSE)
    x, y = ((camera.pixel_centres() - torch.tensor([40.0, 30.0])) / 20).unbind(-1)
    centre = -POSE[:, 3] @ POSE[:, :3]
    radius = ((x - centre[0]).square() + (y + centre[1]).square()).sqrt()
    step = model.marching.step / model.transform.scale
    opacity, distance = image["opacity"].flatten(), image["distance"].flatten()
    assert (opacity[radius < 1 - step] > 0.999).all() and not opacity[radius > 1 + step].any()
    inner = radius < 0.9
    surface = -centre[2] - (1 - radius[inner].square()).sqrt()
    assert inner.sum() > 500 and (distance[inner] - surface).abs().max() < 2 * step
    assert torch.equal(image["distance"], image["z_depth"])


def test_outside_the_image_circle_there_is_background():
    camera = Camera(40, 40, 6.0, 6.0, 20.0, 20.0, Fisheye())
    image = model_of(Blob()).render_image(camera, POSE, (0.1, 0.5, 0.2), normals=True)
    outside = ~camera.covers(camera.pixel_centres()).reshape(40, 40)
    assert 50 < outside.sum() < 800
    assert torch.equal(image["rgb"][outside], torch.tensor([0.1, 0.5, 0.2]).expand(int(outside.sum()), 3))
    assert not image["opacity"][outside].any() and not image["normal"][outside].any() and image["opacity"].any()


def test_normals_come_when_asked_for():
    model = model_of(Blob(center=(0.5, 0.5, 0.5), peak=400.0))
    image = model.render_image(CAMERA, POSE, normals=True)
    rays, solid = camera_rays(CAMERA, POSE), image["opacity"].flatten() > 0.999
    point = rays.origin + rays.direction * image["distance"].flatten()[:, None]
    expected = torch.nn.functional.normalize(point, dim=-1)[solid]
    assert solid.sum() > 50 and ((image["normal"].flatten(0, 1)[solid] * expected).sum(-1) > 0.99).all()


def test_rays_may_be_none_or_more_than_a_chunk():
    model = model_of(Ball())
    empty = model.render(Rays(torch.zeros(0, 3), torch.zeros(0, 3)))
    assert empty.rgb.shape == (0, 3) and empty.distance.shape == (0,)
    rays = camera_rays(Camera(80, 60, 60.0, 60.0, 40.0, 30.0), POSE)
    whole, parts = model.render(rays), [model.render(rays[i : i + 700]) for i in range(0, 4800, 700)]
    assert torch.equal(whole.rgb, torch.cat([p.rgb for p in parts]))
    with pytest.raises(ValueError, match="background must be white, black or an RGB triple, got 'pink'"):
        model.render(rays, "pink")


def test_density_and_colour_are_in_world_units():
    model = model_of(Ball(density=8.0), scale=0.25, translation=(0.4, 0.5, 0.5))
    center = (torch.full((3,), 0.5) - torch.tensor([0.4, 0.5, 0.5])) / 0.25
    shell = torch.nn.functional.normalize(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    assert torch.equal(model.density(center + 0.97 * shell), torch.full((200,), 2.0))  # 8 per box of side 4
    assert not model.density(center + 1.03 * shell).any() and not model.density(center + 50 * shell).any()
    assert torch.allclose(model.color(center + shell, -shell), torch.tensor(RGB))
    assert torch.allclose(model.world_box, center + torch.tensor([[-2.0], [2.0]]))
    model.occupancy.bits.zero_()
    assert not model.density(center + 0.5 * shell).any()


def test_many_points_are_the_same_as_few():
    model, points = model_of(Blob()), torch.rand(70_000, 3, generator=torch.Generator().manual_seed(1)) * 4 - 2
    assert torch.equal(model.density(points)[-500:], model.density(points[-500:]))
    direction = torch.tensor([[0.0, 0, 1]]).expand(70_000, 3)
    assert torch.equal(model.color(points, direction)[-500:], model.color(points[-500:], direction[-500:]))


def test_the_transform_carries_the_result_along():
    """The world twice as large and moved: rays moved with it see the same, at twice the distance, at half the density."""
    small, shift = model_of(Blob(), scale=0.25), torch.tensor([3.0, -1.0, 2.0])
    large = model_of(Blob(), scale=0.125, translation=(0.5 - 0.125 * shift).tolist())
    rays = camera_rays(CAMERA, POSE)
    moved = Rays(2 * rays.origin + shift, rays.direction, rays.z_scale)
    ours, theirs = small.render(rays), large.render(moved)
    assert ours.opacity.max() > 0.5
    assert torch.allclose(ours.rgb, theirs.rgb, atol=1e-4) and torch.allclose(
        2 * ours.distance, theirs.distance, atol=1e-2
    )
    points = torch.rand(100, 3, generator=torch.Generator().manual_seed(2)) - 0.5
    assert torch.allclose(small.density(points), 2 * large.density(2 * points + shift), rtol=1e-3)


@pytest.fixture
def trained_like():
    """An NGP model that shows something, with an occupancy grid of its own and a header."""
    field = NGPField(num_levels=2, features=2, log2_table=8, coarsest=4, finest=8, hidden=16)
    field.initialise(torch.Generator().manual_seed(0))
    with torch.no_grad():
        field.table.normal_(0, 2.0, generator=torch.Generator().manual_seed(1))
    model = model_of(field, cascades=2)
    model.occupancy.bits.random_(256, generator=torch.Generator().manual_seed(2))
    model.header.update(seed=7, scene="näme")
    return model


def test_save_and_load_give_the_same_picture(trained_like, tmp_path):
    path = tmp_path / "model.nerf"
    write_tensors(path, *trained_like.state())
    for place in (path, tmp_path, str(path)):
        again = nerfcore.load(place)
    before, after = (m.render_image(CAMERA, POSE, normals=True) for m in (trained_like, again))
    assert before["opacity"].max() > 0.1 and before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(3)) * 4 - 2
    assert torch.equal(trained_like.density(points), again.density(points))
    assert again.header == trained_like.header and again.marching == trained_like.marching
    assert again.transform == trained_like.transform
    for (name, camera, pose), (name2, camera2, pose2) in zip(trained_like.cameras, again.cameras, strict=True):
        assert (name, camera) == (name2, camera2) and torch.equal(pose, pose2)
    assert b"/" + Path(tmp_path).name.encode() not in path.read_bytes()  # no absolute path inside


def test_models_saved_before_cameras_had_lenses_load(trained_like, tmp_path):
    tensors, description = trained_like.state()
    new = ("model", "d1", "d2", "d3")
    description["cameras"] = [{k: v for k, v in c.items() if k not in new} for c in description["cameras"]]
    assert set(description["cameras"][0]) == {
        "name", "width", "height", "fl_x", "fl_y", "cx", "cy", "k1", "k2", "k3", "k4", "p1", "p2"
    }
    write_tensors(tmp_path / "model.nerf", tensors, description)
    assert [c[:2] for c in nerfcore.load(tmp_path).cameras] == [c[:2] for c in trained_like.cameras]


def one_sentence(error) -> bool:
    return "\n" not in str(error.value) and len(str(error.value)) < 600


def test_damaged_foreign_newer_and_missing_files(trained_like, tmp_path):
    path = tmp_path / "model.nerf"
    with pytest.raises(ModelError, match="there is no model file") as error:
        nerfcore.load(path)
    assert one_sentence(error)
    write_tensors(path, *trained_like.state())
    whole = path.read_bytes()
    for content in (
        b"",
        whole[:5],
        whole[:200],
        whole[:-1],
        whole[: len(whole) // 2],
        b"x" * 5000,
        b"\xff" * 8 + whole[8:],
    ):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="damaged or was not written by nerfcore") as error:
            nerfcore.load(path)
        assert one_sentence(error) and str(path) in str(error.value)
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ModelError, match="was not written by nerfcore"):
        nerfcore.load(path)
    save_file({"weight": torch.zeros(3)}, path, {KEY: f'{{"schema": {SCHEMA + 1}}}'})
    with pytest.raises(ModelError, match=f"has format {SCHEMA + 1}, this version reads {SCHEMA}; update nerfcore"):
        nerfcore.load(path)


def change(description, *keys, value):
    for key in keys[:-1]:
        description = description[key]
    description[keys[-1]] = value


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("field",), "unheard-of"),
        (("field_config", "num_levels"), 3),
        (("field_config", "log2_table"), 9),
        (("field_config", "new"), 1),
        (("occupancy", "resolution"), "many"),
        (("cameras",), []),
        (("marching",), {}),
        (("transform",), {"scale": 1}),
        (("field_config",), 5),
        (("field_config", "features"), -1),
    ],
    ids=str,
)
def test_a_description_that_does_not_fit_is_a_model_error(trained_like, tmp_path, keys, value):
    tensors, description = trained_like.state()
    change(description, *keys, value=value)
    write_tensors(tmp_path / "model.nerf", tensors, description)
    with pytest.raises(ModelError) as error:
        nerfcore.load(tmp_path)
    assert one_sentence(error)


def test_a_missing_tensor_is_a_model_error(trained_like, tmp_path):
    tensors, description = trained_like.state()
    for name in ("field.table", "occupancy.bits", "camera.poses"):
        write_tensors(tmp_path / "model.nerf", {k: v for k, v in tensors.items() if k != name}, description)
        with pytest.raises(ModelError) as error:
            nerfcore.load(tmp_path)
        assert one_sentence(error)


def test_any_flipped_byte_of_the_header_loads_or_is_a_model_error(tmp_path, monkeypatch):
    monkeypatch.setitem(FIELDS, "ball", Ball)
    path = tmp_path / "model.nerf"
    write_tensors(path, *model_of(Ball(), num_views=2).state())
    whole, generator = path.read_bytes(), torch.Generator().manual_seed(5)
    header = 8 + int.from_bytes(whole[:8], "little")
    for at, byte in zip(*(torch.randint(n, (150,), generator=generator).tolist() for n in (header, 128)), strict=True):
        path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
        try:
            nerfcore.load(path)
        except ModelError as error:
            assert "\n" not in str(error)


def test_the_description_survives_json(trained_like, tmp_path):
    write_tensors(tmp_path / "model.nerf", *trained_like.state())
    _, description = read_tensors(tmp_path / "model.nerf")
    assert description["schema"] == SCHEMA and description["field_config"] == trained_like.field.config
    assert dataclasses.asdict(trained_like.marching) == description["marching"]
