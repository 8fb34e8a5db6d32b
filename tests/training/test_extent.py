"""Where a scene ends: the core of each kind of capture · when it is contracted · the finest level."""

import dataclasses
from pathlib import Path

import pytest
import torch

import nerfcore
from nerfcore.cameras import Camera, look_at
from nerfcore.data import Frame, Scene, SceneTransform, Split
from nerfcore.errors import NerfcoreError
from nerfcore.training import extent
from nerfcore.training.extent import core_of, finest_resolution, is_contracted

CAMERA = Camera(40, 30, 50.0, 50.0, 20.0, 15.0)
TURN = torch.linspace(0, 6, 12)
RING = 4 * torch.stack([TURN.cos(), TURN.sin(), 0.1 * (5 * TURN).sin()], 1)
SHELF = torch.stack([TURN, 0.2 * TURN.sin(), 0.3 * TURN.cos()], 1)


def scene(eyes, targets, half=8.0, **more):
    """Opaque photographs from there, in a box of that half side about the origin."""
    frames = [Frame(str(i), CAMERA, pose, Path()) for i, pose in enumerate(look_at(eyes, targets))]
    pixels = torch.zeros(len(frames) * 1200, 3, dtype=torch.uint8)
    split = Split(frames, pixels, 1200 * torch.arange(len(frames) + 1))
    transform = SceneTransform(0.5 / half, (0.5, 0.5, 0.5))
    return Scene("none", Path(), split, None, split, transform, 3, False, "", **more)


def world_core(scene):
    core = core_of(scene)
    return scene.transform.to_world(torch.tensor(core.middle)), core.side / scene.transform.scale


def test_the_core_of_cameras_around_something_holds_them():
    middle, side = world_core(scene(RING, (0.0, 0.0, 0.0)))
    assert torch.allclose(middle, torch.zeros(3), atol=1e-6) and side == pytest.approx(8.0)


@pytest.mark.parametrize(("nearest", "side"), [(10.0, 20.0), (1.0, 6.0), (None, 6.0)])
def test_the_core_of_cameras_that_look_the_same_way_ends_at_what_is_nearest(nearest, side):
    """Unless a camera is farther from the others."""
    given = scene(SHELF, SHELF + torch.tensor([0.0, 1.0, 0.0]), nearest=nearest)
    middle, found = world_core(given)
    assert torch.allclose(middle, SHELF.mean(0), atol=1e-5) and found == pytest.approx(side)
    near = core_of(given).near * found
    assert near == pytest.approx({10.0: 5.0, 1.0: 0.5, None: 0.3}[nearest])


def test_the_core_of_cameras_in_one_place_is_the_smallest_cascade():
    _, side = world_core(scene(RING[:1].expand(4, 3), -RING[:4]))
    assert side == pytest.approx(16 / 4)


def test_contraction_is_chosen_where_cameras_leave_the_box_or_do_not_look_in(monkeypatch):
    monkeypatch.setattr(extent, "share_beyond", lambda *_: None)
    inward = scene(RING, (0.0, 0.0, 0.0))
    assert [is_contracted(inward, bounds) for bounds in ("auto", "box", "contracted")] == [False, False, True]
    for given in (
        scene(RING, 3 * RING),
        scene(SHELF, SHELF + torch.tensor([0.0, 1.0, 0.0])),
        scene(RING, (0.0, 0.0, 0.0), half=3.9),
    ):
        assert [is_contracted(given, bounds) for bounds in ("auto", "box")] == [True, False]
        assert not is_contracted(dataclasses.replace(given, has_alpha=True), "auto")
    with pytest.raises(NerfcoreError, match="train them with bounds box"):
        is_contracted(dataclasses.replace(inward, has_alpha=True), "contracted")


@pytest.mark.parametrize(("share", "contracted"), [(0.2, True), (0.01, False), (None, False)])
def test_contraction_is_chosen_where_parallax_tells_of_a_background(monkeypatch, share, contracted):
    asked = []
    monkeypatch.setattr(extent, "share_beyond", lambda scene, low, high: asked.append((low, high)) or share)
    assert is_contracted(scene(RING, (0.0, 0.0, 0.0)), "auto") == contracted
    ((low, high),) = asked
    assert torch.allclose(-low, high) and torch.allclose(high, torch.full((3,), 1.2 * 4), atol=1e-5)


@pytest.mark.parametrize(("far", "contracted"), [(0.2, True), (0.02, False)])
def test_contraction_is_chosen_where_points_tell_of_a_background(monkeypatch, far, contracted):
    monkeypatch.setattr(extent, "share_beyond", None)  # need not be asked
    points = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    points[: int(far * 1000)] *= 100
    assert is_contracted(scene(RING, (0.0, 0.0, 0.0), points=points), "auto") == contracted


def test_cells_beyond_the_core_are_about_a_pixel_wide():
    """Contracted space is as wide as four halves of the core, at whose face a pixel is a half over the focal length."""
    given = scene(SHELF, SHELF + torch.tensor([0.0, 1.0, 0.0]), nearest=10.0)
    assert finest_resolution(given, core_of(given)) == pytest.approx(4 * CAMERA.fl_x, rel=0.02)


def test_the_finest_level_is_about_a_pixel_wide():
    """The footprint of a pixel at the middle of the box, by similar triangles."""
    scene = nerfcore.load_scene(downscale=8)
    frame = scene.train.frames[0]
    middle = scene.transform.world_box.mean(0)
    footprint = (frame.pose[:, 3] - middle).norm() / nerfcore.load_scene().train.frames[0].camera.fl_x
    cells = (1 / scene.transform.scale / footprint).item()
    assert finest_resolution(nerfcore.load_scene()) == pytest.approx(cells, rel=0.2)
