"""From a capture to a scene: the box, images and cameras."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from nerfcore.cameras.intrinsics import Camera
from nerfcore.data.bounds import choose_box, nearest_seen
from nerfcore.data.capture import Capture, Entry
from nerfcore.data.images import any_of_block, box_mean, read_grey, read_image
from nerfcore.data.scene import Frame, Scene, Split
from nerfcore.errors import SceneError

READER_THREADS = 4


class Photo(NamedTuple):
    """The size of the file's image, its camera and its pixels as they are stored, and which of these do not count."""

    width: int
    height: int
    camera: Camera
    pixels: np.ndarray
    ignored: np.ndarray | None


def build_scene(capture: Capture, downscale: int) -> Scene:
    """Reads the images of a capture and joins them to a scene. Warns once of images that do not exist."""
    entries, root = capture.entries, capture.root
    if capture.absent:
        total = capture.absent + len(entries)
        warnings.warn(
            f"{root}: {capture.absent} of {total} listed images do not exist; their frames are skipped", stacklevel=3
        )
    with ThreadPoolExecutor(READER_THREADS) as pool:
        photos = list(pool.map(lambda entry: _read_photo(entry, downscale), entries))
    _check_sizes(entries, photos)
    box = capture.box or choose_box(entries, capture.points)
    channels = max(photo.pixels.shape[2] for photo in photos)
    parts = {name: _join(split, [photos.pop(0) for _ in split], channels) for name, split in capture.splits.items()}
    return Scene(
        name=root.resolve().name, root=root, train=parts["train"], val=parts.get("val"), test=parts["test"],
        transform=box.transform, cascades=box.cascades, has_alpha=channels == 4, split_rule=capture.split_rule,
        points=None if capture.points is None else torch.from_numpy(capture.points.xyz).float(),
        nearest=nearest_seen(entries, capture.points) or None,
    )


def _read_photo(entry: Entry, downscale: int) -> Photo:
    image = read_image(entry.path)
    height, width = image.shape[:2]
    if min(width, height) < downscale:
        raise SceneError(
            f"{entry.path}: is {width}x{height}, too small to downscale by {downscale}; choose a smaller factor"
        )
    if entry.alpha is not None:
        coverage = read_grey(entry.alpha, width, height, entry.path)
        image = np.concatenate([image[:, :, :3], coverage[:, :, None]], axis=2)
    camera = entry.camera(width, height)
    ignored = ignored_pixels(entry, camera)
    if downscale > 1:
        image, camera = box_mean(image, downscale), camera.downscaled(downscale)
        ignored = None if ignored is None else any_of_block(ignored, downscale)
    if ignored is not None and ignored.all():
        raise SceneError(f"{entry.path}: its mask and its lens leave no pixel of it; correct them or remove its frame")
    return Photo(width, height, camera, image, ignored)


def ignored_pixels(entry: Entry, camera: Camera) -> np.ndarray | None:
    """bool [H, W]: the pixels of a photo that its mask names or that see nothing through its lens; None if there can be
    none. camera: that of the photo at its full size."""
    if entry.mask is None and entry.image_circle is None and not camera.lens.is_wide:
        return None
    pixel = camera.pixel_centres()
    covered = camera.covers(pixel)
    if entry.image_circle is not None:
        away = (pixel - pixel.new_tensor([camera.cx, camera.cy])).norm(dim=1)
        covered &= away < entry.image_circle * camera.width
    ignored = ~covered.reshape(camera.height, camera.width).numpy()
    if entry.mask is not None:
        black = read_grey(entry.mask.path, camera.width, camera.height, entry.path) == 0
        ignored |= black if entry.mask.black_is_ignored else ~black
    return ignored


def _check_sizes(entries: list[Entry], photos: list[Photo]) -> None:
    """One set of intrinsics fits images of one size only."""
    firsts: dict[str, tuple[Path, Photo]] = {}
    for entry, photo in zip(entries, photos, strict=True):
        if entry.calibration is not None:
            first_path, first = firsts.setdefault(entry.calibration, (entry.path, photo))
            if (photo.width, photo.height) != (first.width, first.height):
                raise SceneError(
                    f"{entry.calibration}: image {entry.path} is {photo.width}x{photo.height} but {first_path} is "
                    f"{first.width}x{first.height}, with one set of intrinsics for both; give intrinsics per frame"
                )


def _join(entries: list[Entry], photos: list[Photo], channels: int) -> Split:
    """Lays the photos end to end, each freed once copied; those without alpha become opaque if others have it."""
    frames = [
        Frame(
            entry.name, photo.camera, entry.pose.float(), entry.path, *(entry.z_depth or (None, 1.0)), entry.near_far
        )
        for entry, photo in zip(entries, photos, strict=True)
    ]
    offsets = np.cumsum([0, *(frame.camera.width * frame.camera.height for frame in frames)])
    dtype = photos[0].pixels.dtype
    pixels = np.empty((offsets[-1], channels), dtype)
    ignored = np.zeros(offsets[-1], bool) if any(photo.ignored is not None for photo in photos) else None
    for start, end in pairwise(offsets):
        photo = photos.pop(0)
        image = photo.pixels
        pixels[start:end, : image.shape[2]] = image.reshape(-1, image.shape[2])
        pixels[start:end, image.shape[2] :] = np.iinfo(dtype).max
        if photo.ignored is not None:
            ignored[start:end] = photo.ignored.reshape(-1)
    mask = None if ignored is None or not ignored.any() else torch.from_numpy(ignored)
    return Split(frames, torch.from_numpy(pixels), torch.from_numpy(offsets), mask)
