"""What each browser that opens the viewer has for itself."""

from __future__ import annotations

import contextlib
from functools import partial

import numpy as np
from torch import Tensor

from nerfcore.errors import OutputError
from nerfcore.viewer.box_editor import BoxEditor
from nerfcore.viewer.content import CAMERAS_AWAY
from nerfcore.viewer.path_editor import PathEditor
from nerfcore.viewer.pictures import MODES, Photo, Picture, View, fov_that_shows, pose_of_viser, viser_of_pose

MAX_POINTS = 100_000
UPRIGHT_ENOUGH = 0.05  # cosine below which the world's up direction says nothing of a camera's roll
DEPTH_SIDE = 256  # pixels of the depths that hide what lies behind the model
CAMERAS_HINT = "Of the photos: blue in training, orange held out. Click one to look through it."
CAMERA_COLOR, HELD_OUT_COLOR, POINT_COLOR = (40, 110, 200), (215, 120, 30), (90, 90, 110)


class Session:
    """One browser: its camera, its controls, and what it has drawn. viewer: a
    :class:`~nerfcore.viewer.server.Viewer`; client: viser's handle of the browser."""

    def __init__(self, viewer, client):
        self.viewer, self.client, self.content, self.cameras = viewer, client, viewer.content, []
        self.mesh, self.mesh_drawn = None, None
        with self.client.atomic():
            self._add_training()
            tabs = self.client.gui.add_tab_group()
            with tabs.add_tab("View"):
                self._add_view()
            with tabs.add_tab("Box"):
                self.box = BoxEditor(self.client, self.content.box, self.content.unit, self.content.folder)
            with tabs.add_tab("Path"):
                self.path = PathEditor(self)
            if self.content.export:
                with tabs.add_tab("Mesh"):
                    self._add_export()
            self._draw_scene()
        self.client.camera.on_update(lambda camera: self.look())
        self.look()

    @property
    def pose(self) -> Tensor:
        """That of the browser's camera, in the world."""
        return pose_of_viser(self.client.camera.wxyz, self.client.camera.position, self.content.unit)

    @property
    def fov_degrees(self) -> float:
        return float(np.degrees(self.client.camera.fov))

    def look(self) -> None:
        """Wishes for a picture of what the browser's camera sees now."""
        camera = self.client.camera
        if self.content.render is None or not min(camera.image_width, camera.image_height):
            return
        shrink = min(1.0, self.largest.value / max(camera.image_width, camera.image_height))
        size = round(camera.image_width * shrink), round(camera.image_height * shrink)
        view = View(self.pose, self.fov_degrees, *size, self.mode.value, self.background.value)
        self.viewer.worker.wish(self.client.client_id, view, self._show)

    def go_to(self, pose: Tensor, fov_degrees: float) -> None:
        """Puts the browser's camera somewhere; dragging then turns about an up direction as near to the world's as can
        be. All is given in full: what viser knows of the camera may be of an instant ago."""
        right, up, backward, centre = pose.double().numpy().T
        upright = self.content.up - (self.content.up @ right) * right
        camera, unit = self.client.camera, self.content.unit
        with self.client.atomic():
            camera.position = unit * centre
            camera.look_at = unit * centre - CAMERAS_AWAY * backward
            camera.up_direction = upright if upright @ up > UPRIGHT_ENOUGH else up
            camera.fov = np.radians(fov_degrees)

    def tell(self, title: str, body: str, failed: bool = False) -> None:
        """Shows a message in the browser."""
        color, seconds = ("red", None) if failed else ("green", 8.0)
        self.client.add_notification(title, body, color=color, auto_close_seconds=seconds)

    @contextlib.contextmanager
    def working(self, button, what: str):
        """While something is made: the button that started it rests, and an error is shown in the browser."""
        button.disabled = True
        try:
            yield
        except Exception as error:  # whatever it is, the viewer goes on
            self.tell(f"{what} failed", str(error), failed=True)
        finally:
            button.disabled = False

    def _show(self, picture: Picture) -> None:
        height, width = picture.z_depth.shape
        step = -(-max(height, width) // DEPTH_SIDE)
        self.client.scene.set_background_image(
            picture.rgb, "jpeg", jpeg_quality=90, depth=picture.z_depth[::step, ::step] * self.content.unit
        )
        what = "" if self.mode.value == "mesh" else f"{width} × {height}"
        note = " · ".join(filter(None, (what, picture.note)))
        if self.note.content != note:
            self.note.content = note

    def _add_view(self) -> None:
        gui, content = self.client.gui, self.content
        if content.render is not None:
            have = dict(error=any(photo.image for photo in content.photos), mesh=content.mesh is not None)
            modes = [mode for mode in MODES if have.get(mode, True)]
            self.mode = gui.add_dropdown("Show", modes, hint="What pictures of the model show, or its mesh.")
            self.background = gui.add_dropdown("Background", ("white", "black"), hint="What is behind the model.")
            self.largest = gui.add_slider(
                "Largest side", 256, 2048, 64, 1024, hint="Pixels of a picture at rest; the fewer, the sooner."
            )
            self.mode.on_update(lambda _: self._change_mode())
            for control in (self.background, self.largest):
                control.on_update(lambda _: self.look())
            self.note = gui.add_markdown("")
        names = [photo.name for photo in content.photos]
        with gui.add_folder("Scene"):
            shown = gui.add_checkbox("Cameras", content.render is None, hint=CAMERAS_HINT)
            shown.on_update(lambda _: self._set_visible("/cameras", shown.value))
            self.shown_cameras = shown
            if content.points is not None:
                points = gui.add_checkbox("Sparse points", content.render is None)
                points.on_update(lambda _: self._set_visible("/points", points.value))
            size = gui.add_slider("Camera size", 0.05, 1.0, 0.05, content.camera_size)
            size.on_update(lambda _: self.resize_cameras(size.value))
            if names:
                chosen = gui.add_dropdown("Look through", names)
                chosen.on_update(lambda _: self._look_through(content.photos[names.index(chosen.value)]))

    def _draw_scene(self) -> None:
        content, scene = self.content, self.client.scene
        shown = content.render is None
        self.frames = {"/cameras": scene.add_frame("/cameras", show_axes=False, visible=shown)}
        for i, photo in enumerate(content.drawn):
            frustum = scene.add_camera_frustum(
                f"/cameras/{i}", np.radians(fov_that_shows(photo.camera)), photo.camera.width / photo.camera.height,
                scale=content.camera_size, thickness=1.5, thickness_units="screen",
                color=HELD_OUT_COLOR if photo.held_out else CAMERA_COLOR,
                image=content.thumbnails.get(photo.name), **viser_of_pose(photo.pose, content.unit),
            )
            frustum.on_click(partial(lambda photo, _: self._look_through(photo), photo))
            self.cameras.append(frustum)
        if content.points is not None:
            points = content.points[:: 1 + len(content.points) // MAX_POINTS].numpy() * content.unit
            self.frames["/points"] = scene.add_point_cloud(
                "/points", points, POINT_COLOR, point_size=0.01, visible=shown, precision="float32"
            )

    def _set_visible(self, name: str, visible: bool) -> None:
        self.frames[name].visible = visible

    def resize_cameras(self, scale: float) -> None:
        """How large the photos' cameras are drawn, viser units."""
        with self.client.atomic():
            for frustum in self.cameras:
                frustum.scale = scale

    def _look_through(self, photo: Photo) -> None:
        camera = self.client.camera
        self.go_to(photo.pose, fov_that_shows(photo.camera, camera.image_width / camera.image_height))
        if self.content.render is not None:
            self.shown_cameras.value = False

    def _change_mode(self) -> None:
        """To pictures of the model, or to its mesh."""
        if self.mesh is not None:
            self.mesh.visible = False
        if self.mode.value == "mesh":
            with self.working(self.mode, "Showing the mesh"):
                self._draw_mesh()
        self.look()

    def _draw_mesh(self) -> None:
        """The one of the file that the Mesh tab names, read anew if it has changed."""
        file = self.content.file(self.mesh_file.value)
        if not file.is_file():
            raise OutputError(f"{file} does not exist yet: press Export mesh in the Mesh tab")
        drawn = file, file.stat().st_mtime_ns
        if drawn != self.mesh_drawn:
            self.mesh = self.client.scene.add_glb("/mesh", self.content.mesh(file), scale=self.content.unit)
            self.mesh_drawn = drawn
        self.mesh.visible = True

    def _add_export(self) -> None:
        gui, content = self.client.gui, self.content
        there = [name for name in ("mesh.glb", "mesh.ply", "mesh.obj") if (content.folder / name).is_file()]
        resolution = gui.add_slider("Resolution", 64, 512, 32, 256, hint="Samples along the longest side of the box.")
        self.mesh_file = gui.add_text("File", [*there, "mesh.glb"][0], hint="In the run folder: .glb, .obj or .ply.")
        button, bar = gui.add_button("Export mesh"), gui.add_progress_bar(100.0, animated=True, visible=False)
        done = gui.add_markdown("")

        @button.on_click
        def _(_) -> None:
            with self.working(button, "Export"), self.viewer.exporting:
                done.content, bar.visible = "", True
                try:
                    done.content = content.export(content.file(self.mesh_file.value), resolution.value)
                finally:
                    bar.visible = False
                self.mode.value = "mesh"
                self._change_mode()

    def _add_training(self) -> None:
        turns = self.viewer.turns
        if turns is None:
            return
        gui = self.client.gui
        with gui.add_folder("Training"):
            self.progress, self.progress_bar = gui.add_markdown("starting"), gui.add_progress_bar(0.0)
            pause = gui.add_button("Resume" if turns.paused else "Pause")

        @pause.on_click
        def _(_) -> None:
            turns.pause(not turns.paused)
            for session in list(self.viewer.sessions.values()):
                session.pause.label = "Resume" if turns.paused else "Pause"

        self.pause = pause
        self.show_training()

    def show_training(self) -> None:
        """Says how far the training is."""
        if self.viewer.training is not None:
            self.progress.content, fraction = self.viewer.training
            self.progress_bar.value = 100 * fraction
            self.pause.disabled = fraction >= 1
