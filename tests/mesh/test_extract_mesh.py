"""extract_mesh on analytic densities: world coordinates, floaters, hidden and uncovered space, colours, errors."""

import math

import pytest
import torch

from nerfcore.errors import NerfcoreError
from nerfcore.mesh import View, default_iso, extract_mesh

trimesh = pytest.importorskip("trimesh")

IMAGE, FOCAL = 96, 110.0


def as_trimesh(mesh):
    return trimesh.Trimesh(mesh.vertices.double().numpy(), mesh.faces.numpy(), process=False)


def balls(*center_radius, density=1e4):
    """Solid balls: density inside, 0 outside, over a linear ramp of 0.02."""

    def at(points):
        depth = torch.stack([r - (points - points.new_tensor(c)).norm(dim=-1) for c, r in center_radius]).amax(0)
        return density * (depth / 0.02 + 0.5).clamp(0, 1)

    return at


def view_of(eye, *center_radius):
    """A pinhole camera at ``eye`` that looks at the origin, and the exact distances of balls in its pixels."""
    eye = torch.tensor(eye, dtype=torch.float32)
    forward = -eye / eye.norm()
    right = torch.linalg.cross(forward, torch.tensor([0.1, 0.2, 1.0]))
    right = right / right.norm()
    axes = torch.stack([right, torch.linalg.cross(forward, right), forward])  # rows: pixel x, pixel y (down), depth

    def project(points):
        local = (points - eye) @ axes.T
        pixel = FOCAL * local[:, :2] / local[:, 2:] + IMAGE / 2
        return pixel, local.norm(dim=-1), local[:, 2] > 0

    centre = torch.arange(IMAGE) + 0.5
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    direction = torch.stack([(x - IMAGE / 2) / FOCAL, (y - IMAGE / 2) / FOCAL, torch.ones_like(x)], dim=-1)
    direction = (direction / direction.norm(dim=-1, keepdim=True)) @ axes
    distance = torch.full((IMAGE, IMAGE), math.inf)
    for center, radius in center_radius:
        to_center = torch.tensor(center) - eye
        along = direction @ to_center
        inside = radius**2 - (to_center @ to_center - along * along)
        distance = torch.minimum(distance, torch.where(inside > 0, along - inside.clamp(min=0).sqrt(), math.inf))
    return View(project, distance)


def orbit(*center_radius, distance=3.5):
    """Fourteen cameras on all sides."""
    eyes = [
        (distance * math.cos(a) * math.cos(h), distance * math.sin(a) * math.cos(h), distance * math.sin(h))
        for h in (-0.6, 0.6) for a in (n * math.tau / 6 for n in range(6))
    ]
    return [view_of(eye, *center_radius) for eye in (*eyes, (0.0, 0.0, distance), (0.0, 0.0, -distance))]


def test_known_ball_in_known_coordinates(backend):
    center, radius = (12.0, -3.0, 100.0), 2.5
    mesh = extract_mesh(
        lambda x: 50.0 * ((x - x.new_tensor(center)).norm(dim=-1) < radius),
        (9, -6, 97), (15, 0, 103), 64, backend=backend,
    )
    solid = as_trimesh(mesh)
    assert solid.is_watertight and solid.is_winding_consistent and solid.euler_number == 2
    assert solid.volume == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.01)
    assert solid.centroid == pytest.approx(center, abs=1e-2)
    assert mesh.vertices.dtype == torch.float32 and mesh.faces.dtype == torch.int64
    outward = torch.nn.functional.normalize(mesh.vertices - torch.tensor(center), dim=-1)
    assert (mesh.normals * outward).sum(-1).min() > 0.7
    assert mesh.iso == pytest.approx(math.log(2) * 63 / 6)


def test_sides_of_a_box_may_differ():
    mesh = extract_mesh(balls(((0.0, 0.0, 0.0), 0.4)), (-2, -1, -0.5), (2, 1, 0.5), 81)
    assert mesh.vertices.abs().amax(0).tolist() == pytest.approx([0.4] * 3, abs=0.026)  # half a cell


