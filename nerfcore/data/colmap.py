"""Captures that COLMAP has reconstructed: models in ``sparse/0``, ``sparse/1``, … or beside the photos, binary or text.

COLMAP's poses are world-to-camera, a quaternion (w, x, y, z) and a translation, with OpenCV's axes; its pixels are
ours.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.lenses import Fisheye, Lens, Perspective
from nerfcore.cameras.poses import check_pose, to_opencv_axes
from nerfcore.data.capture import Capture, Entry, Mask, SparsePoints, camera_for, held_out_capture
from nerfcore.data.values import LARGEST, existing
from nerfcore.errors import SceneError

PHOTO_FOLDERS = "images", "input", "rgb", "images_2", "images_4", "images_8", "."


class CameraModel(NamedTuple):
    """A camera model of COLMAP: its number, its lens, and its parameters by our names in COLMAP's order."""

    number: int
    lens: type[Lens]
    parameters: tuple[str, ...]


CAMERA_MODELS = {
    name: CameraModel(number, lens, tuple(parameters.split()))
    for number, name, lens, parameters in (
        (0, "SIMPLE_PINHOLE", Perspective, "fl cx cy"),
        (1, "PINHOLE", Perspective, "fl_x fl_y cx cy"),
        (2, "SIMPLE_RADIAL", Perspective, "fl cx cy k1"),
        (3, "RADIAL", Perspective, "fl cx cy k1 k2"),
        (4, "OPENCV", Perspective, "fl_x fl_y cx cy k1 k2 p1 p2"),
        (5, "OPENCV_FISHEYE", Fisheye, "fl_x fl_y cx cy k1 k2 k3 k4"),
        (6, "FULL_OPENCV", Perspective, "fl_x fl_y cx cy k1 k2 p1 p2 k3 d1 d2 d3"),
        (8, "SIMPLE_RADIAL_FISHEYE", Fisheye, "fl cx cy k1"),
        (9, "RADIAL_FISHEYE", Fisheye, "fl cx cy k1 k2"),
    )
}
NAMES_BY_NUMBER = {model.number: name for name, model in CAMERA_MODELS.items()}


class Image(NamedTuple):
    """A registered photo: its name, its camera's number and its world-to-camera rotation (w, x, y, z) and
    translation."""

    name: str
    camera: int
    rotation: tuple[float, ...]
    translation: tuple[float, ...]


@dataclass(frozen=True)
class _Model:
    """A folder that holds a reconstruction, of which nothing is read yet."""

    folder: Path

    @property
    def suffix(self) -> str | None:
        """Of its files; None if it is no model."""
        for suffix in (".bin", ".txt"):
            if existing(self.folder, f"cameras{suffix}") and existing(self.folder, f"images{suffix}"):
                return suffix
        return None

    def read(self, what: str) -> list | dict | SparsePoints:
        """Its "cameras", "images" or "points3D"."""
        file = self.folder / (what + self.suffix)
        try:
            return READERS[file.name](file)
        except (OSError, ValueError, struct.error) as error:
            raise SceneError(
                f"{file}: is no file of a COLMAP model ({error}); it may be cut short, export it again"
            ) from error


def find_colmap(root: Path) -> Path | None:
    """A folder with a model, if there is one where COLMAP and its users put them."""
    for sparse in (root / "sparse", root / "colmap" / "sparse", root / "dense" / "sparse"):
        if models := _models(sparse):
            return models[0].folder
    return root if _Model(root).suffix else None


def read_colmap(folder: Path) -> Capture:
    """The capture of the model in a folder, or of the largest of the models beside it; every 8th present image is for
    testing."""
    models = _models(folder.parent) if folder.parent.name == "sparse" else [_Model(folder)]
    images = {model: model.read("images") for model in models}
    model = max(images, key=lambda model: len(images[model]))
    cameras, photos = model.read("cameras"), _photo_folder(model.folder, images[model])
    entries, absent = [], []
    for image in images[model]:
        path = existing(photos, image.name)
        if path is None:
            absent.append(image.name)
        else:
            entries.append(_entry(model.folder, image, cameras, path, photos))
    has_points = existing(model.folder, f"points3D{model.suffix}")
    points = model.read("points3D") if has_points else None
    root = photos if photos in (folder, *folder.parents) else photos.parent
    return held_out_capture(root, model.folder, entries, tuple(absent), points=points)


def _models(sparse: Path) -> list[_Model]:
    """The models in a folder "sparse" and directly below it."""
    folders = [sparse, *sorted(sparse.iterdir())] if sparse.is_dir() else []
    return [model for model in map(_Model, folders) if model.suffix]


def _photo_folder(folder: Path, images: list[Image]) -> Path:
    """Where most of the photos are, among the usual places at and above a model."""
    above = [folder, *folder.parents][:4]
    places = [base / name for base in above for name in PHOTO_FOLDERS]
    return max(places, key=lambda place: sum(existing(place, image.name) is not None for image in images))


