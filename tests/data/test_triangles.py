"""Meshes from files: what they hold, whether they are closed, and one error for each way in which they cannot be used."""

from __future__ import annotations

import re

import pytest
import torch

from nerfcore.data.triangles import Triangles, load_triangles
from nerfcore.errors import SceneError
from tests import solids

QUAD_WITH_SEAM = """
v 0 0 0
v 2 0 0
v 2 1 0
v 0 1 0
v 9 9 9
vt 0 0
vt 1 0
f 1/1 2/1 3/1 4/1
f 4/2 3/2 2/2 1/2
"""


@pytest.mark.parametrize("kind", ["obj", "ply", "stl", "off", "glb"])
def test_a_mesh_is_the_same_in_every_form(tmp_path, kind):
    mesh = solids.cuboid()
    mesh.export(tmp_path / f"block.{kind}")
    triangles = load_triangles(tmp_path / f"block.{kind}")
    assert (len(triangles.vertices), len(triangles.faces), triangles.name) == (8, 12, "block")
    assert triangles.is_closed and torch.allclose(triangles.box[1], torch.tensor([0.5, 0.3, 0.2]).double(), atol=1e-6)
    assert triangles.diagonal == pytest.approx(1.2329, abs=1e-4)


def test_polygons_are_cut_seams_closed_and_stray_vertices_left_out(tmp_path):
    (tmp_path / "quad.obj").write_text(QUAD_WITH_SEAM)
    triangles = load_triangles(tmp_path / "quad.obj")
    assert (len(triangles.vertices), len(triangles.faces)) == (4, 4)
    assert triangles.is_closed  # both sides of a sheet
    assert triangles.box.tolist() == [[0, 0, 0], [2, 1, 0]]


def test_a_surface_that_is_inside_out_is_turned(tmp_path):
    mesh = solids.ball(2)
    mesh.apply_translation((5, 0, 0))
    mesh.export(tmp_path / "right.ply")
    mesh.invert()
    mesh.export(tmp_path / "wrong.ply")
    right, wrong = (load_triangles(tmp_path / f"{name}.ply") for name in ("right", "wrong"))
    outward = [torch.linalg.cross(b - a, c - a) * (a - 5) for a, b, c in (t.vertices[t.faces].unbind(1) for t in (right, wrong))]
    assert all((o.sum(1) > 0).float().mean() > 0.4 for o in outward)
    assert torch.equal(right.vertices[right.faces].sum(1).sum(0), wrong.vertices[wrong.faces].sum(1).sum(0))


def test_what_is_closed():
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    vertices = torch.rand(4, 3, dtype=torch.float64)
    assert Triangles(vertices, faces).is_closed
    assert not Triangles(vertices, faces[:3]).is_closed
    turned = torch.cat([faces[:3], faces[3:].flip(1)])
    assert not Triangles(vertices, turned).is_closed
    assert Triangles(vertices, torch.cat([faces, faces])).is_closed


def test_the_box_holds_it_with_its_margin():
    triangles = Triangles(torch.tensor([[1.0, 2, 3], [5, 3, 3], [1, 2, 4]]).double(), torch.tensor([[0, 1, 2]]))
    transform = triangles.centred_in_box(0.1)
    box = transform.to_box(triangles.box)
    assert torch.allclose(box, torch.tensor([[0.1, 0.4, 0.4], [0.9, 0.6, 0.6]]).double())


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("absent.obj", None, "there is no such file; give a mesh"),
        ("scene.txt", "v 0 0 0", "is no mesh that can be read; save it as .obj"),
        ("broken.ply", "ply\nformat ascii 1.0\nelement vertex 9\n", "is no mesh that can be read"),
        ("broken.glb", "glTF", "is no mesh that can be read"),
        ("empty.obj", "", "; (holds no triangles|export it again)"),
        ("points.obj", "v 0 0 0\nv 1 0 0\n", "(holds no triangles|is no mesh)"),
        ("nan.obj", "v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n", "1 triangles have corners that are not finite"),
        ("dot.obj", "v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "all of its vertices are in one place"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(SceneError) as error:
        load_triangles(tmp_path / name)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / name}: ") and "\n" not in message
    assert re.search(said.removeprefix("; "), message), message


@pytest.mark.parametrize(
    "name, vertices, faces, is_closed",
    [("armadillo", 49990, 99976, True), ("bunny", 2503, 4968, False), ("rocker-arm", 10044, 20088, True),
     ("suzanne", 505, 968, False), ("spot", 2930, 5856, True)],
)
def test_real_meshes(shared_data, name, vertices, faces, is_closed):
    triangles = load_triangles(shared_data / "meshes" / f"{name}.obj")
    assert (len(triangles.vertices), len(triangles.faces), triangles.is_closed) == (vertices, faces, is_closed)
