"""Moving and still pictures of a trained model, written to disk.

All functions take any object with ``cameras`` (list of name, Camera, pose) and ``render_image(camera, pose, ...)``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import torch
from torch import Tensor

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.lenses import LENSES, Equirectangular
from nerfcore.cameras.trajectories import Spline, face_one_way, looked_at, mean_pose, orbit_of, spiral_of
from nerfcore.data.camera_path import CameraPath
from nerfcore.errors import OutputError

MAX_SIDE = 800  # pixels; larger training photos give a smaller video unless a size is asked for
UINT16_MAX = 65535
STILLS_SCHEMA = 1
PROBE_SIDE = 64  # pixels of the picture that tells how far away a scene is

OnFrame = Callable[[int, int], None]
View = tuple[Camera, Tensor]


def trajectory(
    model, kind: str | None = None, num_frames: int = 60, size: tuple[int, int] | None = None, lens: str | None = None
) -> list[View]:
    """Cameras and poses of a video of a model.

    kind: "orbit", one turn about the point that the training cameras look at; "spiral", windings about their mean pose;
    "cameras", a smooth way along all of them in their order; None is a spiral where all look the same way, else an
    orbit. size: (width, height) in pixels, rounded down to even numbers; None is the training size, at most 800 pixels
    a side. lens: "perspective", "fisheye", "equirectangular" or "orthographic"; None is that of the first training
    camera, without its distortion.
    """
    given = torch.stack([pose for _, _, pose in model.cameras])
    if num_frames < 1:
        raise ValueError(f"a video needs at least 1 frame, got {num_frames}")
    kind = kind or ("spiral" if face_one_way(given) else "orbit")
    distance = (given[:, :, 3].double() - looked_at(given)).norm(dim=-1).mean().item()
    if kind == "spiral":
        distance = _distance_seen(model, mean_pose(given)) or distance
        poses = spiral_of(given, distance, num_frames)
    elif kind == "cameras":
        spline = Spline(given)
        poses = spline(spline.parameters(num_frames, constant_speed=True)).float()
    else:
        poses = orbit_of(given, num_frames)
    camera = video_camera(model.cameras[0][1], size, lens, distance)
    return [(camera, pose) for pose in poses]


def path_trajectory(
    model, path: CameraPath, size: tuple[int, int] | None = None, lens: str | None = None
) -> list[View]:
    """Cameras and poses of the video that a camera path describes; size and lens, where given, replace the path's."""
    size = size or (path.width, path.height)
    target = looked_at(torch.stack([pose for _, _, pose in model.cameras]))
    return [
        (video_camera(camera, size, lens, (pose[:, 3].double() - target).norm().item()), pose)
        for camera, pose in path.views()
    ]


