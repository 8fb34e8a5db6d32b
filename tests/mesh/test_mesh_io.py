"""Mesh files give back the world coordinates that went in."""

import io
import json

import numpy as np
import pytest
import torch

from nerfcore.errors import OutputError
from nerfcore.mesh import Mesh, save_mesh, unlit_glb

trimesh = pytest.importorskip("trimesh")


@pytest.fixture
def mesh():
    generator = torch.Generator().manual_seed(0)
    vertices = torch.randn(5, 3, generator=generator) * torch.tensor([1000.0, 1.0, 0.001])
    normals = torch.nn.functional.normalize(torch.randn(5, 3, generator=generator), dim=-1)
    faces = torch.tensor([[0, 1, 2], [2, 1, 3], [3, 1, 4]])
    return Mesh(vertices, faces, torch.rand(5, 3, generator=generator), normals)


@pytest.mark.parametrize("extension", [".glb", ".ply", ".obj", ".PLY"])
def test_round_trip(tmp_path, mesh, extension):
    path = save_mesh(mesh, tmp_path / f"mesh{extension}")
    loaded = trimesh.load(path, force="mesh", process=False)
    # .obj is text with nine digits of the largest coordinate; the binary formats are exact
    tolerance = 1e-8 * mesh.vertices.abs().max().item() if extension == ".obj" else 0
    np.testing.assert_allclose(loaded.vertices, mesh.vertices.numpy(), rtol=0, atol=tolerance)
    np.testing.assert_array_equal(loaded.faces, mesh.faces.numpy())
    srgb = mesh.colors.double().numpy()
    expected = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4) if extension == ".glb" else srgb
    np.testing.assert_allclose(loaded.visual.vertex_colors[:, :3] / 255, expected, atol=0.51 / 255 + 1e-6)


def test_normals_are_written(tmp_path, mesh):
    path = save_mesh(mesh, tmp_path / "mesh.obj")
    normals = [line.split()[1:] for line in path.read_text().splitlines() if line.startswith("vn ")]
    np.testing.assert_allclose(np.array(normals, dtype=float), mesh.normals.numpy(), atol=1e-4)


@pytest.mark.parametrize("extension", [".glb", ".ply", ".obj"])
def test_bare_mesh(tmp_path, mesh, extension):
    path = save_mesh(Mesh(mesh.vertices, mesh.faces), tmp_path / f"mesh{extension}")
    assert len(trimesh.load(path, force="mesh", process=False).faces) == 3


@pytest.mark.parametrize("extension", [".glb", ".ply", ".obj"])
def test_unlit_glb_of_any_kind_of_file(tmp_path, mesh, extension):
    """The same vertices and linear colours, and a material that no light changes."""
    glb = unlit_glb(save_mesh(mesh, tmp_path / f"mesh{extension}"))
    tree = json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])  # after the headers of file and first chunk
    (primitive,) = tree["meshes"][0]["primitives"]
    assert tree["materials"][primitive["material"]]["extensions"] == {"KHR_materials_unlit": {}}
    loaded = trimesh.load(io.BytesIO(glb), file_type="glb", force="mesh", process=False, skip_materials=True)
    np.testing.assert_allclose(loaded.vertices, mesh.vertices.numpy(), rtol=0, atol=2e-8 * mesh.vertices.abs().max().item())
    np.testing.assert_array_equal(loaded.faces, mesh.faces.numpy())
    srgb = mesh.colors.double().numpy()
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(loaded.visual.vertex_colors[:, :3] / 255, linear, atol=1.5 / 255)  # rounded twice


def test_unlit_glb_of_something_else(tmp_path):
    (tmp_path / "mesh.ply").write_text("no mesh")
    with pytest.raises(OutputError, match="mesh.ply: is no mesh that can be read"):
        unlit_glb(tmp_path / "mesh.ply")


def test_unknown_extension(tmp_path, mesh):
    with pytest.raises(OutputError, match=r"\.glb, \.obj, \.ply"):
        save_mesh(mesh, tmp_path / "mesh.stl")


def test_unwritable_path(tmp_path, mesh):
    with pytest.raises(OutputError, match="missing"):
        save_mesh(mesh, tmp_path / "missing" / "mesh.ply")
    (tmp_path / "folder.ply").mkdir()
    with pytest.raises(OutputError, match="folder.ply"):
        save_mesh(mesh, tmp_path / "folder.ply")
