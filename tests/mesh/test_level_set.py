"""Meshes of signed distances: spheres and boxes as they are, closed at the border, errors in words."""

from __future__ import annotations

import math

import pytest
import torch

from nerfcore.errors import NerfcoreError
from nerfcore.mesh.level_set import extract_level_set
from nerfcore.synthetic import sdf

CUBE = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def test_a_ball_is_a_ball():
    seen = []

    def ball(points):
        seen.append(len(points))
        return sdf.sphere(points, 0.7)

    mesh = extract_level_set(ball, *CUBE, resolution=96)
    radius = mesh.vertices.norm(dim=1)
    assert (radius - 0.7).abs().max() < 2e-4  # of cells of 0.021: linear between samples
    assert (mesh.normals * mesh.vertices).sum(1).min() > 0.69  # outward
    edges = mesh.faces[:, [0, 1, 1, 2, 2, 0]].view(-1, 2).sort(1).values.unique(dim=0)
    assert len(mesh.vertices) - len(edges) + len(mesh.faces) == 2
    assert sum(seen) < 96**3 / 2  # near the surface alone


def test_samples_that_are_left_out_change_nothing():
    box = lambda p: sdf.box(p, (0.6, 0.3, 0.45), rounding=0.05)  # noqa: E731
    corners = (-1.0, -0.5, -0.7), (1.0, 0.5, 0.7)
    mesh = extract_level_set(box, *corners, resolution=80)
    # A distance so large that the coarse grid keeps nothing out, of the same zero.
    whole = extract_level_set(lambda p: 1e-6 * box(p), *corners, resolution=80)
    assert torch.equal(mesh.faces, whole.faces) and torch.allclose(mesh.vertices, whole.vertices, atol=1e-5)


def test_the_border_of_the_box_closes_the_surface():
    mesh = extract_level_set(lambda p: p[:, 2] - 0.2, *CUBE, resolution=24)
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    volume = (a * torch.linalg.cross(b, c)).sum().item() / 6
    assert volume == pytest.approx(2 * 2 * 1.2, rel=0.1)


def test_errors_in_words():
    with pytest.raises(NerfcoreError, match="There is no surface: the distance is at least 0.5"):
        extract_level_set(lambda p: 0.5 + 0 * p[:, 0], *CUBE, resolution=16)
    with pytest.raises(NerfcoreError, match="The distance is not finite at 125 of 125 points"):
        extract_level_set(lambda p: math.nan * p[:, 0], *CUBE, resolution=17)
