"""`nerfcore render`"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nerfcore.cli.options import Background, Hardware, LensName, Trajectory, UsesModel
from nerfcore.errors import NerfcoreError


@dataclass
class Render(Hardware, UsesModel):
    """Renders a model: a flight as video.mp4, and stills of rgb, distance, z_depth and normals."""

    out: Path | None = None
    """Folder to write to; default: render/ in the run folder."""
    trajectory: Trajectory | None = None
    """How the camera flies; default: a spiral where all photos look the same way, else an orbit."""
    path: Path | None = None
    """Camera path to fly instead: a camera_path.json of the viewer or of nerfstudio."""
    frames: int | None = None
    """Frames of the video; 0 for none; default: 60, or those of the path."""
    fps: int | None = None
    """Frames a second; default: 24, or those of the path."""
    size: tuple[int, int] | None = None
    """Width and height of the video; default: of the path, or as the photos, at most 800 pixels."""
    lens: LensName | None = None
    """What the video is taken with; default: as the photos, without distortion."""
    stills: int = 3
    """How many training cameras to render; 0 for none."""
    background: Background = "white"
    """What is behind the scene."""
    appearance: str | None = None
    """Name of the training photo in whose light the scene is shown, after training with --appearance code; default:
    in the mean of all."""

    def run(self) -> int:
        import nerfcore
        from nerfcore.cli.console import counting, print_table
        from nerfcore.renderer.video import write_stills

        if self.path and (self.trajectory or self.frames):
            raise NerfcoreError("--path says which frames there are; leave out --trajectory and --frames")
        model, out = nerfcore.load(self.model, self.device, self.backend), self.out or self.folder() / "render"
        if self.appearance is not None:
            model = model.as_in(self.appearance)
        rows = []
        if self.stills:
            with counting("stills") as on_frame:
                paths = write_stills(model, out, self.stills, self.background, on_frame)
            rows += [("still", str(path)) for path in paths]
        if self.frames != 0:
            views, fps = self._flight(model)
            path = video_with_bar(model, out / "video.mp4", views, fps=self.fps or fps, background=self.background)
            rows.append(("video", str(path)))
        print_table(rows or [("nothing", "both --frames and --stills are 0")])
        return 0

    def _flight(self, model) -> tuple[list, float]:
        """Its cameras and poses, and how many there are a second."""
        from nerfcore.data.camera_path import read_camera_path
        from nerfcore.renderer.video import path_trajectory, trajectory

        if self.path is None:
            return trajectory(model, self.trajectory, self.frames or 60, self.size, self.lens), 24
        path = read_camera_path(self.path)
        return path_trajectory(model, path, self.size, self.lens), path.fps


def video_with_bar(model, path: Path, views: list, **how) -> Path:
    """:func:`~nerfcore.renderer.video.write_video` under a progress bar."""
    from nerfcore.cli.console import counting
    from nerfcore.renderer.video import write_video

    with counting("video") as on_frame:
        return write_video(model, path, views, on_frame=on_frame, **how)
