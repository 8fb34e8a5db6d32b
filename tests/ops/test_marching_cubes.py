"""Marching cubes: kernel = reference, closed forms, topology in every case, and errors in words."""

import math

import pytest
import torch

from nerfcore.ops.marching_cubes import CELL_FACES, EDGES, marching_cubes, marching_cubes_reference, triangle_table

DTYPES = (torch.float32, torch.float64)
# a word holds 63 cells along z, a chunk 16 planes along x
SHAPES = [(2, 2, 2), (5, 4, 3), (3, 9, 64), (4, 3, 65), (3, 3, 131), (17, 3, 63), (35, 2, 127), (16, 5, 128), (2, 33, 2)]


def grid(n, dtype=torch.float64):
    axis = torch.linspace(-1, 1, n, dtype=dtype)
    return torch.meshgrid(axis, axis, axis, indexing="ij")


def ball(n, radius, dtype=torch.float64):
    x, y, z = grid(n, dtype)
    return radius - (x * x + y * y + z * z).sqrt()


def torus(n, major, minor, dtype=torch.float64):
    x, y, z = grid(n, dtype)
    return minor - (((x * x + y * y).sqrt() - major).square() + z * z).sqrt()


def noise(shape, seed, dtype=torch.float32):
    """Random values inside a border of low ones, so that the surface is closed."""
    volume = torch.zeros([n + 2 for n in shape], dtype=dtype)
    volume[1:-1, 1:-1, 1:-1] = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return volume


def run(volume, iso, backend):
    vertices, faces = marching_cubes(volume.to("cuda" if backend == "cuda" else "cpu"), iso, backend)
    return vertices.cpu(), faces.cpu()


def area_and_volume(vertices, faces):
    a, b, c = vertices[faces].unbind(1)
    normal = torch.linalg.cross(b - a, c - a)
    return normal.norm(dim=-1).sum().item() / 2, (a * normal).sum().item() / 6


def directed_edges(faces):
    return torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def assert_closed_manifold(vertices, faces):
    """Each directed edge occurs once, and so does its reverse: exactly two faces meet at an edge, oriented alike. And
    the faces at a vertex form one fan."""
    edges = directed_edges(faces)
    forward = edges[:, 0] * len(vertices) + edges[:, 1]
    backward = edges[:, 1] * len(vertices) + edges[:, 0]
    assert len(forward.unique()) == len(forward)
    assert torch.equal(forward.sort().values, backward.sort().values)
    # the edges opposite to a vertex link its neighbours into cycles: its faces are one fan if that is one cycle
    corners = torch.cat([faces, faces[:, [1, 2, 0]], faces[:, [2, 0, 1]]]).tolist()
    ring = {}
    for vertex, start, end in corners:
        ring.setdefault(vertex, {})[start] = end
    assert len(ring) == len(vertices)
    for following in ring.values():
        first = at = next(iter(following))
        steps = 0
        while steps == 0 or at != first:
            at, steps = following[at], steps + 1
        assert steps == len(following)


def euler_characteristic(vertices, faces):
    return len(vertices) - len(directed_edges(faces)) // 2 + len(faces)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_backends_give_the_same_mesh(backend, dtype, shape):
    volume = torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=dtype)
    vertices, faces = run(volume, 0.1, backend)
    expected_vertices, expected_faces = marching_cubes_reference(volume, 0.1)
    assert vertices.dtype == dtype and faces.dtype == torch.int64
    assert torch.equal(faces, expected_faces)
    assert torch.equal(vertices, expected_vertices)  # the same operations in the same order: equal to the last bit


def test_threads_do_not_change_the_mesh():
    volume = noise((40, 30, 70), seed=3)
    threads, meshes = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            meshes.append(marching_cubes(volume, 0.5))
    finally:
        torch.set_num_threads(threads)
    for vertices, faces in meshes[1:]:
        assert torch.equal(vertices, meshes[0][0]) and torch.equal(faces, meshes[0][1])


@pytest.mark.parametrize("z", [0, 1, 62, 63, 64, 126, 127, 199])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_flat_surface_lies_where_it_is_wherever_words_end(backend, z, sign):
    """Rows are all on one side but for one step, so that skipping what is uniform must not skip it."""
    volume = sign * (torch.arange(201.0) - z - 0.25).expand(20, 4, 201)
    vertices, faces = run(volume, 0.0, backend)
    assert torch.equal(vertices[:, 2], torch.full((80,), z + 0.25))
    assert len(faces) == 19 * 3 * 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [(0, 0, 0), (1, 2, 62), (17, 1, 63), (16, 0, 64), (18, 2, 129)])
def test_one_value_that_is_not_finite_is_seen(backend, value, at):
    volume = torch.zeros(19, 3, 130)
    volume[at] = value
    with pytest.raises(ValueError, match="volume must be finite"):
        run(volume, 0.5, backend)


def test_sphere_has_its_area_volume_and_no_hole(backend):
    n, radius = 65, 0.7
    vertices, faces = run(ball(n, radius), 0.0, backend)
    scale = 2 / (n - 1)
    area, volume = area_and_volume(vertices * scale - 1, faces)
    # a chord of length h sags by h² / 8r: with cells of 1/32 that is some 1e-4 of the radius
    assert area == pytest.approx(4 * math.pi * radius**2, rel=1e-3)
    assert volume == pytest.approx(4 / 3 * math.pi * radius**3, rel=2e-3)  # positive: normals point outside
    assert euler_characteristic(vertices, faces) == 2
    assert_closed_manifold(vertices, faces)


