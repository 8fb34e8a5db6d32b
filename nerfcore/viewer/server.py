"""The viewer's server."""

from __future__ import annotations

import contextlib
import io
import socket
import warnings
from threading import Lock

import numpy as np

from nerfcore.errors import NerfcoreError
from nerfcore.viewer.content import CAMERAS_AWAY, Content
from nerfcore.viewer.pictures import fov_that_shows, paint, viser_of_pose
from nerfcore.viewer.session import Session
from nerfcore.viewer.turns import Turns
from nerfcore.viewer.worker import RenderWorker

try:
    import viser
except ImportError as error:
    raise NerfcoreError(f'The viewer needs viser ({error}); install it: pip install "nerfcore[viewer]"') from error

PORTS_TRIED = 20
OVERVIEW_AWAY, FIRST_FOV = 7.0, 50.0  # viser units, degrees


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
