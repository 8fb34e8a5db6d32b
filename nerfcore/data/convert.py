"""Captures written in the forms that other programs read: nerfstudio's ``transforms.json`` and COLMAP's text model."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from scipy.spatial.transform import Rotation

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.lenses import Equirectangular, Fisheye, Lens
from nerfcore.cameras.poses import to_opencv_axes
from nerfcore.data.bounds import as_instant_ngp, find_box
from nerfcore.data.capture import HOLD_OUT_RULE, Capture, Entry, SparsePoints
from nerfcore.data.colmap import CAMERA_MODELS
from nerfcore.data.formats import read_capture
from nerfcore.data.images import image_size, read_grey, read_image
from nerfcore.data.listing import DISTANCE_KEYS, FISHEYE_MODEL, PANORAMA_MODEL, RATIONAL_MODEL, Z_DEPTH_KEYS
from nerfcore.data.photo import ignored_pixels
from nerfcore.errors import OutputError
from nerfcore.files import write_file

POINTS_FILE = "sparse_pc.ply"
DEPTH_KEYS = {"z_depth": Z_DEPTH_KEYS[0], "distance": DISTANCE_KEYS}


def convert_capture(
    path: str | Path, out: str | Path, to: str, on_photo: Callable[[int, int], None] | None = None
) -> Capture:
    """Writes the capture at ``path`` into the folder ``out``, which must be empty or new, and returns it.

    to: "nerfstudio" or "colmap" (text). Photos are copied to ``images``; those whose alpha is a file of its own become
    RGBA. Masks, with image circles, are written to ``masks``, black where pixels are ignored. World coordinates and
    cameras stay as they are; COLMAP's form has no place for the box, depths and which photos are held out.
    on_photo(done, total) is called after each photo. Raises SceneError, and OutputError for what cannot be written.
    """
    if to not in WRITERS:
        raise ValueError(f"to must be one of {', '.join(WRITERS)}, got {to!r}")
    capture, out = read_capture(Path(path)), Path(out)
    if capture.broken:
        raise capture.broken[0]
    require_empty(out)
    write_capture(capture, out, to, on_photo)
    return capture


def require_empty(out: Path) -> None:
    """Raises OutputError where there is a folder with something in it."""
    if out.is_dir() and any(out.iterdir()):
        raise OutputError(f"{out}: is not empty; choose another folder")


def write_capture(capture: Capture, out: Path, to: str, on_photo: Callable[[int, int], None] | None = None) -> None:
    """The same for a capture that has been read and that nothing is wrong with, into a folder that may hold other
    things; photos that are in its ``images`` already stay as they are."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        photos = []
        common = os.path.commonpath([os.path.abspath(entry.path.parent) for entry in capture.entries])
        for entry in capture.entries:
            photos.append(_Photo(entry, out, common))
            if on_photo is not None:
                on_photo(len(photos), len(capture.entries))
        WRITERS[to](capture, photos, out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); choose another place") from error


class _Photo:
    """One of them, copied into ``out``, and the camera of its image. name: below ``images``."""

    def __init__(self, entry: Entry, out: Path, common: str):
        self.entry, self.out = entry, out
        self.width, self.height = image_size(entry.path)
        self.camera = entry.camera(self.width, self.height)
        relative = Path(os.path.relpath(entry.path, common))
        self.name = (relative if entry.alpha is None else relative.with_suffix(".png")).as_posix()
        image = self._make_room("images", self.name)
        if entry.alpha is None:
            if not (image.exists() and image.samefile(entry.path)):
                shutil.copyfile(entry.path, image)
        else:
            coverage = read_grey(entry.alpha, self.width, self.height, entry.path)
            iio.imwrite(image, np.dstack([read_image(entry.path)[:, :, :3], coverage]))
        self.mask = self._write_mask()

    def _write_mask(self) -> str | None:
        """Its name below ``out``, of the mask that COLMAP and nerfstudio expect."""
        if self.entry.mask is None and self.entry.image_circle is None:
            return None
        name = f"{self.name}.png"
        ignored = ignored_pixels(self.entry, self.camera)
        iio.imwrite(self._make_room("masks", name), np.where(ignored, 0, 255).astype(np.uint8))
        return f"masks/{name}"

    def copy_depth_map(self, kind: str) -> str | None:
        """The name below ``out`` of a copy of its depth map of a kind, "z_depth" or "distance"."""
        if (depth_map := getattr(self.entry, kind)) is None:
            return None
        name = Path(self.name).with_suffix(depth_map.path.suffix).as_posix()
        shutil.copyfile(depth_map.path, self._make_room(kind, name))
        return f"{kind}/{name}"

    def _make_room(self, folder: str, name: str) -> Path:
        path = self.out / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _write_nerfstudio(capture: Capture, photos: list[_Photo], out: Path) -> None:
    """``transforms.json``, which instant-ngp reads too: the box is in it by its names. Intrinsics that all photos share
    stand at its top."""
    intrinsics = [_intrinsics(photo.camera) for photo in photos]
    shared = {k: v for k, v in intrinsics[0].items() if all(own.get(k) == v for own in intrinsics)}
    table = dict(shared, **as_instant_ngp(find_box(capture)))
    for kind, (_, unit, _) in DEPTH_KEYS.items():
        units = {depth_map.unit for photo in photos if (depth_map := getattr(photo.entry, kind))}
        if len(units) == 1:
            table[unit] = units.pop()
    if capture.split_rule != HOLD_OUT_RULE:
        names = iter(photos)
        for split, entries in capture.splits.items():
            table[f"{split}_filenames"] = [f"images/{next(names).name}" for _ in entries]
    if capture.points is not None:
        _write_ply(capture.points, out / POINTS_FILE)
        table["ply_file_path"] = POINTS_FILE
    table["frames"] = []
    for photo, own in zip(photos, intrinsics, strict=True):
        frame = dict(file_path=f"images/{photo.name}", **{k: v for k, v in own.items() if k not in shared})
        if photo.mask:
            frame["mask_path"] = photo.mask
        for kind, (path, unit, _) in DEPTH_KEYS.items():
            if unit in table and (copy := photo.copy_depth_map(kind)):
                frame[path] = copy
        frame["transform_matrix"] = [*photo.entry.pose.tolist(), [0.0, 0.0, 0.0, 1.0]]
        table["frames"].append(frame)
    write_file(out / "transforms.json", json.dumps(table, indent=1))


