"""`nerfcore view`"""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from nerfcore.cli.options import Hardware, Serves, scene_of_run
from nerfcore.errors import SceneError


@dataclass
class View(Hardware, Serves):
    """Shows a run, or a capture alone, in the browser: pictures, cameras, the box, camera paths, mesh export."""

    what: Annotated[Positional[Path | None], arg(metavar="[RUN|SCENE]")] = None
    """Run folder, a model.nerf, or the folder of a capture; default: the built-in scene."""
    scene: Path | None = None
    """Where the photos of a run are; default: where they were in training."""
    downscale: int | None = None
    """Size of the photos, one K-th; default: as in training, or 1."""

    def run(self) -> int:
        from nerfcore.viewer.server import Viewer

        viewer = Viewer(self._content(), self.host, self.port)
        say_where(viewer, self.port)
        stay(viewer)
        return 0

    def _content(self):
        import nerfcore
        from nerfcore.applications.view import model_content, scene_content

        if self.what is None or self.what.is_dir() and not (self.what / "model.nerf").exists():
            return scene_content(nerfcore.load_scene(self.what, self.downscale or 1), Path())
        model = nerfcore.load(self.what, self.device, self.backend)
        folder = self.what if self.what.is_dir() else self.what.parent
        try:
            downscale = self.downscale or model.header["config"]["downscale"]
            scene = nerfcore.load_scene(self.scene or scene_of_run(folder), downscale)
        except SceneError as error:
            warnings.warn(f"the photos of this run are not shown: {error}", stacklevel=1)
            scene = None
        return model_content(model, scene, folder)


def say_where(viewer, port: int) -> None:
    """Prints where to look; port: the one that was asked for."""
    taken = f" (port {port} is taken)" if viewer.port != port else ""
    print(f"Open {viewer.url} in a browser{taken}.", flush=True)


def stay(viewer) -> None:
    """Waits for Ctrl-C, and closes the viewer."""
    print(f"{viewer.url} stays open until Ctrl-C.", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()
    finally:
        viewer.close()
