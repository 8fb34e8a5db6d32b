"""Transforms files: the JSON that lists a scene's photographs with their intrinsics and poses.

Intrinsics stand at the top or in each frame: ``fl_x``, ``fl_y`` in pixels or ``camera_angle_x``, ``camera_angle_y`` in
radians; ``cx``, ``cy`` (default: the centre), ``w``, ``h`` (default: the image's), the lens (``camera_model`` of
nerfstudio; ``is_fisheye`` or ``latlong`` of instant-ngp) with OpenCV's ``k1`` .. ``k6``, ``p1``, ``p2``. Each frame has
a ``file_path`` and a camera-to-world ``transform_matrix`` in our axes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.lenses import Fisheye, Lens, Perspective
from nerfcore.cameras.poses import check_pose
from nerfcore.data.capture import DepthMap, Entry, Mask, camera_for
from nerfcore.data.values import existing, number, positive, read_json
from nerfcore.errors import SceneError

PERSPECTIVE_MODELS = "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "PERSPECTIVE"
RATIONAL_MODEL, FISHEYE_MODEL, PANORAMA_MODEL = "FULL_OPENCV", "OPENCV_FISHEYE", "EQUIRECTANGULAR"

# Each names a file, and its unit. nerfstudio's and instant-ngp's are along the camera axis, ours along the ray.
Z_DEPTH_KEYS = ("depth_file_path", "depth_unit_scale_factor", 1e-3), ("depth_path", "integer_depth_scale", 1.0)
DISTANCE_KEYS = "distance_file_path", "distance_unit_scale_factor", 1e-3


@dataclass(frozen=True)
class Listing:
    """What a transforms file holds: its top-level table, the frames whose image exists, the names of those that have
    none, and why others cannot be used."""

    file: Path
    table: dict
    entries: list[Entry]
    absent: tuple[str, ...]
    broken: tuple[SceneError, ...]


def read_listing(file: Path) -> Listing:
    """Reads and checks a transforms file; of images only the presence is looked at."""
    table = read_json(file)
    frames = table.get("frames")
    if not isinstance(frames, list) or not all(isinstance(f, dict) and "file_path" in f for f in frames):
        raise SceneError(f"{file}: has no list of frames with a file_path each; write it again as a transforms file")
    entries, absent, broken = [], [], []
    for frame in frames:
        name = str(PurePosixPath(str(frame["file_path"]).replace("\\", "/")))
        path = existing(file.parent, name) or existing(file.parent, f"{name}.png")
        if path is None:
            absent.append(name)
            continue
        try:
            entries.append(_ListedPhoto(file, name, path, frame, table).entry())
        except SceneError as error:
            broken.append(error)
    return Listing(file, table, entries, tuple(absent), tuple(broken))


@dataclass(frozen=True)
class _ListedPhoto:
    """What a transforms file says of one photo. own, shared: the tables of its frame and of the whole file."""

    file: Path
    name: str
    path: Path
    own: dict
    shared: dict

    @property
    def where(self) -> str:
        return f"{self.file}, frame {self.name}"

    def entry(self) -> Entry:
        has_own = any(key in self.own for key in ("fl_x", "fl_y", "camera_angle_x", "camera_angle_y"))
        return Entry(
            self.name, self.path, check_pose(self.own.get("transform_matrix"), self.where), self.camera,
            calibration=None if has_own else str(self.file), mask=self._mask(),
            z_depth=self._depth_map(*Z_DEPTH_KEYS), distance=self._depth_map(DISTANCE_KEYS),
            image_circle=self._image_circle(),
        )

    def camera(self, width: int, height: int) -> Camera:
        """The camera of this photo's image, which has the given size: the calibrated one, or an exact rescale."""
        stated_width, stated_height = round(self._value("w", width)), round(self._value("h", height))
        model = self._model()
        if model == PANORAMA_MODEL:
            camera = Camera.panorama(stated_width, stated_height)
        else:
            fl_x, fl_y = self._focal_length("x", stated_width), self._focal_length("y", stated_height)
            if not (fl_x or fl_y):
                raise SceneError(f"{self.where}: has no focal length; add fl_x in pixels or camera_angle_x in radians")
            centre = self._value("cx", stated_width / 2), self._value("cy", stated_height / 2)
            camera = Camera(stated_width, stated_height, fl_x or fl_y, fl_y or fl_x, *centre, self._lens(model))
        return camera_for(camera, self.path, self.where, width, height)

    def _value(self, key: str, default: float) -> float:
        return number({**self.shared, **self.own}, key, default, self.where)

    def _model(self) -> str:
        """By nerfstudio's names. What instant-ngp calls equirectangular is another mapping, of equal areas."""
        table = {**self.shared, **self.own}
        default = FISHEYE_MODEL if table.get("is_fisheye") else PANORAMA_MODEL if "latlong" in table else "OPENCV"
        model = str(table.get("camera_model", default))
        known = *PERSPECTIVE_MODELS, RATIONAL_MODEL, FISHEYE_MODEL, PANORAMA_MODEL
        other = next((key for key in ("ftheta_p0", "equirectangular", "orthographic") if table.get(key)), None)
        if model not in known or other:
            raise SceneError(
                f"{self.where}: the lens {other or model:.40} is not supported; undistort the photos to one of "
                f"{', '.join(known)}"
            )
        return model

    def _lens(self, model: str) -> Lens:
        names = {FISHEYE_MODEL: ("k1", "k2", "k3", "k4"), RATIONAL_MODEL: ("k1", "k2", "k3", "p1", "p2")}
        names = names.get(model, ("k1", "k2", "k3", "k4", "p1", "p2"))
        coefficients = {key: self._value(key, 0.0) for key in names}
        if model == RATIONAL_MODEL:
            coefficients |= {f"d{i}": self._value(f"k{3 + i}", 0.0) for i in (1, 2, 3)}
        return (Fisheye if model == FISHEYE_MODEL else Perspective)(**coefficients)

    def _focal_length(self, axis: str, size: int) -> float | None:
        """Pixels, for an axis of the given size; the frame's own value goes before its file's; None without either."""
        length, angle = f"fl_{axis}", f"camera_angle_{axis}"
        for table in (self.own, self.shared):
            if length in table:
                return positive(table, length, 1.0, self.where)
            if angle in table:
                return 0.5 * size / math.tan(0.5 * positive(table, angle, 1.0, self.where))
        return None

    def _mask(self) -> Mask | None:
        """nerfstudio names a mask whose black is ignored; instant-ngp has dynamic_mask_NAME.png, whose black is not."""
        if "mask_path" in self.own:
            path = existing(self.file.parent, self.own["mask_path"])
            if path is None:
                raise SceneError(f"{self.where}: its mask_path does not exist; put the mask there or remove mask_path")
            return Mask(path, black_is_ignored=True)
        beside = existing(self.path.parent, f"dynamic_mask_{self.path.stem}.png")
        return Mask(beside, black_is_ignored=False) if beside else None

    def _depth_map(self, *keys: tuple[str, str, float]) -> DepthMap | None:
        """Of the first key that names a file: with it, the key of its unit and that unit's default."""
        for key, unit, default in keys:
            if path := existing(self.file.parent, self.own[key]) if key in self.own else None:
                return DepthMap(path, positive(self.shared, unit, default, self.where))
        return None

    def _image_circle(self) -> float | None:
        if self.shared.get("fisheye_crop_radius") is None:
            return None
        width = positive({**self.shared, **self.own}, "w", None, self.where)
        return positive(self.shared, "fisheye_crop_radius", None, self.where) / width
