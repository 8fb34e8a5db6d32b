"""A camera path made in the browser: keyframes, playing, saving, and its video."""

from __future__ import annotations

import time
from threading import Event, RLock

import numpy as np
import torch

from nerfcore.cameras.trajectories import Spline
from nerfcore.data.camera_path import CameraPath, Shot, read_camera_path, write_camera_path
from nerfcore.errors import NerfcoreError
from nerfcore.viewer.pictures import viser_of_pose

COLOR, CHOSEN_COLOR = (180, 60, 140), (240, 170, 40)
POINTS_PER_KEYFRAME = 24  # of the line that is drawn
FPS = 24
SIZES = {"1920 × 1080": (1920, 1080), "1280 × 720": (1280, 720), "640 × 360": (640, 360), "720 × 720": (720, 720)}


class Keyframes:
    """A list of shots of which one is chosen; new ones come behind it."""

    def __init__(self) -> None:
        self.shots: list[Shot] = []
        self.chosen = -1

    def add(self, shot: Shot) -> None:
        self.chosen += 1
        self.shots.insert(self.chosen, shot)

    def replace(self, shot: Shot) -> None:
        self.shots[self.chosen] = shot

    def remove(self) -> None:
        """Of the chosen one; then the one before it is."""
        del self.shots[self.chosen]
        self.chosen = max(self.chosen - 1, min(0, len(self.shots) - 1))

    def load(self, shots: list[Shot]) -> None:
        self.shots, self.chosen = list(shots), len(shots) - 1