def _entry(folder: Path, image: Image, cameras: dict[int, Camera], path: Path, photos: Path) -> Entry:
    where = f"{folder}, image {image.name}"
    if image.camera not in cameras:
        raise SceneError(f"{where}: its camera {image.camera} is not among the model's cameras; export the model again")
    try:
        rotation = Rotation.from_quat(image.rotation, scalar_first=True).as_matrix().T
    except ValueError as error:
        raise SceneError(f"{where}: its rotation is no quaternion ({error}); export the model again") from error
    centre = -rotation @ np.array(image.translation)
    pose = check_pose(np.concatenate([rotation, centre[:, None]], axis=1), where)
    mask = existing(photos.parent / "masks", f"{image.name}.png")
    return Entry(
        image.name, path, to_opencv_axes(pose), partial(camera_for, cameras[image.camera], path, where),
        calibration=f"{folder}, camera {image.camera}", mask=Mask(mask, black_is_ignored=True) if mask else None,
    )


def _camera(model: str, width: int, height: int, values: tuple[float, ...]) -> Camera:
    """COLMAP's camera as ours."""
    named = dict(zip(CAMERA_MODELS[model].parameters, values, strict=True))
    focal = named.pop("fl", None)
    own = [named.pop(name, focal) for name in ("fl_x", "fl_y", "cx", "cy")]
    return Camera(width, height, *own, CAMERA_MODELS[model].lens(**named))


def _known(model: object, among: dict | list) -> None:
    if model not in among:
        known = ", ".join(CAMERA_MODELS)
        raise ValueError(f"camera model {model} is none of {known}; undistort the images with COLMAP")


class _Bytes:
    """A binary file that is read from front to back; ValueError where it ends too soon."""

    def __init__(self, file: Path):
        self.data, self.at = file.read_bytes(), 0

    def take(self, layout: str) -> tuple:
        """Values of a layout of :mod:`struct`, little-endian."""
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self.data):
            raise ValueError("it ends too soon")

    def word(self) -> str:
        """Up to a zero byte."""
        end = self.data.index(b"\0", self.at)
        word, self.at = self.data[self.at : end].decode("utf-8"), end + 1
        return word


def _cameras_of_bytes(file: Path) -> dict[int, Camera]:
    data, cameras = _Bytes(file), {}
    for _ in range(data.take("Q")[0]):
        camera, model, width, height = data.take("IiQQ")
        _known(model, NAMES_BY_NUMBER)
        name = NAMES_BY_NUMBER[model]
        cameras[camera] = _camera(name, width, height, data.take(f"{len(CAMERA_MODELS[name].parameters)}d"))
    return cameras


def _images_of_bytes(file: Path) -> list[Image]:
    data, images = _Bytes(file), []
    for _ in range(data.take("Q")[0]):
        _, *numbers, camera = data.take("I7dI")
        images.append(Image(data.word(), camera, tuple(numbers[:4]), tuple(numbers[4:])))
        data.skip(24 * data.take("Q")[0])  # where the photo shows which points
    return images


def _points3D_of_bytes(file: Path) -> SparsePoints:
    data, rows = _Bytes(file), []
    for _ in range(data.take("Q")[0]):
        rows.append(data.take("8x3d3B8x"))
        data.skip(8 * data.take("Q")[0])  # which photos show the point
    return _points(rows)


def _points(rows: list[tuple]) -> SparsePoints:
    table = np.array(rows, np.float64).reshape(-1, 6)
    table = table[(np.abs(table) <= LARGEST).all(1)]
    return SparsePoints(table[:, :3], table[:, 3:].clip(0, 255).astype(np.uint8))


def _lines(file: Path) -> Iterator[str]:
    """Those of a text file that are no comments."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            yield line.strip()


def _cameras_of_lines(file: Path) -> dict[int, Camera]:
    cameras = {}
    for line in filter(None, _lines(file)):
        camera, model, width, height, *values = line.split()
        _known(model, CAMERA_MODELS)
        cameras[int(camera)] = _camera(model, int(width), int(height), tuple(map(float, values)))
    return cameras


def _images_of_lines(file: Path) -> list[Image]:
    """Two lines an image, of which the second, where it shows which points, may be empty."""
    images, lines = [], _lines(file)
    for line in filter(None, lines):
        words = line.split(maxsplit=9)
        if len(words) < 10:
            raise ValueError(f"the line of image {words[-1]} is too short")
        _, *numbers, camera, name = words
        if len(next(lines, "").split()) % 3:
            raise ValueError(f"the line after image {name} is not a list of points, which may be empty")
        quaternion, translation = tuple(map(float, numbers[:4])), tuple(map(float, numbers[4:]))
        images.append(Image(name, int(camera), quaternion, translation))
    return images


def _points3D_of_lines(file: Path) -> SparsePoints:
    return _points([tuple(map(float, line.split()[1:7])) for line in filter(None, _lines(file))])


READERS = {
    "cameras.bin": _cameras_of_bytes, "images.bin": _images_of_bytes, "points3D.bin": _points3D_of_bytes,
    "cameras.txt": _cameras_of_lines, "images.txt": _images_of_lines, "points3D.txt": _points3D_of_lines,
}