def test_torus_has_one_hole(backend):
    vertices, faces = run(torus(48, 0.6, 0.25), 0.0, backend)
    assert euler_characteristic(vertices, faces) == 0
    assert_closed_manifold(vertices, faces)


def test_area_and_volume_agree_with_scikit_image(backend):
    measure = pytest.importorskip("skimage.measure")
    x, y, z = grid(50)
    field = ball(50, 0.75) + 0.08 * torch.sin(9 * x) * torch.cos(8 * y) * torch.sin(7 * z)
    vertices, faces = run(field, 0.0, backend)
    other_vertices, other_faces = (torch.tensor(part.copy()) for part in measure.marching_cubes(field.numpy(), 0.0)[:2])
    ours = area_and_volume(vertices, faces)
    theirs = area_and_volume(other_vertices.double(), other_faces.long())
    assert len(vertices) == len(other_vertices)
    # the vertices are the same, the diagonals of quads and hexagons are not
    assert ours[0] == pytest.approx(theirs[0], rel=1e-3)
    assert ours[1] == pytest.approx(abs(theirs[1]), rel=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_noise_is_watertight(backend, dtype):
    vertices, faces = run(noise((14, 15, 16), seed=1, dtype=dtype), 0.5, backend)
    assert_closed_manifold(vertices, faces)


def test_every_case_is_watertight(backend):
    """Each on its own, in an empty volume; noise brings them together."""
    for case in range(256):
        volume = torch.zeros(4, 4, 4)
        volume[1:3, 1:3, 1:3] = torch.tensor([float(case >> corner & 1) for corner in range(8)]).view(2, 2, 2)
        vertices, faces = run(volume, 0.25, backend)
        if case == 0:
            assert len(vertices) == len(faces) == 0
            continue
        assert_closed_manifold(vertices, faces)
        assert area_and_volume(vertices, faces)[1] > 0


def test_table_uses_exactly_the_crossed_edges_and_no_diagonal_in_a_face():
    table = triangle_table()
    assert table.shape == (256, 16) and table.dtype == torch.int8
    for case, (count, *edges) in enumerate(table.tolist()):
        crossed = {e for e, (low, high) in enumerate(EDGES) if (case >> low ^ case >> high) & 1}
        triangles = [edges[3 * n : 3 * n + 3] for n in range(count)]
        assert {e for triangle in triangles for e in triangle} == crossed
        sides = [frozenset(pair) for t in triangles for pair in zip(t, t[1:] + t[:1], strict=True)]
        for side in set(sides):
            a, b = side
            in_face = any({*EDGES[a], *EDGES[b]} <= set(face) for face in CELL_FACES)
            assert sides.count(side) == (1 if in_face else 2)


def test_samples_across_a_diagonal_stay_apart(backend):
    volume = torch.zeros(4, 4, 4)
    volume[1, 1, 1] = volume[1, 2, 2] = 1.0
    vertices, faces = run(volume, 0.5, backend)
    assert euler_characteristic(vertices, faces) == 4  # two spheres


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_nothing_crosses(backend, value):
    vertices, faces = run(torch.full((5, 6, 7), value), 0.5, backend)
    assert vertices.shape == (0, 3) and faces.shape == (0, 3) and faces.dtype == torch.int64


def test_sample_equal_to_iso_is_outside(backend):
    volume = torch.zeros(3, 3, 3)
    volume[1, 1, 1] = 1.0
    assert len(run(volume, 1.0, backend)[0]) == 0
    vertices, faces = run(volume, 0.0, backend)
    assert_closed_manifold(vertices, faces)
    assert torch.equal(vertices.sort(0).values[[0, -1]], torch.tensor([[0.0] * 3, [2.0] * 3]))


def test_extreme_values_give_finite_vertices(backend):
    volume = torch.zeros(3, 3, 3)
    volume[1, 1, 1] = 3e38
    volume[0] = -3e38
    vertices, _ = run(volume, 1e-38, backend)
    assert len(vertices) == 6 and torch.isfinite(vertices).all()


def test_a_transposed_volume_is_read_as_it_looks(backend):
    volume = ball(12, 0.6).permute(2, 0, 1)[:, :, 2:]
    vertices, faces = run(volume, 0.0, backend)
    expected = marching_cubes_reference(volume.contiguous(), 0.0)
    assert torch.equal(vertices, expected[0]) and torch.equal(faces, expected[1])


@pytest.mark.parametrize(
    "volume, iso, message",
    [
        (torch.zeros(4, 4), 0.5, "shape"),
        (torch.zeros(4, 4, 1), 0.5, "at least 2 samples"),
        (torch.zeros(0, 4, 4), 0.5, "at least 2 samples"),
        (torch.zeros(4, 4, 4, dtype=torch.int32), 0.5, "float32 or float64"),
        (torch.full((4, 4, 4), math.nan), 0.5, "finite"),
        (torch.full((4, 4, 4), math.inf), 0.5, "finite"),
        (torch.zeros(4, 4, 4), math.nan, "iso must be finite"),
    ],
)
def test_bad_input_is_named(backend, volume, iso, message):
    with pytest.raises(ValueError, match=message):
        run(volume, iso, backend)
