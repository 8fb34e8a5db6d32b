"""Small captures of every form, written from one set of cameras without the code that reads them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import NamedTuple

import imageio.v3 as iio
import numpy as np
from scipy.spatial.transform import Rotation

from nerfcore.cameras import look_at

SIZE = WIDTH, HEIGHT = 16, 12
FL_X, FL_Y, CX, CY = 20.0, 21.0, 8.5, 5.5
FLIP = np.diag([1.0, -1.0, -1.0])  # between our camera axes and those of OpenCV
COLMAP_NUMBERS = {"PINHOLE": 1, "OPENCV": 4, "FOV": 7}


class View(NamedTuple):
    """A photo of a capture: its name, camera-to-world rotation (our axes) and position."""

    name: str
    rotation: np.ndarray
    centre: np.ndarray


def views(count: int = 10) -> list[View]:
    """Cameras on a slanted ring about (0.5, -1, 2), that look at it."""
    ring = []
    for i in range(count):
        angle, middle = 0.6 * i, np.array([0.5, -1.0, 2.0])
        eye = middle + 4 * np.array([np.cos(angle), np.sin(angle), 0.3])
        right_up_back = np.array(look_at(eye.tolist(), middle.tolist()).tolist())[:, :3]
        left, _, right = np.linalg.svd(right_up_back)
        ring.append(View(f"{i:03d}.png", left @ right, eye))
    return ring


def points(count: int = 200) -> np.ndarray:
    """[N, 6]: positions about what the cameras look at, and colours."""
    generator = np.random.default_rng(0)
    return np.hstack([
        generator.normal([0.5, -1.0, 2.0], 0.5, (count, 3)), generator.integers(0, 256, (count, 3)).astype(float)
    ])


def draw(folder: Path, names: list[str], size: tuple[int, int] = SIZE, channels: int = 3) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        shape = size[1], size[0], channels
        picture = np.random.default_rng(i).integers(0, 256, shape if channels > 1 else shape[:2], np.uint8)
        iio.imwrite(folder / name, picture)


def matrix(view: View) -> list[list[float]]:
    return [*np.hstack([view.rotation, view.centre[:, None]]).tolist(), [0.0, 0.0, 0.0, 1.0]]


def instant_ngp(folder: Path, count: int = 10, **top) -> Path:
    draw(folder / "images", [view.name for view in views(count)])
    frames = [{"file_path": f"images/{v.name}", "transform_matrix": matrix(v)} for v in views(count)]
    intrinsics = dict(fl_x=FL_X, fl_y=FL_Y, cx=CX, cy=CY, w=WIDTH, h=HEIGHT)
    (folder / "transforms.json").write_text(json.dumps({**intrinsics, "aabb_scale": 2, **top, "frames": frames}))
    return folder


def nerfstudio(folder: Path, count: int = 10, **top) -> Path:
    instant_ngp(folder, count)
    table = json.loads((folder / "transforms.json").read_text())
    del table["aabb_scale"]
    (folder / "transforms.json").write_text(json.dumps({**table, "camera_model": "OPENCV", "k1": 0.0, **top}))
    return folder


def blender(folder: Path, count: int = 10) -> Path:
    for split in ("train", "test"):
        draw(folder / split, [view.name for view in views(count)], channels=4)
        frames = [{"file_path": f"./{split}/{v.name[:-4]}", "transform_matrix": matrix(v)} for v in views(count)]
        table = dict(camera_angle_x=0.8, frames=frames)
        (folder / f"transforms_{split}.json").write_text(json.dumps(table))
    return folder


def llff(folder: Path, count: int = 10, images: str = "images", factor: int = 1) -> Path:
    """Photos reduced by a factor, in the folder of that name; the array is of the full size."""
    draw(folder / images, [view.name for view in views(count)], (WIDTH, HEIGHT))
    rows = []
    for view in views(count):
        right, up, backward = view.rotation.T
        size = [HEIGHT * factor, WIDTH * factor, FL_X * factor]
        rows.append([*np.stack([-up, right, backward, view.centre, size], axis=1).ravel(), 3.0, 6.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    return folder


def colmap(
    folder: Path, count: int = 10, binary: bool = True, model: str = "OPENCV", bends: tuple = (0.01, 0.0, 0.0, 0.0),
    sparse: str = "sparse/0",
) -> Path:
    """One camera for each image."""
    draw(folder / "images", [view.name for view in views(count)])
    (folder / sparse).mkdir(parents=True, exist_ok=True)
    if model == "PINHOLE":
        bends = ()
    write = _write_binary if binary else _write_text
    write(folder / sparse, views(count), model, [FL_X, FL_Y, CX, CY, *bends])
    return folder


def world_to_camera(view: View) -> tuple[list[float], list[float]]:
    """Quaternion (w, x, y, z) and translation of COLMAP."""
    rotation = (view.rotation @ FLIP).T
    x, y, z, w = Rotation.from_matrix(rotation).as_quat().tolist()
    return [w, x, y, z], (-rotation @ view.centre).tolist()


def _write_binary(folder: Path, ring: list[View], model: str, parameters: list[float]) -> None:
    cameras, images, cloud = bytearray(), bytearray(), bytearray()
    for i, view in enumerate(ring):
        cameras += struct.pack("<IiQQ", i + 1, COLMAP_NUMBERS[model], WIDTH, HEIGHT)
        cameras += struct.pack(f"<{len(parameters)}d", *parameters)
        rotation, translation = world_to_camera(view)
        images += struct.pack("<I7dI", i + 7, *rotation, *translation, i + 1) + view.name.encode() + b"\0"
        images += struct.pack("<Q", 2) + struct.pack("<ddqddq", 1.5, 2.5, 4, 3.5, 4.5, -1)
    for i, (x, y, z, *rgb) in enumerate(points()):
        cloud += struct.pack("<QdddBBBdQ", i, x, y, z, *map(int, rgb), 0.5, 1) + struct.pack("<II", 7, 0)
    for name, content, number in (("cameras", cameras, len(ring)), ("images", images, len(ring)), ("points3D", cloud, 200)):
        (folder / f"{name}.bin").write_bytes(struct.pack("<Q", number) + content)


def _write_text(folder: Path, ring: list[View], model: str, parameters: list[float]) -> None:
    cameras, images = ["# Camera list"], ["# Image list"]
    for i, view in enumerate(ring):
        cameras.append(" ".join(map(repr, [i + 1, WIDTH, HEIGHT, *parameters])).replace(" ", f" {model} ", 1))
        rotation, translation = world_to_camera(view)
        images.append(" ".join(map(repr, [i + 7, *rotation, *translation, i + 1])) + f" {view.name}")
        images.append("1.5 2.5 4 3.5 4.5 -1" if i % 2 else "")
    cloud = [f"{i} {x!r} {y!r} {z!r} {r:.0f} {g:.0f} {b:.0f} 0.5 7 0" for i, (x, y, z, r, g, b) in enumerate(points().tolist())]
    for name, lines in (("cameras", cameras), ("images", images), ("points3D", cloud)):
        (folder / f"{name}.txt").write_text("\n".join([*lines, ""]))


def neus(folder: Path, count: int = 10, masks: bool = True) -> Path:
    draw(folder / "image", [view.name for view in views(count)])
    if masks:
        draw(folder / "mask", [view.name for view in views(count)], channels=1)
    intrinsics = np.array([[FL_X, 0, CX - 0.5], [0, FL_Y, CY - 0.5], [0, 0, 1]])
    arrays = {}
    for i, view in enumerate(views(count)):
        rotation = (view.rotation @ FLIP).T
        projection = intrinsics @ np.hstack([rotation, -(rotation @ view.centre)[:, None]])
        arrays[f"world_mat_{i}"] = np.vstack([(-1.5 if i % 2 else 2.0) * projection, [0, 0, 0, 1]])
        arrays[f"scale_mat_{i}"] = np.diag([1.5, 1.5, 1.5, 1.0]) + np.outer([0.5, -1, 2, 0], [0, 0, 0, 1])
    np.savez(folder / "cameras_sphere.npz", **arrays)
    return folder


def record3d(folder: Path, count: int = 10) -> Path:
    draw(folder / "rgb", [f"{i}.png" for i in range(count)])
    poses = [[*Rotation.from_matrix(v.rotation).as_quat().tolist(), *v.centre.tolist()] for v in views(count)]
    table = dict(w=WIDTH, h=HEIGHT, K=[FL_X, 0, 0, 0, FL_Y, 0, CX, CY, 1], poses=poses, fps=60)
    (folder / "metadata.json").write_text(json.dumps(table))
    return folder


def polycam(folder: Path, count: int = 10) -> Path:
    keyframes = folder / "keyframes"
    draw(keyframes / "corrected_images", [v.name.replace("png", "jpg") for v in views(count)])
    draw(keyframes / "depth", [v.name for v in views(count)], channels=1)
    (keyframes / "corrected_cameras").mkdir(parents=True)
    for view in views(count):
        table = dict(fx=FL_X, fy=FL_Y, cx=CX, cy=CY, width=WIDTH, height=HEIGHT, blur_score=100.0)
        table |= {f"t_{r}{c}": matrix(view)[r][c] for r in range(3) for c in range(4)}
        (keyframes / "corrected_cameras" / view.name.replace("png", "json")).write_text(json.dumps(table))
    return folder


def colmap_text(folder: Path, count: int = 10) -> Path:
    return colmap(folder, count, binary=False)


FORMS = dict(
    blender=blender, instant_ngp=instant_ngp, nerfstudio=nerfstudio, llff=llff, colmap_binary=colmap,
    colmap_text=colmap_text, neus=neus, record3d=record3d, polycam=polycam,
)
