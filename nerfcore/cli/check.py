"""`nerfcore check`"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from nerfcore.cli.options import ScenePath


@dataclass
class Check:
    """Looks a capture over before training: files, intrinsics, poses, box, blur, exposure, copies.

    Prints what is wrong with its fix and writes check.html. Exit status 1 if something is severe, 0 otherwise.
    """

    scene: Positional[ScenePath] = None
    """Folder of a capture, of any form that train takes; the built-in scene if none is given."""
    out: Path | None = None
    """Folder for check.html and what --apply writes; default: runs/ and the scene's name, with -check."""
    box: tuple[float, float, float, float, float, float] | None = None
    """Lower corner, then upper corner of where the scene lies, world units, instead of what the files say."""
    apply: bool = False
    """Also write a corrected copy of the capture, with its photos, to the folder scene of the output."""
    drop_blurred: bool = False
    """With --apply: leave out blurred photos too."""

    def run(self) -> int:
        from nerfcore.checkup import check
        from nerfcore.checkup.page import write_page
        from nerfcore.cli.console import counting, print_findings, print_table

        out = self.out or Path("runs", f"{self.scene.resolve().name if self.scene else 'builtin'}-check")
        with counting("photos compared") as on_photo:
            found = check(self.scene, self.box, lambda stage, done, total: on_photo(done, total))
        page = write_page(out / "check.html", found)
        print_findings(found.findings)
        rows = [("photos", f"{len(found.photos)} looked at"), ("page", str(page))]
        if self.apply:
            with counting("photos") as on_photo:
                kept = found.apply(out / "scene", self.drop_blurred, on_photo)
            rows.append(("corrected", f"{out / 'scene'}: {len(kept.entries)} photos"))
        print_table(rows)
        return 1 if found.severe else 0
