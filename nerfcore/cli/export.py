"""`nerfcore export`"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from nerfcore.cli.options import Hardware, UsesModel


@dataclass
class Export(Hardware, UsesModel):
    """Writes the surface of a model as a coloured mesh in the scene's own coordinates."""

    out: Annotated[Positional[Path], arg(metavar="MESH")]
    """File to write: .glb, .obj or .ply."""
    resolution: int = 256
    """Samples along the longest side of the box."""
    iso: float | None = None
    """Density of the surface, per world unit; default: half opaque within one cell."""
    box: tuple[float, float, float, float, float, float] | None = None
    """World coordinates of the lower corner, then of the upper one, of what to write; default: the model's box."""

    def run(self) -> int:
        import nerfcore
        from nerfcore.cli.console import print_table

        model = nerfcore.load(self.model, self.device, self.backend)
        mesh = nerfcore.export_mesh(model, self.out, resolution=self.resolution, iso=self.iso, box=self.box)
        print_table([("mesh", f"{self.out}: {len(mesh.vertices):,} vertices, {len(mesh.faces):,} triangles")])
        return 0