def test_solid_at_the_border_is_closed():
    mesh = extract_mesh(lambda x: torch.full_like(x[:, 0], 1e4), (0, 0, 0), (1, 1, 1), 16)
    assert as_trimesh(mesh).is_watertight
    assert as_trimesh(mesh).volume == pytest.approx((1 + 1 / 15) ** 3, rel=0.02)


def test_steep_density_does_not_fatten():
    """Where the density jumps from 0 to 1e6 the vertex lies half way between samples, not on the empty one."""
    cut = extract_mesh(lambda x: 1e6 * (x[:, 2] < 0.5).float(), (0, 0, 0), (1, 1, 1), 12)
    assert cut.vertices[:, 2].max().item() == pytest.approx(0.5, abs=1e-4)


def test_iso_is_a_density():
    def ramp(points):
        return 100 * (1 - points.norm(dim=-1))

    for iso in (20.0, 60.0):
        mesh = extract_mesh(ramp, (-1, -1, -1), (1, 1, 1), 64, iso=iso)
        assert mesh.vertices.norm(dim=-1).mean().item() == pytest.approx(1 - iso / 100, abs=2e-3)
    assert default_iso((0, 0, 0), (1, 2, 1), 129) == pytest.approx(math.log(2) * 64)


def test_floaters_are_dropped_and_objects_stay():
    density = balls(((-0.5, 0.0, 0.0), 0.3), ((0.5, 0.0, 0.0), 0.2), ((0.0, 0.8, 0.8), 0.04))
    assert as_trimesh(extract_mesh(density, [-1] * 3, [1] * 3, 64)).body_count == 2
    assert as_trimesh(extract_mesh(density, [-1] * 3, [1] * 3, 64, min_component=0)).body_count == 3
    assert as_trimesh(extract_mesh(density, [-1] * 3, [1] * 3, 64, min_component=0.9)).body_count == 1


def test_seen_objects_are_neither_shaved_nor_fattened():
    objects = ((-0.45, 0.0, 0.0), 0.35), ((0.4, 0.1, 0.0), 0.3)
    plain = as_trimesh(extract_mesh(balls(*objects), [-1] * 3, [1] * 3, 64))
    seen = as_trimesh(extract_mesh(balls(*objects), [-1] * 3, [1] * 3, 64, views=orbit(*objects)))
    assert seen.is_watertight and seen.body_count == 2
    assert seen.volume == pytest.approx(plain.volume, rel=1e-3)


def test_what_the_field_makes_up_inside_is_filled():
    """A thin shell with rubbish inside, as trained fields have, becomes one solid."""
    ball = ((0.1, 0.0, -0.1), 0.6)

    def shell(points):
        depth = ball[1] - (points - points.new_tensor(ball[0])).norm(dim=-1)
        rubbish = (points * 37).sin().prod(-1) > 0.1
        return 1e4 * (((depth > 0) & (depth < 0.07)) | ((depth >= 0.07) & rubbish))

    assert as_trimesh(extract_mesh(shell, [-1] * 3, [1] * 3, 64)).body_count > 1
    solid = as_trimesh(extract_mesh(shell, [-1] * 3, [1] * 3, 64, views=orbit(ball)))
    assert solid.is_watertight and solid.body_count == 1 and solid.euler_number == 2
    assert solid.volume == pytest.approx(4 / 3 * math.pi * ball[1] ** 3, rel=0.02)


