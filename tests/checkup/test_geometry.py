"""What poses alone say: too little movement, sides that are not seen, copies."""

import math

import numpy as np
import pytest
import torch

from nerfcore.cameras import look_at
from nerfcore.checkup.geometry import coverage_findings, directions, gaps, pose_findings


class Named:
    def __init__(self, name):
        self.name = name


def ring(degrees, height=1.0):
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float32))
    eyes = torch.stack([3 * angle.cos(), 3 * angle.sin(), torch.full_like(angle, height)], 1)
    return look_at(eyes, (0.0, 0.0, 0.0)).double()


def found(poses, distance=3.0):
    photos = [Named(str(i)) for i in range(len(poses))]
    return {f.kind: f for f in pose_findings(photos, poses, torch.full((len(poses),), distance))}


def test_a_ring_is_covered():
    poses = ring(range(0, 360, 20))
    assert found(poses) == {} and coverage_findings(poses) == []


def test_a_ring_with_a_gap():
    finding, = coverage_findings(ring([*range(0, 180, 10), *range(250, 360, 10)], 0.0))
    assert finding.kind == "coverage" and "1 gap of 80°" in finding.what and "280° of a ring" in finding.what


def test_directions_are_angles_about_the_middle():
    azimuth, elevation = directions(ring([0, 90, 180, 270]))
    np.testing.assert_allclose(np.diff(np.unwrap(azimuth)), math.pi / 2, atol=1e-6)
    np.testing.assert_allclose(elevation, math.atan2(1, 3), atol=1e-6)
    assert [round(math.degrees(width)) for _, width in gaps(azimuth, elevation)] == [90] * 4


def test_cameras_that_look_the_same_way_have_no_ring():
    poses = ring([0.0]).repeat(5, 1, 1)
    poses[:, 1, 3] += torch.arange(5)
    assert directions(poses) is None and coverage_findings(poses) == []


@pytest.mark.parametrize(("spread", "kind"), [(1e-3, "no parallax"), (1.0, "on a line")])
def test_too_little_movement(spread, kind):
    poses = ring(range(0, 80, 10))
    poses[:, :, 3] = torch.tensor([1.0, 2.0, 3.0]) + spread * torch.arange(8)[:, None] * torch.tensor([0.1, 0.2, 0.0])
    assert found(poses).keys() == {kind}


def test_poses_that_are_there_twice():
    poses = ring([*range(0, 360, 20), 40])
    assert found(poses)["duplicate poses"].photos == ("2", "18")
