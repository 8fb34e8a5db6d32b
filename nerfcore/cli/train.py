"""`nerfcore train`"""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, Suppress

from nerfcore.cli.options import INTERRUPTED, Backend, Device, ScenePath, Serves, words_given
from nerfcore.errors import NerfcoreError
from nerfcore.training.config import TrainConfig

OF_A_FILE = {
    "image": ("picture", "nerfcore.training.picture", "train_picture"),
    "sdf": ("mesh", "nerfcore.applications.distance", "train_distance"),
}
"""Fields that are of a file: of what, and what trains them."""

OPTIONS_OF_A_FILE = "field", "minutes", "steps", "seed", "device", "backend"


@dataclass(frozen=True)
class Train(TrainConfig):
    """Trains a field on photographs, scores it on held-out views and leaves a run folder; or one on a picture or mesh.

    Without a scene it takes the built-in one. Ctrl-C saves what there is.
    """

    scene: Positional[ScenePath] = None
    """Folder of a capture: instant-ngp, nerfstudio, Blender, COLMAP, LLFF, NeuS, Polycam or Record3D; with --field
    image a picture, with --field sdf a mesh."""
    out: Path | None = None
    """Run folder; default: runs/ and the scene's name."""
    device: Device = "auto"
    """Where tensors live; auto takes the GPU if there is one."""
    backend: Backend = "auto"
    """Which implementation of the operations runs; auto takes the compiled kernels if they can be built."""
    field_config: Annotated[dict, Suppress] = dataclasses.field(default_factory=dict)
    resume: bool = False
    """Go on from the checkpoint in the run folder; give the other options as before."""
    video: bool = False
    """Also write video.mp4, a flight around the scene."""
    mesh: bool = False
    """Also write mesh.glb."""
    view: bool = False
    """Show the training in the browser while it goes on, and the result until Ctrl-C."""
    host: str = Serves.host
    """Address that the viewer listens at; 0.0.0.0 lets other machines in, and nothing asks them who they are."""
    port: int = Serves.port
    """Port of the viewer; if it is taken, one of the next."""
    print_config: bool = False
    """Print the settings as YAML and stop."""

    def run(self) -> int:
        settings = {field.name: getattr(self, field.name) for field in dataclasses.fields(TrainConfig)}
        out = self.out or Path("runs", self.scene.resolve().name if self.scene else "builtin")
        if self.print_config:
            import yaml

            scene = self.scene and str(self.scene)
            print(yaml.safe_dump(dict(scene=scene, out=str(out), **settings), sort_keys=False), end="")
            return 0

        if self.field in OF_A_FILE:
            return self._fit_file(out)
        if not self.view:
            return self._train(out, settings)
        import nerfcore.viewer.server  # noqa: F401  says what is missing before anything is loaded
        from nerfcore.applications.view import LiveView
        from nerfcore.cli.view import open_viewer, stay_open

        with contextlib.closing(LiveView(out, partial(open_viewer, self))) as live:
            status = self._train(out, settings, live)
            if status == 0 and live.viewer is not None:  # there is none if no step was left to make
                stay_open(live.viewer)
        return status

    def _train(self, out: Path, settings: dict, live=None) -> int:
        import nerfcore
        from nerfcore.cli.console import TrainingDisplay, words

        with TrainingDisplay() as display:

            def tell(progress) -> None:
                display(progress)
                if live is not None:
                    live.show(progress, words(progress))

            run = nerfcore.train(self.scene, out, resume=self.resume, on_progress=tell, before_step=live, **settings)
        if run.interrupted:
            print(f"Saved at step {display.last.step}; go on with: {self.resuming(out)}")
            return INTERRUPTED
        if live is not None:
            live.show_result(f"**{run.metrics['psnr']:.2f} dB** on held-out views")
        if self.video:
            from nerfcore.cli.render import video_with_bar
            from nerfcore.renderer.video import trajectory

            video_with_bar(run.model, out / "video.mp4", trajectory(run.model))
        if self.mesh:
            nerfcore.export_mesh(run.model, out / "mesh.glb")
        self._summary(run.metrics, out)
        return 0

    def _fit_file(self, out: Path) -> int:
        """A picture or a mesh in the place of a scene."""
        from nerfcore.cli.console import TrainingDisplay, duration, print_table

        what, home, name = OF_A_FILE[self.field]
        if self.scene is None:
            raise NerfcoreError(f"the field {self.field} is of a {what}; give its file")
        if unknown := [option for option in self.changed() if option not in OPTIONS_OF_A_FILE]:
            raise NerfcoreError(f"the field {self.field} knows no {', '.join(unknown)}; leave that out")
        with TrainingDisplay() as display:
            settings = {option: getattr(self, option) for option in OPTIONS_OF_A_FILE[1:]}
            run = getattr(import_module(home), name)(self.scene, out, on_progress=display, **settings)
        if not run.metrics:
            print(f"Saved at step {display.last.step} in {out}")
            return INTERRUPTED
        shown = "psnr", "ssim", "iou", "surface_error"
        files = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
        print_table([
            *((score, f"{run.metrics[score]:.5g}") for score in shown if score in run.metrics),
            ("time", f"{duration(run.metrics['train_seconds'])}, {run.metrics['steps']} steps"),
            ("files", f"{out}: {', '.join(files)}"),
        ])
        return 0

    def changed(self) -> list[str]:
        """Names of the settings that are not what they are without options."""
        names = (field.name for field in dataclasses.fields(TrainConfig))
        default = Train()
        return [name for name in names if getattr(self, name) != getattr(default, name)]

    def resuming(self, out: Path) -> str:
        """The command line that goes on with this run."""
        words = ["nerfcore", "train", *([str(self.scene)] if self.scene else []), "--out", str(out), "--resume"]
        return shlex.join([*words, *words_given(self, "scene", "out", "resume", "field_config")])

    def _summary(self, metrics: dict, out: Path) -> None:
        from nerfcore.cli.console import compact, duration, print_table, score_rows

        rays, samples = (compact(metrics[f"{what}_per_second"]) for what in ("rays", "samples"))
        hardware = f"{metrics['device']} ({metrics['backend']})"
        files = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
        print_table([
            *score_rows(metrics),
            ("time", f"{duration(metrics['train_seconds'])}, {metrics['steps']} steps on {hardware}"),
            ("rate", f"{rays} rays/s, {samples} samples/s"),
            ("files", f"{out}: {', '.join(files)}"),
        ])
