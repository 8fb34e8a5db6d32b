"""The box of a scene, moved by its corners."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from nerfcore.errors import OutputError
from nerfcore.files import write_file

EDGES = [(a, b) for a in range(8) for b in range(8) if a < b and bin(a ^ b).count("1") == 1]
COLOR = (30, 160, 90)


def box_arguments(box: np.ndarray) -> str:
    """The option that trains in a box [2, 3]."""
    return "--box " + " ".join(f"{value:.6g}" for value in box.ravel())


def corners(box: np.ndarray) -> np.ndarray:
    """[8, 3]: bit i of a corner's number says at which end of axis i it lies."""
    return np.array([[box[n >> axis & 1, axis] for axis in range(3)] for n in range(8)])


class BoxEditor:
    """Two handles in a browser's scene and two rows of numbers beside it, in world units, that hold the same box."""

    def __init__(self, client, box: Tensor, unit: float, folder: Path):
        self.client, self.unit, self.folder = client, unit, folder
        self.given = box.double().numpy()
        self.box = self.given.copy()
        gui = client.gui
        self.shown = gui.add_checkbox("Show box", False, hint="Drag the arrows of its two corners.")
        step = 10.0 ** math.floor(math.log10((self.given[1] - self.given[0]).max() / 100))
        self.digits = 1 - round(math.log10(step))  # of the rows, after the point
        self.rows = [gui.add_vector3(name, (0.0, 0.0, 0.0), step=step) for name in ("Low", "High")]
        self.size = gui.add_markdown("")
        self.arguments = gui.add_text("Arguments", "", hint="Copy them behind nerfcore train or export, or save them.")
        save, reset = gui.add_button("Save as box.txt"), gui.add_button("Reset", color="gray")
        self.edges = client.scene.add_line_segments(
            "/box", self._edges(), COLOR, thickness=2.0, thickness_units="screen", visible=False
        )
        self.handles = [
            client.scene.add_transform_controls(
                f"/box_corner_{end}", scale=0.35, disable_rotations=True, depth_test=False, visible=False
            )
            for end in range(2)
        ]
        self.shown.on_update(lambda _: self._show())
        reset.on_click(lambda _: self.move(self.given.copy()))
        save.on_click(lambda _: self._save())
        for end, (row, handle) in enumerate(zip(self.rows, self.handles, strict=True)):
            row.on_update(lambda event, end=end: self._typed(event, end))
            handle.on_update(partial(self._dragged, end))
        self.move(self.box)

    def move(self, box: np.ndarray) -> None:
        """Takes another box [2, 3], world units, and shows it everywhere; corners that crossed change places."""
        self.box = np.sort(box, axis=0)
        size = " × ".join(f"{side:.4g}" for side in self.box[1] - self.box[0])
        with self.client.atomic():
            self.edges.points = self._edges()
            for end in range(2):
                self.rows[end].value = tuple(self.box[end].round(self.digits).tolist())
                self.handles[end].position = tuple(self.unit * self.box[end])
            self.size.content = f"{size} world units"
            self.arguments.value = box_arguments(self.box)

    async def _dragged(self, end: int, event) -> None:
        self._moved(end, event.target.position / self.unit)  # in the server's own loop, so that the last comes last

    def _moved(self, end: int, corner: np.ndarray) -> None:
        box = self.box.copy()
        box[end] = corner
        self.move(box)

    def _typed(self, event, end: int) -> None:
        if event.client is not None:  # not set by ourselves
            self._moved(end, np.array(self.rows[end].value))

    def _edges(self) -> np.ndarray:
        return (self.unit * corners(self.box))[EDGES].astype(np.float32)

    def _show(self) -> None:
        for node in (self.edges, *self.handles):
            node.visible = self.shown.value

    def _save(self) -> None:
        file = self.folder / "box.txt"
        try:
            write_file(file, box_arguments(self.box) + "\n")
        except OutputError as error:
            self.client.add_notification("Not saved", str(error), color="red")
            return
        self.client.add_notification("Saved", str(file), color="green", auto_close_seconds=8.0)