def write_video(
    model, path: str | Path, views: list[View], fps: float = 24, background="white", on_frame: OnFrame | None = None
) -> Path:
    """Writes what cameras of one size see, one after the other, as an .mp4 (H.264, yuv420p) and returns its path.

    on_frame(done, total) is called after each frame. Raises OutputError if the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise OutputError(f"{path}: a video must end in .mp4; choose another name")
    if not views or not fps > 0:
        raise ValueError(f"a video needs at least 1 frame and some frames a second, got {len(views)} and {fps}")
    size = views[0][0].width, views[0][0].height
    with _writes(path):
        path.open("wb").close()
        writer = imageio_ffmpeg.write_frames(
            str(path), size, fps=fps, codec="libx264", pix_fmt_out="yuv420p", macro_block_size=2, quality=8
        )
        writer.send(None)
        try:
            for done, (camera, pose) in enumerate(views, 1):
                writer.send(to_uint8(model.render_image(camera, pose, background=background)["rgb"]))
                if on_frame is not None:
                    on_frame(done, len(views))
        finally:
            writer.close()
    return path


def write_stills(
    model, folder: str | Path, count: int = 3, background="white", on_frame: OnFrame | None = None
) -> list[Path]:
    """Writes what ``count`` training cameras, evenly spread over the list, see: four PNG files each. Returns all paths.

    ``NAME_rgb`` and ``NAME_normal`` are 8-bit; a normal n, in world axes, is stored as (n + 1) / 2, and as mid-grey
    where there is nothing. ``NAME_distance`` (along the ray) and ``NAME_z_depth`` (along the camera axis) are 16-bit
    grey, 0 where there is nothing (or what a wide lens sees behind the camera, in z_depth); ``stills.json`` holds the
    numbers that turn their values into world units. Raises OutputError.
    """
    folder = Path(folder)
    chosen = torch.linspace(0, len(model.cameras) - 1, min(count, len(model.cameras))).round().int().tolist()
    written, scales = [], {}
    with _writes(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for done, index in enumerate(chosen, 1):
            name, camera, pose = model.cameras[index]
            image = model.render_image(camera, pose, background=background, normals=True)
            stem = f"{done:02d}_{Path(name).stem}"
            layers = {"rgb": to_uint8(image["rgb"]), "normal": to_uint8(0.5 * image["normal"] + 0.5)}
            for layer in ("distance", "z_depth"):
                layers[layer], scales[f"{stem}_{layer}.png"] = to_uint16(image[layer])
            for layer, pixels in layers.items():
                written.append(folder / f"{stem}_{layer}.png")
                iio.imwrite(written[-1], pixels)
            if on_frame is not None:
                on_frame(done, len(chosen))
        written.append(folder / "stills.json")
        note = "world units = scale * pixel value; 0 is empty"
        written[-1].write_text(json.dumps({"schema": STILLS_SCHEMA, "note": note, "scale": scales}, indent=1) + "\n")
    return written


def video_camera(
    camera: Camera, size: tuple[int, int] | None = None, lens: str | None = None, distance: float = 1.0
) -> Camera:
    """``camera`` without distortion at the even size (width, height); None keeps its own, at most 800 pixels on a side.

    A size of another shape keeps the scale and the centre of the picture: the view is cut or widened, never stretched.
    Another lens keeps the size of what is in the middle of the picture, so far away; an equirectangular one shows all
    directions, in a picture twice as wide as high unless a size is given.
    """
    lens = type(camera.lens)() if lens is None else LENSES[lens]()
    is_panorama = isinstance(lens, Equirectangular)
    if size is None:
        shape = camera.width, camera.width // 2 if is_panorama else camera.height
        shrink = min(1.0, MAX_SIDE / max(shape))
        size = round(shape[0] * shrink), round(shape[1] * shrink)
    width, height = (side // 2 * 2 for side in size)
    if min(width, height) < 2:
        raise ValueError(f"a video must be at least 2 x 2 pixels, got {size[0]} x {size[1]}")
    if is_panorama:
        return Camera.panorama(width, height)
    scale = math.sqrt(width / camera.width * height / camera.height)
    if lens.is_central != camera.lens.is_central:  # pixels per radian become pixels per world unit, or the reverse
        scale *= distance if lens.is_central else 1 / distance
    return replace(
        camera, width=width, height=height, fl_x=camera.fl_x * scale, fl_y=camera.fl_y * scale,
        cx=camera.cx * width / camera.width, cy=camera.cy * height / camera.height, lens=lens,
    )


def to_uint8(image: Tensor) -> np.ndarray:
    """[H, W, C] in [0, 1], clipped, as contiguous 8-bit values."""
    return (image.detach().clamp(0, 1) * 255).round().byte().cpu().contiguous().numpy()


def to_uint16(distances: Tensor) -> tuple[np.ndarray, float]:
    """[H, W] not negative, as 16-bit values that use the full range, and the scale that turns these back."""
    scale = max(distances.max().item(), 1e-12) / UINT16_MAX
    return (distances.detach() / scale).round().clamp(0, UINT16_MAX).cpu().numpy().astype(np.uint16), scale


def _distance_seen(model, pose: Tensor) -> float:
    """How far away from a pose, along the middle of the picture, what stands there usually is; 0 if nothing does."""
    image = model.render_image(video_camera(model.cameras[0][1], (PROBE_SIDE, PROBE_SIDE), "perspective"), pose)
    seen = image["z_depth"][image["opacity"] > 0.5]
    return seen.median().item() if len(seen) else 0.0


@contextmanager
def _writes(path: Path) -> Iterator[None]:
    """Turns what the system or ffmpeg says against writing ``path`` into an OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        reason = error.strerror or (str(error).splitlines() or ["unknown reason"])[0]
        raise OutputError(f"{path}: cannot be written ({reason}); choose another place") from error
