"""`nerfcore compare`"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from nerfcore.cli.options import Hardware, ScenePath


@dataclass
class Compare(Hardware):
    """Trains fields in turn on the same scene, and writes their scores and their pictures side by side."""

    scene: Positional[ScenePath] = None
    """Scene folder; default: the built-in scene."""
    fields: str = "ngp,plenoxels,tensorf"
    """Their names, with commas between them."""
    minutes: float | None = None
    """Wall time of training for each; 5 if neither minutes nor steps are given."""
    steps: int | None = None
    """Number of steps for each, instead of minutes."""
    downscale: int = 1
    """K: photographs are reduced by a K x K box mean."""
    preset: str = "default"
    """Size of the fields: fast, default or best."""
    seed: int = 0
    """Of every random number."""
    out: Path | None = None
    """Folder for the table, the picture and a run folder each; default: runs/ and the scene's name, -compared."""

    def run(self) -> int:
        from nerfcore.applications.compare import compare, table
        from nerfcore.cli.console import TrainingDisplay

        names = [name.strip() for name in self.fields.split(",") if name.strip()]
        scene = self.scene.resolve().name if self.scene else "builtin"
        out = self.out or Path("runs", f"{scene}-compared")
        settings = {name: getattr(self, name) for name in "minutes steps downscale preset seed device backend".split()}
        with ExitStack() as shown:

            def display_of(name: str):
                shown.close()
                display = shown.enter_context(TrainingDisplay())
                display.console.print(f"{name} ({names.index(name) + 1} of {len(names)})", highlight=False)
                return display

            rows = compare(self.scene, names, out, on_progress=display_of, **settings)
        print(table(rows))
        print(f"{out / 'comparison.png'}: held-out photographs, and what the fields make of them")
        return 0