def _intrinsics(camera: Camera) -> dict:
    """By the names of transforms files: nerfstudio's, and instant-ngp's for lenses that it tells by others."""
    model, coefficients = "OPENCV", dict(camera.lens.coefficients)
    denominators = [coefficients.pop(f"d{i}", 0.0) for i in (1, 2, 3)]
    if isinstance(camera.lens, Fisheye):
        model = FISHEYE_MODEL
        coefficients["is_fisheye"] = True
    elif isinstance(camera.lens, Equirectangular):
        model = PANORAMA_MODEL
    elif any(denominators):
        model = RATIONAL_MODEL
        coefficients |= dict(zip(("k4", "k5", "k6"), denominators, strict=True))
    fl_x, fl_y = camera.fl_x, camera.fl_y
    if model == PANORAMA_MODEL:
        fl_x, fl_y = camera.width / 2, float(camera.height)  # nerfstudio measures both angles in half turns
        coefficients["latlong"] = True
    size = dict(w=camera.width, h=camera.height)
    return dict(camera_model=model, **size, fl_x=fl_x, fl_y=fl_y, cx=camera.cx, cy=camera.cy, **coefficients)


def _write_ply(points: SparsePoints, path: Path) -> None:
    """In ASCII, with all digits."""
    names = [*(f"double {axis}" for axis in "xyz"), *(f"uchar {name}" for name in ("red", "green", "blue"))]
    header = ["ply", "format ascii 1.0", f"element vertex {len(points.xyz)}", *(f"property {n}" for n in names)]
    rows = [" ".join(map(repr, [*xyz, *rgb])) for xyz, rgb in _rows(points)]
    path.write_text("\n".join([*header, "end_header", *rows, ""]))


def _rows(points: SparsePoints) -> zip:
    return zip(points.xyz.tolist(), points.rgb.tolist(), strict=True)


def _write_colmap(capture: Capture, photos: list[_Photo], out: Path) -> None:
    """``sparse/0`` with ``cameras.txt``, ``images.txt`` and ``points3D.txt``, without which point was seen where."""
    folder = out / "sparse" / "0"
    folder.mkdir(parents=True)
    cameras = {camera: i for i, camera in enumerate(dict.fromkeys(photo.camera for photo in photos), 1)}
    lines = [_colmap_camera(camera, number) for camera, number in cameras.items()]
    (folder / "cameras.txt").write_text("\n".join(["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]", *lines, ""]))
    lines = []
    for number, photo in enumerate(photos, 1):
        pose = to_opencv_axes(photo.entry.pose).numpy()
        rotation = pose[:, :3].T
        quaternion = Rotation.from_matrix(rotation).as_quat(canonical=True, scalar_first=True)
        values = " ".join(map(repr, [*quaternion.tolist(), *(-rotation @ pose[:, 3]).tolist()]))
        lines += [f"{number} {values} {cameras[photo.camera]} {photo.name}", ""]
    (folder / "images.txt").write_text("\n".join(["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME", *lines, ""]))
    rows = [] if capture.points is None else _rows(capture.points)
    lines = [f"{i} {' '.join(map(repr, [*xyz, *rgb]))} 0" for i, (xyz, rgb) in enumerate(rows, 1)]
    (folder / "points3D.txt").write_text("\n".join(["# POINT3D_ID X Y Z R G B ERROR", *lines, ""]))


def _colmap_camera(camera: Camera, number: int) -> str:
    """A line of ``cameras.txt``, by the first model that says all."""
    table = {name: getattr(camera, name) for name in ("fl_x", "fl_y", "cx", "cy")}
    bends = {name: value for name, value in camera.lens.coefficients.items() if value}
    for name in ("PINHOLE", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV"):
        model = CAMERA_MODELS[name]
        if isinstance(camera.lens, model.lens) and set(bends) <= set(model.parameters):
            values = [repr(table.get(parameter, bends.get(parameter, 0.0))) for parameter in model.parameters]
            return " ".join([str(number), name, str(camera.width), str(camera.height), *values])
    raise OutputError(
        f"COLMAP has no camera model for a lens that is {_described(camera.lens)}; convert to nerfstudio instead"
    )


def _described(lens: Lens) -> str:
    return f"{lens.name} with {', '.join(f'{k} {v:g}' for k, v in lens.coefficients.items() if v) or 'no distortion'}"


WRITERS = {"nerfstudio": _write_nerfstudio, "colmap": _write_colmap}
