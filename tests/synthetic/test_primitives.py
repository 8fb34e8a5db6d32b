"""Signed distances of many solids at once, against points on their surfaces, against autograd and against one solid at a
time."""

import math

import pytest
import torch

from nerfcore.synthetic import primitives, sdf

DENSE = 200  # points along each parameter of a surface


def draw(*shape, seed=0, low=0.0, high=1.0):
    random = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(*shape, generator=random, dtype=torch.float64)


def revolved(profile):
    """Points of a surface of revolution about z, of a profile [M, 2] of radii and heights."""
    angle = torch.linspace(0, 2 * math.pi, DENSE + 1, dtype=torch.float64)[:-1]
    across, z = profile.T
    ring = torch.stack((angle.cos(), angle.sin()), 1)
    return torch.cat((across[:, None, None] * ring, z[:, None, None].expand(-1, DENSE, 1)), 2).view(-1, 3)


def segment(start, end):
    share = torch.linspace(0, 1, DENSE, dtype=torch.float64)[:, None]
    return (1 - share) * torch.tensor(start, dtype=torch.float64) + share * torch.tensor(end, dtype=torch.float64)


def arc(centre, radius, start, end):
    angle = torch.linspace(start, end, DENSE, dtype=torch.float64)
    return torch.tensor(centre, dtype=torch.float64) + radius * torch.stack((angle.cos(), angle.sin()), 1)


def box_surface(half):
    side = torch.linspace(-1, 1, DENSE, dtype=torch.float64)
    u, v = (grid.flatten() for grid in torch.meshgrid(side, side, indexing="ij"))
    faces = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            columns = [u, v]
            columns.insert(axis, torch.full_like(u, sign))
            faces.append(torch.stack(columns, 1))
    return torch.cat(faces) * torch.tensor(half, dtype=torch.float64)


HALF_PI = math.pi / 2
SOLIDS = {  # the distance, points all over the surface, and whether a point is inside
    "sphere": (
        lambda p: primitives.sphere(p, 0.7),
        lambda: revolved(arc((0, 0), 0.7, -HALF_PI, HALF_PI)),
        lambda p: p.norm(dim=1) < 0.7,
    ),
    "box": (
        lambda p: primitives.box(p, (0.5, 0.3, 0.8)),
        lambda: box_surface((0.5, 0.3, 0.8)),
        lambda p: (p.abs() < torch.tensor((0.5, 0.3, 0.8))).all(1),
    ),
    "torus": (
        lambda p: primitives.torus(p, 0.6, 0.25),
        lambda: revolved(arc((0.6, 0), 0.25, 0, 2 * math.pi)),
        lambda p: (p[:, :2].norm(dim=1) - 0.6).square() + p[:, 2].square() < 0.25**2,
    ),
    "cone": (
        lambda p: primitives.cone(p, 0.6, 0.7),
        lambda: revolved(torch.cat((segment((0, -0.7), (0.6, -0.7)), segment((0.6, -0.7), (0, 0.7))))),
        lambda p: (p[:, 2].abs() < 0.7) & (p[:, :2].norm(dim=1) < 0.6 * (0.7 - p[:, 2]) / 1.4),
    ),
    "capsule": (
        lambda p: primitives.capsule(p, 0.5, 0.3),
        lambda: revolved(torch.cat((segment((0.3, -0.5), (0.3, 0.5)), arc((0, 0.5), 0.3, 0, HALF_PI),
                                    arc((0, -0.5), 0.3, -HALF_PI, 0)))),
        lambda p: (p - p.clamp(p.new_tensor((0, 0, -0.5)), p.new_tensor((0, 0, 0.5)))).norm(dim=1) < 0.3,
    ),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_distance_is_that_to_the_nearest_point_of_the_surface(name):
    distance, surface, is_inside = SOLIDS[name]
    p = draw(200, 3, low=-1.3, high=1.3)
    nearest = torch.cdist(p, surface()).amin(1)
    inside = is_inside(p)
    found = distance(p)
    assert torch.equal(found < 0, inside) and inside.sum() > 3
    gap = 0.013  # about half the longest way between neighbours on any of the surfaces
    assert (found.abs() <= nearest + 1e-12).all()  # the samples are on the surface, so none is nearer
    assert (nearest - found.abs()).max() < gap


@pytest.mark.parametrize("name", SOLIDS)
def test_slope_is_one(name):
    p = draw(500, 3, seed=1, low=-1.3, high=1.3).requires_grad_()
    (slope,) = torch.autograd.grad(SOLIDS[name][0](p).sum(), p)
    assert (slope.norm(dim=1) - 1).abs().max() < 1e-9


def test_every_point_has_its_own_parameters():
    p, u = draw(50, 3, low=-1.0), draw(50, seed=2, low=0.1, high=0.5)
    many = {
        "sphere": lambda p, u: primitives.sphere(p, u),
        "box": lambda p, u: primitives.box(p, (u, 2 * u, 0.4)),
        "torus": lambda p, u: primitives.torus(p, 2 * u, u),
        "cone": lambda p, u: primitives.cone(p, u, 2 * u),
        "capsule": lambda p, u: primitives.capsule(p, u, 0.5 * u),
    }
    for name, function in many.items():
        together = function(p, u)
        apart = torch.stack([function(point, number) for point, number in zip(p, u.tolist(), strict=True)])
        assert together.shape == (50,) and (together - apart).abs().max() < 1e-12, name
        assert torch.equal(function(p.T.contiguous().T, u), together), name


def test_parameters_are_differentiable():
    p, u = draw(20, 3, low=-1.0), draw(20, seed=3, low=0.2, high=0.4).requires_grad_()
    for function in (
        lambda u: primitives.box(p, (u, 2 * u, 0.4)), lambda u: primitives.cone(p, u, 2 * u),
        lambda u: primitives.capsule(p, u, 0.5 * u), lambda u: primitives.torus(p, 2 * u, u),
    ):
        assert torch.autograd.gradcheck(function, u)


def test_combinations_hold_what_they_say_and_never_exceed_the_distance():
    p = draw(3000, 3, seed=4, low=-1.2, high=1.2)
    a = primitives.sphere(p, 0.7)
    b = primitives.box(p - torch.tensor((0.4, 0.0, 0.0)), (0.5, 0.3, 0.3))
    ways = {
        "union": (primitives.union(a, b), (a < 0) | (b < 0)),
        "intersection": (primitives.intersection(a, b), (a < 0) & (b < 0)),
        "difference": (primitives.difference(a, b), (a < 0) & ~(b < 0)),
    }
    for name, (distance, inside) in ways.items():
        assert torch.equal(distance < 0, inside) and 30 < inside.sum() < 2900, name
        for one, other in ((inside, ~inside), (~inside, inside)):  # whoever is across is at least so far
            assert (distance[one].abs() <= torch.cdist(p[one], p[other]).amin(1) + 1e-12).all(), name


def test_as_the_solids_of_fixed_parameters():
    p = draw(300, 3, seed=5, low=-1.2, high=1.2)
    assert torch.allclose(primitives.box(p, (0.5, 0.3, 0.8)), sdf.box(p, (0.5, 0.3, 0.8)), atol=1e-12)
    along = sdf.capsule(p, (0.0, 0.0, -0.5), (0.0, 0.0, 0.5), 0.3)
    assert torch.allclose(primitives.capsule(p, 0.5, 0.3), along, atol=1e-12)
