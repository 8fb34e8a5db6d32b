"""From a capture to a scene: the box, images and cameras."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import accumulate

import numpy as np
import torch

from nerfcore._toolchain import available_memory
from nerfcore.data.bounds import find_box, nearest_seen
from nerfcore.data.capture import Capture
from nerfcore.data.photo import Photo
from nerfcore.data.pixels import table_bytes
from nerfcore.data.scene import Frame, Scene, Split, StoredSplit
from nerfcore.errors import SceneError

READER_THREADS = 4
MEMORY_SHARE = 0.5  # of what is free, that photographs may take


def build_scene(
    capture: Capture, downscale: int, memory: float | None = None, depth_maps: bool = False
) -> Scene:
    """Joins the photographs of a capture to a scene. Warns once of images that do not exist.

    memory: bytes that they may take, with what training looks up of each pixel; None for half of what is free. Headers
    tell the size before anything is decoded: more photographs than that stay in their files. depth_maps: those of the
    training views are read too.
    """
    if capture.broken:
        raise capture.broken[0]
    root = capture.root
    if capture.absent:
        total = len(capture.absent) + len(capture.entries)
        warnings.warn(
            f"{root}: {len(capture.absent)} of {total} listed images do not exist; their frames are skipped",
            stacklevel=3,
        )
    with ThreadPoolExecutor(READER_THREADS) as readers:
        photos = list(readers.map(lambda entry: Photo.of(entry, downscale), capture.entries))
        _check_sizes(photos)
        box = find_box(capture)
        channels = max(photo.channels for photo in photos)
        photos = iter(replace(photo, channels=channels) for photo in photos)
        splits = {name: [next(photos) for _ in entries] for name, entries in capture.splits.items()}
        memory = memory_for_photographs() if memory is None else memory
        measured = depth_maps and any(photo.depth_map for photo in splits["train"])
        if _bytes_in_memory(splits, measured) <= memory:
            parts = {name: _in_memory(split, readers) for name, split in splits.items()}
            if measured:
                parts["train"] = replace(parts["train"], measured=_depth_maps(splits["train"], readers))
        else:
            parts = {name: StoredSplit(_frames(split), split, measured) for name, split in splits.items()}
    return Scene(
        name=root.resolve().name, root=root, train=parts["train"], val=parts.get("val"), test=parts["test"],
        transform=box.transform, cascades=box.cascades, has_alpha=channels == 4, split_rule=capture.split_rule,
        points=None if capture.points is None else torch.from_numpy(capture.points.xyz).float(),
        nearest=min(nearest_seen(capture.entries, capture.points).tolist(), default=None),
    )


def memory_for_photographs(device: str = "cpu") -> float:
    """Bytes: half of what is free, also on a GPU that they go to."""
    free = available_memory()
    if torch.device(device).type == "cuda":
        free = min(free, torch.cuda.mem_get_info(device)[0])
    return MEMORY_SHARE * free


def _check_sizes(photos: list[Photo]) -> None:
    """One set of intrinsics fits images of one size only."""
    firsts: dict[str, Photo] = {}
    for photo in photos:
        calibration = photo.entry.calibration
        if calibration is not None:
            first = firsts.setdefault(calibration, photo)
            if (photo.width, photo.height) != (first.width, first.height):
                raise SceneError(
                    f"{calibration}: image {photo.path} is {photo.width}x{photo.height} but {first.path} is "
                    f"{first.width}x{first.height}, with one set of intrinsics for both; give intrinsics per frame"
                )


def _frames(photos: list[Photo]) -> list[Frame]:
    entries = [(photo.camera, photo.entry) for photo in photos]
    return [
        Frame(
            entry.name, camera, entry.pose.float(), entry.path, *(entry.z_depth or (None, 1.0)), entry.near_far,
            *(entry.distance or (None, 1.0)),
        )
        for camera, entry in entries
    ]


def _in_memory(photos: list[Photo], readers: ThreadPoolExecutor) -> Split:
    """Decodes the photos, each to its place."""
    offsets = np.array([0, *accumulate(photo.num_pixels for photo in photos)])
    pixels = np.empty((offsets[-1], photos[0].channels), photos[0].dtype)
    mask = np.zeros(offsets[-1], bool) if any(photo.may_ignore for photo in photos) else None

    def decode(photo: Photo, start: int) -> None:
        rows = slice(start, start + photo.num_pixels)
        pixels[rows] = photo.pixels()
        if photo.may_ignore:
            mask[rows] = photo.ignored()

    for _ in readers.map(decode, photos, offsets[:-1].tolist()):
        pass
    mask = torch.from_numpy(mask) if mask is not None and mask.any() else None
    return Split(_frames(photos), torch.from_numpy(pixels), torch.from_numpy(offsets), mask)


def _depth_maps(photos: list[Photo], readers: ThreadPoolExecutor) -> torch.Tensor:
    """[P] float32, of photos end to end."""
    measured, start = np.empty(sum(photo.num_pixels for photo in photos), np.float32), 0
    for photo, values in zip(photos, readers.map(Photo.measured, photos), strict=True):
        measured[start : start + photo.num_pixels] = values
        start += photo.num_pixels
    return torch.from_numpy(measured)


def _bytes_in_memory(splits: dict[str, list[Photo]], measured: bool) -> int:
    """Of all pixels of all splits, and of what training looks up of each."""
    of_pixel = sum(
        photo.num_pixels * (photo.channels * np.dtype(photo.dtype).itemsize + photo.may_ignore)
        for photos in splits.values() for photo in photos
    )
    masked = any(photo.may_ignore for photo in splits["train"])  # then there is a list of the pixels that count
    of_pixel += (4 * measured + 8 * masked) * sum(photo.num_pixels for photo in splits["train"])
    return of_pixel + table_bytes([photo.camera for photo in splits["train"]])
