"""The viewer's server, and what each browser that opens it gets: `Viewer` and `Session`."""

from __future__ import annotations

import contextlib
import io
import math
import socket
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nerfcore.data.camera_path import CameraPath
from nerfcore.errors import NerfcoreError, OutputError
from nerfcore.viewer.box_editor import BoxEditor
from nerfcore.viewer.path_editor import PathEditor
from nerfcore.viewer.pictures import (
    MODES,
    Photo,
    Picture,
    RenderRays,
    View,
    fov_that_shows,
    paint,
    pose_of_viser,
    thumbnail,
    viser_of_pose,
)
from nerfcore.viewer.turns import Turns
from nerfcore.viewer.worker import RenderWorker

try:
    import viser
except ImportError as error:
    raise NerfcoreError(f'The viewer needs viser ({error}); install it: pip install "nerfcore[viewer]"') from error

PORTS_TRIED = 20
CAMERAS_AWAY = 3.0  # viser units, from the middle of the box to a usual camera
OVERVIEW_AWAY, FIRST_FOV = 7.0, 50.0  # viser units, degrees
UPRIGHT = 0.85  # cosine to the world's axis below which the cameras' own up direction is taken
MAX_POINTS = 100_000
MAX_CAMERAS = 300  # drawn; of more, evenly chosen ones are
THUMBNAIL_SIDE = 96  # pixels
DEPTH_SIDE = 256  # pixels of the depths that hide what lies behind the model
CAMERAS_HINT = "Of the photos: blue in training, orange held out. Click one to look through it."
CAMERA_COLOR, HELD_OUT_COLOR, POINT_COLOR = (40, 110, 200), (215, 120, 30), (90, 90, 110)


