"""Trees of triangles: every backend as the reference · the reference as trimesh · spheres, boxes and rings in closed form ·
winding numbers with and without holes · no ray slips through · what is degenerate, infinite or wrong."""

from __future__ import annotations

import math

import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from nerfcore.data.triangles import load_triangles
from nerfcore.ops.bvh import (
    any_hit,
    build_bvh,
    first_hit,
    first_hit_reference,
    nearest_point,
    nearest_point_reference,
    signed_distance,
    winding_number,
    winding_number_reference,
)
from nerfcore.synthetic import sdf
from nerfcore.testing import assert_matches
from tests import solids

INF = math.inf


def soup(count=300, seed=0, dtype=torch.float64):
    """Small triangles anywhere in the unit cube, some of them long, flat, a point, or there twice."""
    g = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 1, 3, generator=g) + 0.1 * torch.randn(count, 3, 3, generator=g)
    corners[:10] = corners[:10] * torch.tensor([1.0, 1.0, 0.0])
    corners[10:13] = corners[10:13, :1]
    corners[13:16, 2] = 0.5 * (corners[13:16, 0] + corners[13:16, 1])
    corners[16:20] = corners[20:24]
    return corners.reshape(-1, 3).to(dtype), torch.arange(3 * count).view(-1, 3)


def points_around(count, seed=1, dtype=torch.float32, size=2.0):
    g = torch.Generator().manual_seed(seed)
    return (size * (torch.rand(count, 3, generator=g, dtype=torch.float64) - 0.5)).to(dtype)


