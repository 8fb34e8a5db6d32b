"""`nerfcore process`"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from nerfcore.cli.options import INTERRUPTED

NAMED = 10  # photographs without a camera that are listed; process.json has all


@dataclass
class Process:
    """Finds the cameras of photographs or of a video's sharpest frames, for train to take.

    Ctrl-C loses nothing: the same command goes on where it was.
    """

    photos: Annotated[Positional[Path], arg(metavar="PHOTOS|VIDEO")]
    """Folder of photographs, or a video."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write to: empty, new, or what the same command left."""
    frames: int | None = None
    """How many frames of a video to take; default: 3 a second, but 50 to 200."""
    camera_model: Literal[
        "OPENCV", "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV", "OPENCV_FISHEYE",
        "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE",
    ] = "OPENCV"
    """How lenses bend, by COLMAP's names."""
    camera_per_image: bool = False
    """Give each photograph a lens of its own; otherwise those of one camera, size and focal length share one."""
    matching: Literal["auto", "sequential", "exhaustive", "vocabulary"] = "auto"
    """Which photographs are compared; auto goes from one to the next while too few find their place."""
    mapping: Literal["incremental", "global"] = "incremental"
    """Add photographs one by one, or place all at once."""
    threads: int | None = None
    """At most so many; default: all cores."""

    def run(self) -> int:
        import nerfcore
        from nerfcore.cli.console import duration, print_table, stages

        try:
            with stages() as on_progress:
                found = nerfcore.process(**vars(self), on_progress=on_progress)
        except KeyboardInterrupt:
            print("nerfcore: stopped; what is finished is kept, the same command goes on", file=sys.stderr)
            return INTERRUPTED
        left_out = list(found.left_out.items())
        more = [("", f"… {len(left_out) - NAMED} more in {self.out / 'process.json'}")] if len(left_out) > NAMED else []
        print_table([
            ("registered", f"{found.registered} of {found.photographs} photographs"),
            ("error", f"{found.reprojection_error:.2f} pixels"),
            ("points", f"{found.points}"),
            ("time", f"{duration(round(found.seconds))}, matching {', then '.join(found.matching)}"),
            *(("left out", f"{name}: {reason}") for name, reason in left_out[:NAMED]), *more,
            ("next", f"nerfcore train {self.out}"),
        ])
        return 0
