"""Similarities between two sets of cameras: found again, by centres and by views · nearest · rays move with poses · what cannot be told."""

import pytest
import torch

from nerfcore.cameras import Camera, Similarity, camera_rays, look_at, rotation_exp
from nerfcore.errors import SceneError


def cameras(count: int, seed: int = 0) -> torch.Tensor:
    eye = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    return look_at(3 * eye, (0.1, 0.2, 0.3)).double()


def some() -> Similarity:
    rotation = rotation_exp(torch.tensor([0.4, -1.1, 2.0], dtype=torch.float64))
    return Similarity(1.7, rotation, torch.tensor([3.0, -2.0, 0.5], dtype=torch.float64))


@pytest.mark.parametrize("count", [3, 20])
def test_a_similarity_is_found_again(count):
    centres = cameras(count)[:, :, 3]
    found = Similarity.between(centres, some().points(centres))
    assert found.scale == pytest.approx(1.7, rel=1e-12)
    assert torch.allclose(found.rotation, some().rotation, atol=1e-12)
    assert torch.allclose(found.translation, some().translation, atol=1e-12)


def test_of_a_noisy_set_no_other_is_nearer():
    centres = cameras(12)[:, :, 3]
    target = some().points(centres) + 0.2 * torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
    best = Similarity.between(centres, target)

    def error(scale, turn, shift):
        turned = rotation_exp(torch.as_tensor(turn, dtype=torch.float64)) @ best.rotation
        other = Similarity(best.scale * scale, turned, best.translation + torch.as_tensor(shift, dtype=torch.float64))
        return float((other.points(centres) - target).square().sum())

    least, zero, e = error(1, [0, 0, 0], [0, 0, 0]), [0.0, 0.0, 0.0], 1e-3
    for axis in range(3):
        for sign in (-e, e):
            one = [sign * (axis == i) for i in range(3)]
            assert error(1, one, zero) > least and error(1, zero, one) > least
    assert error(1 + e, zero, zero) > least and error(1 - e, zero, zero) > least


def test_a_mirrored_set_is_not_mirrored_back():
    centres = cameras(9)[:, :, 3]
    found = Similarity.between(centres, centres * torch.tensor([1.0, 1.0, -1.0]))
    assert torch.linalg.det(found.rotation) == pytest.approx(1)


def test_rays_of_a_moved_pose_are_moved_rays():
    pose, camera = cameras(1)[0], Camera(8, 6, 7.0, 7.0, 4.0, 3.0)
    rays, moved = camera_rays(camera, pose), camera_rays(camera, some().poses(pose))
    assert torch.allclose(some().points(rays.origin + 2 * rays.direction), moved.origin + 3.4 * moved.direction)


@pytest.mark.parametrize("points", [torch.zeros(1, 3), torch.randn(2, 3), torch.linspace(0, 1, 5)[:, None].repeat(1, 3)])
def test_centres_on_a_line_are_refused(points):
    with pytest.raises(SceneError, match=f"{len(points)} camera centres on a line"):
        Similarity.between(points, points)


def near_one() -> Similarity:
    rotation = rotation_exp(torch.tensor([0.1, -0.2, 0.05], dtype=torch.float64))
    return Similarity(1.1, rotation, torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64))


@pytest.mark.parametrize("wrong", [0, 20])
def test_a_similarity_is_found_again_by_what_cameras_see(wrong):
    """Even where some of them see something else."""
    poses, generator = cameras(200), torch.Generator().manual_seed(2)
    target = near_one().poses(poses)
    points = near_one().points(torch.randn(200, 3, generator=generator).double())
    target[:wrong, :, :3] = rotation_exp(torch.tensor([0.0, 0.2, 0.0]).double()) @ target[:wrong, :, :3]
    found = Similarity.between_views(poses, target, points)
    tolerance = 1e-2 if wrong else 1e-9
    assert found.scale == pytest.approx(1.1, rel=tolerance)
    assert torch.allclose(found.rotation, near_one().rotation, atol=tolerance)
    assert torch.allclose(found.translation, near_one().translation, atol=tolerance)


def test_cameras_that_circle_a_point_do_not_move_it():
    """All cameras of a dome one degree lower about what they look at: their centres say that all has moved down."""
    eye = torch.nn.functional.normalize(torch.randn(100, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    poses = look_at(4 * torch.cat([eye[:, :2], eye[:, 2:].abs()], dim=-1), (0.0, 0.0, 0.0)).double()
    turn = rotation_exp(0.0175 * poses[:, :, 0])
    lower = turn @ poses
    looked_at = torch.zeros(100, 3, dtype=torch.float64)
    by_centres = Similarity.between(poses[:, :, 3], lower[:, :, 3])
    by_views = Similarity.between_views(poses, lower, looked_at)
    assert by_centres.points(looked_at).norm(dim=-1).max() > 0.02
    assert by_views.points(looked_at).norm(dim=-1).max() < 1e-9


def test_without_points_nothing_moves():
    poses = cameras(0)
    assert torch.equal(Similarity.between_views(poses, poses, torch.zeros(0, 3)).rotation, torch.eye(3).double())


def test_one_after_another():
    both = some().then(near_one())
    points = cameras(5)[:, :, 3]
    assert torch.allclose(both.points(points), near_one().points(some().points(points)))