class PathEditor:
    """The controls of one browser's camera path. session: a :class:`~nerfcore.viewer.session.Session`."""

    def __init__(self, session):
        self.session, self.content, self.keyframes = session, session.content, Keyframes()
        self.client, gui = session.client, session.client.gui
        self._playing, self._changing, self._nodes = Event(), RLock(), []
        add, replace, remove = (
            gui.add_button("Add keyframe", hint="What you see now, behind the chosen keyframe.", icon="plus"),
            gui.add_button("Replace keyframe", hint="The chosen one, by what you see now.", color="gray"),
            gui.add_button("Remove keyframe", hint="The chosen one.", color="gray"),
        )
        self.choice = gui.add_dropdown("Keyframe", ("none",), hint="Choose one to look at it; a click on it does too.")
        self.seconds = gui.add_number("Seconds", 5.0, min=0.5, max=600.0, step=0.5)
        self.loop = gui.add_checkbox("Loop", False, hint="Back to the first keyframe at the end.")
        self.even = gui.add_checkbox("Constant speed", True)
        self.size = gui.add_dropdown("Video", list(SIZES), initial_value="1280 × 720", hint="Pixels of the video.")
        self.play = gui.add_button("Play", icon="player-play")
        self.file = gui.add_text("File", "camera_path.json", hint="In the run folder; nerfcore render --path reads it.")
        save, load = gui.add_button("Save"), gui.add_button("Load", color="gray")
        add.on_click(lambda _: self._change(self.keyframes.add, self._shot()))
        replace.on_click(lambda _: self.keyframes.shots and self._change(self.keyframes.replace, self._shot()))
        remove.on_click(lambda _: self.keyframes.shots and self._change(self.keyframes.remove))
        self.choice.on_update(self._choose)
        for control in (self.loop, self.size):
            control.on_update(lambda _: self._change(lambda: None))
        self.play.on_click(lambda _: self._play())
        save.on_click(lambda _: self._save())
        load.on_click(lambda _: self._load())
        if self.content.film:
            self._add_video()

    def path(self) -> CameraPath:
        """The path as it is; raises NerfcoreError while it has fewer than two keyframes."""
        if len(self.keyframes.shots) < 2:
            raise NerfcoreError("a path needs at least two keyframes: look from two places, and add each")
        size, how = SIZES[self.size.value], dict(loop=self.loop.value, constant_speed=self.even.value)
        return CameraPath.through(self.keyframes.shots, self.seconds.value, FPS, size, **how)

    def stop(self) -> None:
        """Ends playing."""
        self._playing.clear()

    def _shot(self) -> Shot:
        return Shot(self.session.pose.double(), self.session.fov_degrees)

    def _change(self, how, *shot) -> None:
        with self._changing:
            how(*shot)
            self._draw()

    def _choose(self, event) -> None:
        if event.client is not None and self.keyframes.shots:  # not set by ourselves
            self._go_to(int(self.choice.value) - 1)

    def _go_to(self, index: int) -> None:
        with self._changing:
            self.keyframes.chosen = index
            self._draw()
        self.session.go_to(*self.keyframes.shots[index])

    def _play(self) -> None:
        """Flies along the path until its end, or round and round a loop, or until the button is pressed again."""
        if self._playing.is_set():
            self._playing.clear()
            return
        try:
            path = self.path()
        except NerfcoreError as error:
            self.session.tell("Nothing to play", str(error), failed=True)
            return
        self._playing.set()
        self.play.label = "Stop"
        began = time.monotonic()
        while self._playing.is_set():
            at = int((time.monotonic() - began) * FPS)
            if at >= len(path.shots) and not path.loop:
                self.session.go_to(*path.shots[-1])
                break
            self.session.go_to(*path.shots[at % len(path.shots)])
            time.sleep(1 / FPS)
        self._playing.clear()
        self.play.label = "Play"

    def _save(self) -> None:
        try:
            file = write_camera_path(self.path(), self.content.file(self.file.value))
        except NerfcoreError as error:
            self.session.tell("Not saved", str(error), failed=True)
        else:
            self.session.tell("Saved", str(file))

    def _load(self) -> None:
        try:
            path = read_camera_path(self.content.file(self.file.value))
        except NerfcoreError as error:
            self.session.tell("Not loaded", str(error), failed=True)
            return
        self.loop.value, self.seconds.value = path.loop, path.seconds
        self._change(self.keyframes.load, path.keyframes or path.shots[:: 1 + len(path.shots) // 20])

    def _add_video(self) -> None:
        gui = self.client.gui
        file, button = gui.add_text("Video file", "path.mp4", hint="In the run folder."), gui.add_button("Render video")
        bar, done = gui.add_progress_bar(0.0, visible=False), gui.add_markdown("")

        @button.on_click
        def _(_) -> None:
            with self.session.working(button, "Video"):
                path, out = self.path(), self.content.file(file.value)
                done.content, bar.visible = "", True
                try:
                    self.content.film(out, path, lambda at, total: setattr(bar, "value", 100 * at / total))
                    done.content = str(out)
                finally:
                    bar.visible = False

    def _draw(self) -> None:
        """The list, the keyframes and the line through them."""
        shots, unit, scene = self.keyframes.shots, self.content.unit, self.client.scene
        width, height = SIZES[self.size.value]
        aspect, names = width / height, [str(i) for i in range(1, len(shots) + 1)] or ["none"]
        with self.client.atomic():
            self.choice.options = names
            self.choice.value = names[max(self.keyframes.chosen, 0)]
            for node in self._nodes:
                node.remove()
            self._nodes = []
            for i, shot in enumerate(shots):
                color = CHOSEN_COLOR if i == self.keyframes.chosen else COLOR
                node = scene.add_camera_frustum(
                    f"/path/{i}", np.radians(shot.fov_degrees), aspect, scale=0.15, thickness=2.0,
                    thickness_units="screen", color=color, **viser_of_pose(shot.pose, unit),
                )
                node.on_click(lambda _, i=i: self._go_to(i))
                self._nodes.append(node)
            if len(shots) > 1:
                line = Spline(torch.stack([shot.pose for shot in shots]), self.loop.value)
                at = np.linspace(0, line.knots[-1], POINTS_PER_KEYFRAME * len(line.knots))
                points = unit * line(at)[:, :, 3].numpy()
                segments = np.stack([points[:-1], points[1:]], axis=1).astype(np.float32)
                self._nodes.append(
                    scene.add_line_segments("/path/line", segments, COLOR, thickness=2.0, thickness_units="screen")
                )
