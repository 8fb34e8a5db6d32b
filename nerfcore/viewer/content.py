"""What a viewer shows: photographs, a box, points, and what is made of a model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nerfcore.data.camera_path import CameraPath
from nerfcore.errors import OutputError
from nerfcore.viewer.pictures import Photo, RenderRays, thumbnail

CAMERAS_AWAY = 3.0  # viser units, from the middle of the box to a usual camera
UPRIGHT = 0.85  # cosine to the world's axis below which the cameras' own up direction is taken
MAX_CAMERAS = 300  # drawn; of more, evenly chosen ones are
THUMBNAIL_SIDE = 96  # pixels


@dataclass
class Content:
    """What there is to see.

    box [2, 3], points [N, 3]: world. folder: where what is saved goes. render: gives pictures of rays, if there is a
    model. export(file, resolution): writes a mesh and returns a sentence on it. mesh(file): one
    that was written, as glTF binary, world coordinates; given with export. film(file, path, on_frame): writes the
    video of a camera path.
    """

    name: str
    photos: list[Photo]
    box: Tensor
    folder: Path
    points: Tensor | None = None
    render: RenderRays | None = None
    export: Callable[[Path, int], str] | None = None
    mesh: Callable[[Path], bytes] | None = None
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
