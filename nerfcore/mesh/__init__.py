"""From a density to a mesh file: everything here takes callables, so it serves any field."""

from nerfcore.mesh.extract import default_iso, extract_mesh
from nerfcore.mesh.io import save_mesh, unlit_glb
from nerfcore.mesh.mesh import Mesh
from nerfcore.mesh.visibility import View

__all__ = ["Mesh", "View", "default_iso", "extract_mesh", "save_mesh", "unlit_glb"]