def test_a_room_with_cameras_in_it_stays_open():
    def walls(points):
        return 1e4 * (points.norm(dim=-1) > 0.8)

    views = []
    for eye in 0.1 * torch.cat([torch.eye(3), -torch.eye(3)]):
        view = view_of(eye.tolist())
        pixel = torch.arange(IMAGE) + 0.5 - IMAGE / 2
        secant = (1 + (pixel[:, None] / FOCAL) ** 2 + (pixel[None] / FOCAL) ** 2).sqrt()
        cosine = 1 / secant  # between the ray and the axis, through the centre of the sphere of radius 0.8
        views.append(View(view.project, 0.1 * cosine + (0.64 - 0.01 * (1 - cosine**2)).sqrt()))
    room = as_trimesh(extract_mesh(walls, [-1] * 3, [1] * 3, 48, views=views, min_component=0))
    inner = min(part.bounds[1].max() - part.bounds[0].min() for part in room.split(only_watertight=False))
    assert room.is_watertight and inner < 1.7


def test_space_that_no_camera_covers_is_carved():
    """One camera with a narrow view: the ball beside it goes, the ball in front stays."""
    inside, outside = ((0.0, 0.0, 0.0), 0.2), ((0.0, 0.8, 0.8), 0.15)
    views = [view_of(eye, inside) for eye in ((1.5, 0.0, 0.0), (-1.5, 0.0, 0.0))]
    kept = as_trimesh(extract_mesh(balls(inside, outside), [-1] * 3, [1] * 3, 64, views=views, min_component=0))
    assert kept.is_watertight and kept.bounds[1][1] < 0.5


def test_low_opacity_is_no_surface():
    ball = ((0.0, 0.0, 0.0), 0.5)
    views = [View(v.project, torch.full((IMAGE, IMAGE), 0.5), torch.full((IMAGE, IMAGE), 0.1)) for v in orbit(ball)]
    plain, seen = (extract_mesh(balls(ball), [-1] * 3, [1] * 3, 48, views=v) for v in (None, views))
    assert torch.equal(plain.vertices, seen.vertices)


def test_colours_are_asked_at_the_surface_from_outside():
    def color(points, normals):
        assert torch.allclose(normals.norm(dim=-1), torch.ones(len(normals)), atol=1e-5)
        return normals * 3  # beyond [0, 1]: clipped

    mesh = extract_mesh(balls(((0.0, 0.0, 0.0), 0.5)), [-1] * 3, [1] * 3, 32, color=color)
    assert torch.equal(mesh.colors, (mesh.normals * 3).clamp(0, 1))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"box_max": (1, 1, -1)}, "box_max must exceed"),
        ({"box_max": (1, 1, math.nan)}, "box_max must exceed"),
        ({"resolution": 1}, "resolution"),
        ({"iso": 0.0}, "iso"),
        ({"min_component": 2.0}, "min_component"),
        ({"density": lambda x: x}, "density must return"),
        ({"color": lambda x, n: x[:, :2]}, "color must return"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    call = {"density": balls(((0.0, 0.0, 0.0), 0.5)), "box_min": (-1, -1, -1), "box_max": (1, 1, 1), "resolution": 16}
    with pytest.raises(ValueError, match=message):
        extract_mesh(**{**call, **arguments})


def test_no_surface_says_the_range_and_what_to_do():
    with pytest.raises(NerfcoreError, match=r"between 0 and 1\.5 and the iso level is 20.*lower iso"):
        extract_mesh(lambda x: 1.5 * (x[:, 0] > 0), [-1] * 3, [1] * 3, 16, iso=20.0)
    nowhere = view_of((1.5, 0.0, 0.0))
    unseen = View(lambda x: (x[:, :2], x[:, 0], torch.zeros(len(x), dtype=torch.bool)), nowhere.distance_map)
    with pytest.raises(NerfcoreError, match="no camera looked"):
        extract_mesh(balls(((0.0, 0.0, 0.0), 0.5)), [-1] * 3, [1] * 3, 16, views=[unseen])


def test_nan_density_is_named():
    with pytest.raises(NerfcoreError, match="NaN"):
        extract_mesh(lambda x: x[:, 0] / 0 * 0, [-1] * 3, [1] * 3, 16)
