"""`nerfcore view`"""

from __future__ import annotations

import contextlib
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
        import nerfcore.viewer.server  # noqa: F401  says what is missing before anything is loaded

        with contextlib.closing(open_viewer(self, self._content())) as viewer:
            stay_open(viewer)
        return 0

    def _content(self):
        import nerfcore
        from nerfcore.applications.view import model_content, scene_content

        file = self.what / "model.nerf" if self.what and self.what.is_dir() else self.what
        if file is None or file.suffix != ".nerf" or not file.exists():
            return scene_content(nerfcore.load_scene(self.what, self.downscale or 1), Path())
        model, folder = nerfcore.load(file, self.device, self.backend), file.parent
        try:
            downscale = self.downscale or model.header["config"]["downscale"]
            scene = nerfcore.load_scene(self.scene or scene_of_run(folder), downscale)
        except SceneError as error:
            warnings.warn(f"the photos of this run are not shown: {error}", stacklevel=1)
            scene = None
        return model_content(model, scene, folder)


def open_viewer(where: Serves, content, turns=None):
    """A :class:`~nerfcore.viewer.server.Viewer`, and a line that says where to look."""
    from nerfcore.viewer.server import Viewer

    viewer = Viewer(content, where.host, where.port, turns)
    taken = f" (port {where.port} is taken)" if viewer.port != where.port else ""
    print(f"Open {viewer.url} in a browser{taken}.", flush=True)
    return viewer


def stay_open(viewer) -> None:
    """Waits for Ctrl-C."""
    print(f"{viewer.url} stays open until Ctrl-C.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