def rays_around(count, seed=2, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    origin = 3 * torch.nn.functional.normalize(torch.randn(count, 3, generator=g, dtype=torch.float64), dim=1)
    target = torch.rand(count, 3, generator=g, dtype=torch.float64) - 0.5
    direction = (target - origin) * torch.rand(count, 1, generator=g, dtype=torch.float64)
    direction[::7, 0] = 0
    return origin.to(dtype), direction.to(dtype)


def tree(mesh, dtype=torch.float32, device="cpu", backend="auto"):
    return build_bvh(*solids.tensors(mesh, dtype, device), backend=backend)


# --- every backend gives the reference's numbers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nearest_points_equal_the_reference(backend, device, dtype):
    vertices, faces = soup()
    point = points_around(400, dtype=dtype, size=3.0)
    truth = nearest_point_reference(build_bvh(vertices, faces, "reference"), point.double())
    yardstick = nearest_point_reference(build_bvh(vertices.to(dtype), faces, "reference"), point)
    bvh = build_bvh(vertices.to(dtype).to(device), faces.to(device), backend)
    distance, triangle, nearest = nearest_point(bvh, point.to(device), backend=backend)
    assert_matches(distance, yardstick[0], truth[0])
    assert_matches((nearest.cpu() - point).norm(dim=1), yardstick[0], truth[0], what="the nearest point's distance")
    alone = [
        nearest_point_reference(build_bvh(vertices, faces[t, None], "reference"), p[None].double())[0]
        for t, p in zip(triangle[:50].cpu(), point[:50], strict=True)
    ]
    assert_matches(distance[:50], yardstick[0][:50], torch.cat(alone), floor=1e-5, what="the face's distance")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_winding_numbers_equal_the_reference(backend, device, dtype):
    mesh, point = solids.bowl(), points_around(500, dtype=dtype, size=3.0)
    truth = winding_number_reference(tree(mesh, torch.float64), point.double())
    yardstick = winding_number_reference(tree(mesh, dtype), point)
    bvh = tree(mesh, dtype, device, backend)
    exact = winding_number(bvh, point.to(device), accuracy=INF, backend=backend)
    assert_matches(exact, yardstick, truth)
    assert (winding_number(bvh, point.to(device), backend=backend).cpu() - truth).abs().max() < 0.05
    closer = winding_number(bvh, point.to(device), accuracy=8.0, backend=backend).cpu()
    assert (closer - truth).abs().max() < 0.004  # the error falls with the square of the accuracy


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_first_hits_equal_the_reference(backend, device, dtype):
    vertices, faces = soup()
    vertices = vertices - 0.5
    origin, direction = rays_around(1000, dtype=dtype)
    everywhere = torch.full((1000,), INF, dtype=dtype)
    truth = first_hit_reference(
        build_bvh(vertices, faces, "reference"), origin.double(), direction.double(), everywhere.double()
    )
    yardstick = first_hit_reference(build_bvh(vertices.to(dtype), faces, "reference"), origin, direction, everywhere)
    bvh = build_bvh(vertices.to(dtype).to(device), faces.to(device), backend)
    distance, triangle, barycentric = (
        t.cpu() for t in first_hit(bvh, origin.to(device), direction.to(device), backend=backend)
    )
    found, expected = triangle >= 0, truth[1] >= 0
    # Rays that pass an edge within rounding may meet what is on either side of it.
    assert (found != expected).sum() <= (0 if dtype == torch.float64 else 2) and 0.2 < found.float().mean() < 0.98
    close = found & expected & (yardstick[1] >= 0) & ((distance - truth[0]).abs() < 1e-2)
    assert close.sum() >= expected.sum() - 3
    assert_matches(distance[close], yardstick[0][close], truth[0][close], floor=1e-5)
    u, v = barycentric[found].double().unbind(1)
    a, b, c = vertices[faces[triangle[found]]].unbind(1)
    at = (1 - u - v)[:, None] * a + u[:, None] * b + v[:, None] * c
    on_ray = (origin + distance[:, None] * direction)[found].double()
    assert (at - on_ray).abs().max() < (1e-4 if dtype == torch.float32 else 1e-11)
    assert barycentric[~found].eq(0).all() and distance[~found].isinf().all()
    hit = any_hit(bvh, origin.to(device), direction.to(device), backend=backend)
    assert torch.equal(hit.cpu(), found)


def test_the_reference_is_as_trimesh_has_it():
    mesh = trimesh.creation.icosphere(subdivisions=1)
    point = points_around(40, dtype=torch.float64, size=3.0)
    pairs = torch.cartesian_prod(torch.arange(len(point)), torch.arange(len(mesh.faces)))
    nearest = trimesh.triangles.closest_point(mesh.triangles[pairs[:, 1]], point[pairs[:, 0]].numpy())
    distance = (torch.tensor(nearest) - point[pairs[:, 0]]).norm(dim=1).view(len(point), -1).amin(1)
    assert torch.allclose(nearest_point(tree(mesh, torch.float64), point, backend="reference")[0], distance)


def test_many_threads_give_the_same_bits(kernels):
    bvh, point, rays, before = tree(solids.ring()), points_around(5000), rays_around(5000), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            found = *nearest_point(bvh, point), winding_number(bvh, point), *first_hit(bvh, *rays), any_hit(bvh, *rays)
            results.append([*found, build_bvh(*solids.tensors(solids.ring())).link])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


# --- the tree


def test_a_tree_holds_every_triangle_once_and_in_its_boxes(kernels):
    vertices, faces = soup(2000)
    bvh = build_bvh(vertices, faces)
    assert torch.equal(bvh.face.sort().values, torch.arange(2000)) and torch.equal(bvh.corners, vertices[faces[bvh.face]])
    second, begin, end = bvh.link.long().unbind(1)
    leaf = second == 0
    assert (end - begin)[leaf].max() <= 4 and (end - begin)[leaf].sum() == 2000
    first = torch.arange(len(second)) + 1
    for child in (first[~leaf], second[~leaf]):
        assert (bvh.box[child, :3] >= bvh.box[~leaf, :3]).all() and (bvh.box[child, 3:] <= bvh.box[~leaf, 3:]).all()
    assert torch.equal(begin[first[~leaf]], begin[~leaf]) and torch.equal(end[second[~leaf]], end[~leaf])
    assert torch.equal(end[first[~leaf]], begin[second[~leaf]])
    for box, b, e in zip(bvh.box[leaf], begin[leaf], end[leaf], strict=True):
        corners = bvh.corners[b:e].flatten(0, 1)
        assert torch.equal(box, torch.cat([corners.amin(0), corners.amax(0)]))


def test_triangles_in_one_place_and_in_a_row_still_end(kernels):
    same = torch.tensor([[0.1, 0.2, 0.0], [0.9, 0.3, 0.0], [0.4, 0.8, 0.0]]).repeat(5000, 1)
    powers = torch.stack([2.0 ** -torch.arange(120.0), torch.zeros(120), torch.zeros(120)], 1)  # halved again and again
    for corners in (same, (powers[:, None] * torch.tensor([[1.0], [1.1], [1.05]])).reshape(-1, 3)):
        bvh = build_bvh(corners, torch.arange(len(corners)).view(-1, 3))
        distance, _, _ = nearest_point(bvh, corners[::50] + torch.tensor([0.0, 0.0, 1e-3]))
        assert torch.allclose(distance, torch.full_like(distance, 1e-3), rtol=1e-2)


def test_kernels_answer_from_the_tree_of_the_reference(kernels):
    vertices, faces = solids.tensors(solids.ring())
    one_leaf, whole, point = build_bvh(vertices, faces, "reference"), build_bvh(vertices, faces), points_around(200)
    assert len(one_leaf.link) == 1 and len(whole.link) > 1000
    assert torch.allclose(nearest_point(one_leaf, point)[0], nearest_point(whole, point)[0], atol=1e-6)


# --- closed forms


def test_distance_to_a_ball(backend, device):
    mesh, point = solids.ball(), points_around(300, size=4.0)
    distance = signed_distance(tree(mesh, device=device, backend=backend), point.to(device), backend=backend).cpu()
    exact = point.norm(dim=1) - 1
    assert (distance - exact).min() > -1e-6 and (distance - exact).max() < 1 - solids.inner_radius(mesh) + 1e-6


def test_distance_to_a_box(backend, device):
    point = points_around(2000)
    bvh = tree(solids.cuboid(), device=device, backend=backend)
    distance = signed_distance(bvh, point.to(device), backend=backend).cpu()
    assert torch.allclose(distance, sdf.box(point, (0.5, 0.3, 0.2)), atol=1e-6)


def test_distance_to_a_ring_has_its_hole(kernels):
    point = points_around(3000, size=2.2)
    distance = signed_distance(tree(solids.ring()), point)
    assert (distance - sdf.torus(point, 0.7, 0.25)).abs().max() < 2e-3  # what flat faces cut off
    assert (distance < 0).any() and signed_distance(tree(solids.ring()), torch.zeros(1, 3)).item() > 0.4


def test_a_distance_is_as_accurate_however_near(backend, device):
    bvh = tree(solids.cuboid(), device=device, backend=backend)
    off = 10.0 ** -torch.arange(1, 7)
    point = torch.tensor([[0.1, 0.05, 0.2]]) + torch.stack([0 * off, 0 * off, off], 1)
    distance, _, nearest = nearest_point(bvh, point.to(device), backend=backend)
    assert torch.allclose(distance.cpu(), point[:, 2] - torch.tensor(0.2), rtol=1e-5)
    assert torch.allclose(nearest.cpu()[:, 2], torch.tensor(0.2))


# --- winding numbers


@pytest.mark.parametrize("solid", [solids.ball, solids.cuboid, solids.ring])
def test_winding_numbers_of_closed_surfaces_are_whole(kernels, solid):
    winding = winding_number(tree(solid()), points_around(2000, size=2.5))
    assert ((winding - winding.round()).abs() < 0.1).all() and set(winding.round().tolist()) == {0.0, 1.0}


def test_a_hole_is_filled_half_way(backend, device):
    """Inside a ball without its cap, and outside; the cap's own share makes the sum whole."""
    whole, open_ball = solids.ball(), solids.bowl()
    cap = whole.submesh([whole.triangles_center[:, 2] >= 0.7], append=True)
    point = points_around(300, size=3.0).to(device)
    of_bowl, of_cap = (
        winding_number(tree(m, device=device, backend=backend), point, INF, backend) for m in (open_ball, cap)
    )
    inside = point.norm(dim=1) < solids.inner_radius(whole)
    assert ((of_bowl + of_cap)[inside] - 1).abs().max() < 1e-4
    deep = inside & (point[:, 2] < 0.4)
    assert (of_bowl[deep] > 0.5).all() and (of_bowl[point.norm(dim=1) > 1.01] < 0.5).all()


def test_surfaces_that_cross_and_that_are_inside_out(kernels):
    one, other = solids.ball(2), solids.ball(2)
    other.apply_translation((0.8, 0, 0))
    both, point = trimesh.util.concatenate([one, other]), torch.tensor([[-0.5, 0, 0], [0.4, 0, 0], [1.4, 0, 0], [2.4, 0, 0]])
    assert [round(w) for w in winding_number(tree(both), point).tolist()] == [1, 2, 1, 0]
    distance = signed_distance(tree(both), point)
    assert (distance < 0).tolist() == [True, True, True, False]
    one.invert()
    assert winding_number(tree(one), torch.zeros(1, 3), math.inf).item() == pytest.approx(-1, abs=1e-3)


# --- rays


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_no_ray_slips_through_an_edge_or_a_vertex(seed):
    """Aimed from anywhere inside a ball at its vertices, at the middles of its edges, and along the axes."""
    mesh = solids.ball(2)
    g = torch.Generator().manual_seed(seed)
    edges = torch.tensor(mesh.vertices[mesh.edges_unique], dtype=torch.float32)
    target = torch.cat([torch.tensor(mesh.vertices, dtype=torch.float32), edges.mean(1), torch.eye(3), -torch.eye(3)])
    origin = (0.5 * (torch.rand(1, 3, generator=g) - 0.5)).expand_as(target).contiguous()
    distance, triangle, _ = first_hit(tree(mesh), origin, target - origin)
    assert (triangle >= 0).all()
    aimed = slice(0, -6)
    assert torch.allclose(distance[aimed], torch.ones_like(distance[aimed]), atol=1e-4)


def test_rays_end_at_far(backend, device):
    bvh = tree(solids.ball(), device=device, backend=backend)
    origin, direction = (t.to(device) for t in rays_around(500))
    distance, triangle, _ = first_hit(bvh, origin, direction, backend=backend)
    far = torch.linspace(0, 4, 500, device=device)
    cut, _, _ = first_hit(bvh, origin, direction, far, backend=backend)
    assert torch.equal(cut, torch.where(distance < far, distance, INF))
    assert torch.equal(any_hit(bvh, origin, direction, far, backend=backend), distance < far)
    assert torch.equal(first_hit(bvh, origin, direction, 1.5, backend=backend)[1] >= 0, distance < 1.5)
    assert (triangle >= 0).any() and (triangle < 0).any()


def test_rays_meet_faces_from_behind_and_none_behind_them(backend, device):
    bvh = tree(solids.cuboid(), device=device, backend=backend)
    origin = torch.tensor([[0.0, 0.1, 0.05], [2.0, 0.1, 0.05], [2.0, 0.1, 0.05]], device=device)
    direction = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [-1.0, 0, 0]], device=device)
    assert first_hit(bvh, origin, direction, backend=backend)[0].tolist() == pytest.approx([0.5, INF, 1.5])


