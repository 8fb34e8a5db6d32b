"""`nerfcore render`"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nerfcore.cli.options import Background, Hardware, LensName, UsesModel


@dataclass
class Render(Hardware, UsesModel):
    """Renders a model: an orbit as video.mp4, and stills of rgb, distance, z_depth and normals."""

    out: Path | None = None
    """Folder to write to; default: render/ in the run folder."""
    frames: int = 60
    """Frames of the video; 0 for none."""
    fps: int = 24
    """Frames a second."""
    size: tuple[int, int] | None = None
    """Width and height of the video; default: as the photos, at most 800 pixels."""
    lens: LensName | None = None
    """What the video is taken with; default: as the photos, without distortion."""
    stills: int = 3
    """How many training cameras to render; 0 for none."""
    background: Background = "white"
    """What is behind the scene."""

    def run(self) -> int:
        import nerfcore
        from nerfcore.cli.console import counting, print_table
        from nerfcore.renderer.video import write_stills

        model, out = nerfcore.load(self.model, self.device, self.backend), self.out or self.folder() / "render"
        rows = []
        if self.stills:
            with counting("stills") as on_frame:
                paths = write_stills(model, out, self.stills, self.background, on_frame)
            rows += [("still", str(path)) for path in paths]
        if self.frames:
            look = dict(size=self.size, fps=self.fps, background=self.background, lens=self.lens)
            rows.append(("video", str(video_with_bar(model, out / "video.mp4", num_frames=self.frames, **look))))
        print_table(rows or [("nothing", "both --frames and --stills are 0")])
        return 0


def video_with_bar(model, path: Path, **look) -> Path:
    """:func:`~nerfcore.renderer.video.write_orbit_video` under a progress bar."""
    from nerfcore.cli.console import counting
    from nerfcore.renderer.video import write_orbit_video

    with counting("video") as on_frame:
        return write_orbit_video(model, path, on_frame=on_frame, **look)
