"""From listed frames to a scene: held-out views, the box, images and cameras."""

from __future__ import annotations

import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from nerfcore.data.images import box_mean, read_image
from nerfcore.data.listing import Entry, Listing, number, positive
from nerfcore.data.scene import Frame, Scene, SceneTransform, Split
from nerfcore.errors import SceneError

HOLD_OUT_EVERY = 8
HOLD_OUT_RULE = f"every {HOLD_OUT_EVERY}th present image by name"
MAX_AABB_SCALE = 128
READER_THREADS = 4


class Photo(NamedTuple):
    """The size of the file's image, and its pixels as they are stored."""

    width: int
    height: int
    pixels: np.ndarray


def hold_out(listing: Listing) -> dict[str, list[Entry]]:
    """Splits "train" and "test" of one listing: sorted by name, every 8th entry from the first on is for testing."""
    if len(listing.entries) < 2:
        raise SceneError(
            f"{listing.file}: {len(listing.entries)} of its {listing.absent + len(listing.entries)} images exist and "
            "at least 2 are needed (one is held out); put the photos where each file_path says, or correct it"
        )
    entries = sorted(listing.entries, key=lambda entry: entry.name)
    return {"train": [e for i, e in enumerate(entries) if i % HOLD_OUT_EVERY], "test": entries[::HOLD_OUT_EVERY]}


def build_scene(
    root: Path, listing: Listing, splits: dict[str, list[Entry]], split_rule: str, absent: int, downscale: int
) -> Scene:
    """Reads the images of the splits ("train", "test" and perhaps "val") and joins them to a scene.

    listing: the one that says where the scene lies. absent: how many listed images do not exist, for the one warning.
    """
    if absent:
        total = absent + sum(map(len, splits.values()))
        warnings.warn(f"{root}: {absent} of {total} listed images do not exist; their frames are skipped", stacklevel=4)
    transform, cascades = _scene_box(listing)
    entries = [entry for split in splits.values() for entry in split]
    with ThreadPoolExecutor(READER_THREADS) as pool:
        photos = list(pool.map(lambda entry: _read_photo(entry.path, downscale), entries))
    _check_sizes(entries, photos)
    channels = max(photo.pixels.shape[2] for photo in photos)
    parts = {name: _join(split, [photos.pop(0) for _ in split], channels, downscale) for name, split in splits.items()}
    return Scene(
        name=root.resolve().name, root=root, train=parts["train"], val=parts.get("val"), test=parts["test"],
        transform=transform, cascades=cascades, has_alpha=channels == 4, split_rule=split_rule,
    )


def _scene_box(listing: Listing) -> tuple[SceneTransform, int]:
    """The whole-scene box and its number of cascades, by the convention of instant-ngp in the user's axes.

    There ``x_ngp = scale * x_world + offset``, and the scene fills the cube of side ``aabb_scale`` about 0.5.
    """
    where = str(listing.file)
    scale, side = positive(listing.table, "scale", 0.33, where), number(listing.table, "aabb_scale", 1, where)
    if side not in [2**i for i in range(MAX_AABB_SCALE.bit_length())]:
        raise SceneError(f"{where}: aabb_scale is {side:g}; write a power of two from 1 to {MAX_AABB_SCALE} there")
    offset = listing.table.get("offset", [0.5, 0.5, 0.5])
    if not isinstance(offset, list) or len(offset) != 3:
        raise SceneError(f"{where}: offset is {offset!r}; write three numbers there")
    offset = [number({"offset": value}, "offset", value, where) for value in offset]
    translation = tuple((value - 0.5) / side + 0.5 for value in offset)
    return SceneTransform(scale / side, translation), 1 + int(math.log2(side))


def _read_photo(path: Path, downscale: int) -> Photo:
    image = read_image(path)
    height, width = image.shape[:2]
    if min(width, height) < downscale:
        raise SceneError(f"{path}: is {width}x{height}, too small to downscale by {downscale}; choose a smaller factor")
    return Photo(width, height, image if downscale == 1 else box_mean(image, downscale))


def _check_sizes(entries: list[Entry], photos: list[Photo]) -> None:
    """One set of intrinsics fits images of one size only."""
    firsts: dict[Path, tuple[Entry, Photo]] = {}
    for entry, photo in zip(entries, photos, strict=True):
        if not entry.has_own_intrinsics:
            first_entry, first = firsts.setdefault(entry.file, (entry, photo))
            if (photo.width, photo.height) != (first.width, first.height):
                raise SceneError(
                    f"{entry.file}: image {entry.path} is {photo.width}x{photo.height} but {first_entry.path} is "
                    f"{first.width}x{first.height}, with one set of intrinsics for both; give intrinsics per frame"
                )


def _join(entries: list[Entry], photos: list[Photo], channels: int, downscale: int) -> Split:
    """Lays the photos end to end, each freed once copied; those without alpha become opaque if others have it."""
    frames = [
        Frame(entry.name, entry.camera(photo.width, photo.height).downscaled(downscale), entry.pose, entry.path)
        for entry, photo in zip(entries, photos, strict=True)
    ]
    counts = [frame.camera.width * frame.camera.height for frame in frames]
    offsets = np.cumsum([0, *counts])
    dtype = photos[0].pixels.dtype
    pixels = np.empty((offsets[-1], channels), dtype)
    for start, end in pairwise(offsets):
        image = photos.pop(0).pixels
        pixels[start:end, : image.shape[2]] = image.reshape(-1, image.shape[2])
        pixels[start:end, image.shape[2] :] = np.iinfo(dtype).max
    return Split(frames, torch.from_numpy(pixels), torch.from_numpy(offsets))
