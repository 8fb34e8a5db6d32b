"""`nerfcore convert`"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg


@dataclass
class Convert:
    """Writes a capture for other programs, with its photos, in the same world coordinates."""

    scene: Annotated[Positional[Path], arg(metavar="SCENE")]
    """Folder of a capture, of any form that train takes."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write to; empty or new."""
    to: Literal["nerfstudio", "colmap"] = "nerfstudio"
    """transforms.json, which instant-ngp reads too, or COLMAP's text model in sparse/0."""

    def run(self) -> int:
        from nerfcore.cli.console import counting, print_table
        from nerfcore.data.convert import convert_capture

        with counting("photos") as on_photo:
            capture = convert_capture(self.scene, self.out, self.to, on_photo)
        absent = f", {len(capture.absent)} listed ones do not exist" if capture.absent else ""
        print_table([("capture", f"{self.out}: {len(capture.entries)} photos{absent}")])
        return 0