# --- limits of a search, and wrong input


def test_within_leaves_out_what_is_farther(backend, device):
    bvh, point = tree(solids.ring(), device=device, backend=backend), points_around(500).to(device)
    distance, triangle, _ = nearest_point(bvh, point, backend=backend)
    within = distance * torch.where(torch.arange(500, device=device) % 2 == 0, 1.01, 0.99)
    near, found, nearest = nearest_point(bvh, point, within, backend=backend)
    assert torch.allclose(near[::2], distance[::2]) and near[1::2].isinf().all()
    assert (found[::2] >= 0).all() and (found[1::2] == -1).all() and torch.equal(nearest[1::2], point[1::2])


def test_queries_that_are_no_numbers_find_nothing(backend, device):
    bvh = tree(solids.cuboid(), device=device, backend=backend)
    bad = torch.tensor([[math.nan, 0, 0], [0, INF, 0], [0, 0, 0]], device=device)
    distance, triangle, _ = nearest_point(bvh, bad, backend=backend)
    assert distance[:2].isinf().all() and triangle[:2].tolist() == [-1, -1] and distance[2] == pytest.approx(0.2)
    winding = winding_number(bvh, bad, backend=backend)
    assert winding[0].isnan() and winding[2] == pytest.approx(1)
    towards = torch.tensor([[0.0, 0.0, 1.0]], device=device).expand(3, 3)
    assert first_hit(bvh, bad, towards, backend=backend)[1][:1].tolist() == [-1]
    assert first_hit(bvh, bad[2:], bad[:1], backend=backend)[1].tolist() == [-1]
    assert first_hit(bvh, bad[2:], 0 * towards[:1], backend=backend)[1].tolist() == [-1]


