"""The similarity between the world and the box · another box than that of the files."""

import math
from pathlib import Path

import pytest
import torch

from nerfcore.data import Scene, SceneTransform, Split
from nerfcore.errors import SceneError

TRANSFORM = SceneTransform(0.2, (0.5, 0.1, -0.3))


def test_to_box_by_hand():
    assert torch.allclose(TRANSFORM.to_box(torch.tensor([1.0, 2.0, -1.0])), torch.tensor([0.7, 0.5, -0.5]))


def test_to_world_is_the_inverse():
    points = torch.rand(4, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(TRANSFORM.to_world(TRANSFORM.to_box(points)), points)


def test_world_box_holds_the_corners():
    corners = TRANSFORM.to_box(TRANSFORM.world_box)
    assert torch.allclose(corners, torch.tensor([[0.0] * 3, [1.0] * 3]), atol=1e-6)


# --- another box


@pytest.fixture
def scene():
    split = Split([], torch.zeros(0, 3, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    return Scene("none", Path(), split, None, split, SceneTransform(0.1, (0.5, 0.5, 0.5)), 3, False, "")


def test_a_box_is_the_smallest_cube_around_it(scene):
    within = scene.within((0, 1, 2, 2, 5, 3))
    assert torch.allclose(within.transform.world_box, torch.tensor([[-1.0, 1, 0.5], [3, 5, 4.5]]))
    assert within.cascades == 2  # 4 units of 10, of which the smallest cascade had 2.5


@pytest.mark.parametrize(("scale", "cascades"), [(0.25, 1), (0.5, 2), (1.0, 3), (2.0, 4), (1000.0, 5)])
def test_a_box_so_many_times_as_large(scene, scale, cascades):
    within = scene.within(scale=scale)
    assert torch.allclose(within.transform.world_box, scale * scene.transform.world_box)
    assert within.cascades == cascades
    assert (within.transform == scene.transform) == (scale == 1)


@pytest.mark.parametrize(
    ("box", "scale"), [((0, 0, 0, 1, 1, 0), 1), ((0, 0, 0, 1, 1), 1), ((0, 0, 0, 1, 1, math.inf), 1), (None, 0), (None, math.nan)]
)
def test_a_box_without_inside_is_told_in_words(scene, box, scale):
    with pytest.raises(SceneError, match="is no box; give three world coordinates of the lower corner"):
        scene.within(box, scale)
