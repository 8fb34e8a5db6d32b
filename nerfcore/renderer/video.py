"""Moving and still pictures of a trained model, written to disk.

Both functions take any object with ``cameras`` (list of name, Camera, pose) and ``render_image(camera, pose, ...)``.
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
from nerfcore.cameras.trajectories import looked_at, orbit_of
from nerfcore.errors import OutputError

MAX_SIDE = 800  # pixels; larger training photos give a smaller video unless a size is asked for
UINT16_MAX = 65535
STILLS_SCHEMA = 1

OnFrame = Callable[[int, int], None]


def write_orbit_video(
    model, path: str | Path, num_frames: int = 60, size: tuple[int, int] | None = None, fps: int = 24,
    background="white", on_frame: OnFrame | None = None, lens: str | None = None,
) -> Path:
    """Writes one turn around the scene as an .mp4 (H.264, yuv420p) and returns its path.

    The camera is the first training camera without its lens distortion, on the orbit that suits the training poses.
    size: (width, height) in pixels, rounded down to even numbers; None is the training size, at most 800 pixels a side.
    lens: "perspective", "fisheye", "equirectangular" or "orthographic"; None is that of the training camera.
    on_frame(done, total) is called after each frame. Raises OutputError if the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise OutputError(f"{path}: a video must end in .mp4; choose another name")
    if num_frames < 1 or fps < 1:
        raise ValueError(f"a video needs at least 1 frame and 1 frame a second, got {num_frames} and {fps}")
    given = torch.stack([pose for _, _, pose in model.cameras])
    poses = orbit_of(given, num_frames)
    distance = (poses[0, :, 3] - looked_at(given)).norm()
    camera = video_camera(model.cameras[0][1], size, lens, distance.item())
    with _writes(path):
        path.open("wb").close()
        writer = imageio_ffmpeg.write_frames(
            str(path), (camera.width, camera.height), fps=fps, codec="libx264", pix_fmt_out="yuv420p",
            macro_block_size=2, quality=8,
        )
        writer.send(None)
        try:
            for done, pose in enumerate(poses, 1):
                writer.send(to_uint8(model.render_image(camera, pose, background=background)["rgb"]))
                if on_frame is not None:
                    on_frame(done, num_frames)
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


@contextmanager
def _writes(path: Path) -> Iterator[None]:
    """Turns what the system or ffmpeg says against writing ``path`` into an OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        reason = error.strerror or (str(error).splitlines() or ["unknown reason"])[0]
        raise OutputError(f"{path}: cannot be written ({reason}); choose another place") from error