def test_no_queries(backend, device):
    bvh, none = tree(solids.cuboid(), device=device, backend=backend), torch.zeros(0, 3, device=device)
    assert [len(t) for t in nearest_point(bvh, none, backend=backend)] == [0, 0, 0]
    assert len(winding_number(bvh, none, backend=backend)) == len(any_hit(bvh, none, none, backend=backend)) == 0


def test_errors_in_words():
    vertices, faces = solids.tensors(solids.cuboid())
    with pytest.raises(ValueError, match="vertices must be finite, got 1 that are not"):
        build_bvh(torch.cat([vertices[:-1], torch.full((1, 3), math.nan)]), faces)
    with pytest.raises(ValueError, match="faces must name vertices from 0 to 7, got 0 to 8"):
        build_bvh(vertices, faces + (faces == 7))
    with pytest.raises(ValueError, match="from 1 to 2147483647 triangles, got 0"):
        build_bvh(vertices, faces[:0])
    with pytest.raises(ValueError, match=r"faces must be torch.int64 on cpu, got torch.int32"):
        build_bvh(vertices, faces.int())
    with pytest.raises(ValueError, match=r"point must be torch.float32 like the other arguments, got torch.float64"):
        nearest_point(build_bvh(vertices, faces), torch.zeros(1, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="accuracy must be positive, got 0"):
        winding_number(build_bvh(vertices, faces), torch.zeros(1, 3), accuracy=0)


# --- real meshes


@pytest.mark.parametrize("name", ["bunny", "suzanne", "spot"])
def test_real_meshes_as_the_reference(kernels, shared_data, name):
    mesh = load_triangles(shared_data / "meshes" / f"{name}.obj")
    vertices = mesh.centred_in_box(0.1).to_box(mesh.vertices).float()
    bvh, point = build_bvh(vertices, mesh.faces), points_around(100, size=1.0) + 0.5
    assert torch.allclose(nearest_point(bvh, point)[0], nearest_point_reference(bvh, point)[0], atol=1e-6)
    assert (winding_number(bvh, point) - winding_number_reference(bvh, point)).abs().max() < 0.1
    origin, direction = points_around(100, 3) + 0.5, points_around(100, 4)
    distance, _, _ = first_hit(bvh, origin, direction)
    expected, _, _ = first_hit_reference(bvh, origin, direction, torch.full((100,), INF))
    assert (distance.isinf() == expected.isinf()).sum() >= 99
    both = distance.isfinite() & expected.isfinite()
    assert torch.allclose(distance[both], expected[both], rtol=1e-3)