@dataclass
class Content:
    """What there is to see.

    box [2, 3], points [N, 3]: world. folder: where what is saved goes. render: gives pictures of rays, if there is a
    model. export(file, resolution): writes a mesh and returns a sentence on it. film(file, path, on_frame): writes the
    video of a camera path.
    """

    name: str
    photos: list[Photo]
    box: Tensor
    folder: Path
    points: Tensor | None = None
    render: RenderRays | None = None
    export: Callable[[Path, int], str] | None = None
    film: Callable[[Path, CameraPath, Callable[[int, int], None]], object] | None = None

    def file(self, name: str) -> Path:
        """Where a file of that name goes; raises OutputError for a name that leads out of the folder: it comes from a
        browser."""
        if not name.strip(" .") or name != Path(name).name or "\\" in name:
            raise OutputError(f"{name!r} is not the name of a file; give one without folders, it goes to {self.folder}")
        return self.folder / name

    @cached_property
    def unit(self) -> float:
        """viser units per world unit."""
        away = self.box.mean(0)
        if self.photos:
            away = (torch.stack([photo.pose[:, 3] for photo in self.photos]) - away).norm(dim=-1).mean()
        else:
            away = (self.box[1] - self.box[0]).norm()
        return CAMERAS_AWAY / max(float(away), 1e-12)

    @cached_property
    def up(self) -> np.ndarray:
        """The direction [3] that is up: a world axis, z before others, if the cameras about agree, else their own."""
        if not self.photos:
            return np.array([0.0, 0.0, 1.0])
        mean = normalize(torch.stack([photo.pose[:, 1] for photo in self.photos]).mean(0), dim=0).double().numpy()
        axis = int(np.abs(mean).argmax())
        return np.sign(mean[axis]) * np.eye(3)[axis] if abs(mean[axis]) > UPRIGHT else mean

    @cached_property
    def camera_size(self) -> float:
        """At which drawn cameras stand beside each other, viser units, in steps of 0.05."""
        if len(self.drawn) < 2:
            return 0.2
        centres = torch.stack([photo.pose[:, 3] for photo in self.drawn])
        nearest = torch.cdist(centres, centres).fill_diagonal_(math.inf).amin(1).median().item()
        return min(max(round(0.4 * nearest * self.unit * 20), 1), 4) / 20

    @cached_property
    def thumbnails(self) -> dict[str, np.ndarray]:
        """By the names of the photographs that are drawn."""
        return {photo.name: thumbnail(photo, THUMBNAIL_SIDE) for photo in self.drawn if photo.image is not None}

    @cached_property
    def drawn(self) -> list[Photo]:
        """The photographs whose cameras are drawn."""
        return self.photos[:: 1 + (len(self.photos) - 1) // MAX_CAMERAS]


class Viewer:
    """Serves a `Content` at ``url`` until it is closed.

    host: the address it listens at; what is not this machine's own is reached by others. port: of several tried, the
    first. Raises NerfcoreError where none is free.
    """

    def __init__(self, content: Content, host: str = "127.0.0.1", port: int = 8080, turns: Turns | None = None):
        self.content, self.host, self.turns = content, host, turns
        self.training: tuple[str, float] | None = None
        self.sessions: dict[int, Session] = {}
        self.exporting = Lock()
        self.worker = RenderWorker(
            lambda view, outdated: paint(view, content.render, content.photos, outdated),
            **({"looking": turns.looking} if turns else {}), failed=self._failed,
        )
        warnings.filterwarnings("ignore", "Queued a .* on a closed connection")  # a browser may leave at any time
        with contextlib.redirect_stdout(io.StringIO()):  # it says in a frame what we say in a line
            self.server = viser.ViserServer(host, free_port(host, port), label="nerfcore", verbose=False)
        self.server.gui.configure_theme(show_logo=False, show_share_button=False, control_width="large")
        self.server.scene.set_up_direction(content.up)
        self._set_first_camera()
        self.server.on_client_connect(self._connected)
        self.server.on_client_disconnect(self._disconnected)

    @property
    def port(self) -> int:
        return self.server.get_port()

    @property
    def url(self) -> str:
        return f"http://{'localhost' if self.host in ('127.0.0.1', '0.0.0.0', '::') else self.host}:{self.port}"

    def show_training(self, text: str, fraction: float) -> None:
        """Says how far a training is, and renders again what it has changed."""
        self.training = text, fraction
        for session in list(self.sessions.values()):
            session.show_training()
        self.worker.again()

    def close(self) -> None:
        """Ends the server and its threads."""
        self.worker.close()
        with contextlib.redirect_stdout(io.StringIO()):
            self.server.stop()

    def _set_first_camera(self) -> None:
        """At the first photo of a model; a capture alone is seen from outside."""
        camera, content = self.server.initial_camera, self.content
        camera.up, camera.fov = content.up, np.radians(FIRST_FOV)
        photo = content.photos[0] if content.photos else None
        if photo is None or content.render is None:
            away = np.ones(3) if photo is None else photo.pose[:, 2].numpy() + content.up
            camera.look_at = content.unit * content.box.mean(0).numpy()
            camera.position = camera.look_at + OVERVIEW_AWAY * away / np.linalg.norm(away)
        else:
            camera.position = viser_of_pose(photo.pose, content.unit)["position"]
            camera.look_at = camera.position - CAMERAS_AWAY * photo.pose[:, 2].numpy()
            camera.fov = np.radians(fov_that_shows(photo.camera))

    def _connected(self, client: viser.ClientHandle) -> None:
        self.sessions[client.client_id] = Session(self, client)
        if client.client_id not in self.server.get_clients():  # it left meanwhile
            self._disconnected(client)

    def _disconnected(self, client: viser.ClientHandle) -> None:
        self.worker.forget(client.client_id)
        session = self.sessions.pop(client.client_id, None)
        if session is not None:
            session.path.stop()

    def _failed(self, error: Exception) -> None:
        warnings.warn(f"the viewer could not render: {error}", stacklevel=2)
        for session in list(self.sessions.values()):
            session.tell("Rendering failed", str(error), failed=True)


@dataclass
class Session:
    """One browser: its camera, its controls, and what it has drawn."""

    viewer: Viewer
    client: viser.ClientHandle
    cameras: list = field(default_factory=list)

    def __post_init__(self) -> None:
        self.content = self.viewer.content
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
        """Puts the browser's camera somewhere."""
        with self.client.atomic():
            there = viser_of_pose(pose, self.content.unit)
            self.client.camera.position = there["position"]
            self.client.camera.wxyz = there["wxyz"]
            self.client.camera.fov = np.radians(fov_degrees)

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
        note = f"{width} × {height}" + (f" · {picture.note}" if picture.note else "")
        if self.note.content != note:
            self.note.content = note

    def _add_view(self) -> None:
        gui, content = self.client.gui, self.content
        if content.render is not None:
            modes = MODES if any(photo.image for photo in content.photos) else MODES[:-1]
            self.mode = gui.add_dropdown("Show", modes, hint="What pictures of the model show.")
            self.background = gui.add_dropdown("Background", ("white", "black"), hint="What is behind the model.")
            self.largest = gui.add_slider(
                "Largest side", 256, 2048, 64, 1024, hint="Pixels of a picture at rest; the fewer, the sooner."
            )
            for control in (self.mode, self.background, self.largest):
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
            size.on_update(lambda _: self._resize_cameras(size.value))
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

    def _resize_cameras(self, scale: float) -> None:
        with self.client.atomic():
            for frustum in self.cameras:
                frustum.scale = scale

    def _look_through(self, photo: Photo) -> None:
        camera = self.client.camera
        self.go_to(photo.pose, fov_that_shows(photo.camera, camera.image_width / camera.image_height))
        if self.content.render is not None:
            self.shown_cameras.value = False

    def _add_export(self) -> None:
        gui, content = self.client.gui, self.content
        resolution = gui.add_slider("Resolution", 64, 512, 32, 256, hint="Samples along the longest side of the box.")
        file = gui.add_text("File", "mesh.glb", hint="In the run folder: .glb, .obj or .ply.")
        button, bar = gui.add_button("Export mesh"), gui.add_progress_bar(100.0, animated=True, visible=False)
        done = gui.add_markdown("")

        @button.on_click
        def _(_) -> None:
            with self.working(button, "Export"), self.viewer.exporting:
                done.content, bar.visible = "", True
                try:
                    done.content = content.export(content.file(file.value), resolution.value)
                finally:
                    bar.visible = False

    def _add_training(self) -> None:
        turns = self.viewer.turns
        if turns is None:
            return
        gui = self.client.gui
        with gui.add_folder("Training"):
            self.progress, self.progress_bar = gui.add_markdown("starting"), gui.add_progress_bar(0.0)
            pause = gui.add_button("Pause")

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


def free_port(host: str, port: int) -> int:
    """The first port from the given one on at which nothing listens. Raises NerfcoreError."""
    if not 0 < port < 65536:
        raise NerfcoreError(f"port {port} cannot be; give one from 1 to 65535, above 1023 without rights")
    try:
        (family, _, _, _, address), *_ = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NerfcoreError(f"{host} is no address ({error.strerror}); give another host") from error
    reason = None
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address[0], candidate))
                return candidate
            except OSError as error:
                reason = error.strerror
    raise NerfcoreError(f"the viewer cannot listen at {host}, port {port} ({reason}), nor at the next; give others")
