"""The similarity between the world and the box."""

import torch

from nerfcore.data import SceneTransform

TRANSFORM = SceneTransform(0.2, (0.5, 0.1, -0.3))


def test_to_box_by_hand():
    assert torch.allclose(TRANSFORM.to_box(torch.tensor([1.0, 2.0, -1.0])), torch.tensor([0.7, 0.5, -0.5]))


def test_to_world_is_the_inverse():
    points = torch.rand(4, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(TRANSFORM.to_world(TRANSFORM.to_box(points)), points)


def test_world_box_holds_the_corners():
    corners = TRANSFORM.to_box(TRANSFORM.world_box)
    assert torch.allclose(corners, torch.tensor([[0.0] * 3, [1.0] * 3]), atol=1e-6)
