"""One photograph in its files: what is known of it before it is decoded, and its pixels once it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from nerfcore.cameras.intrinsics import Camera
from nerfcore.data.capture import DepthMap, Entry
from nerfcore.data.images import any_of_block, box_mean, image_form, read_depth_map, read_grey, read_image
from nerfcore.errors import SceneError

DECODING_BYTES, WIDE_DECODING_BYTES = 24, 80
"""For each pixel of a file that is being decoded: pictures of three or four bytes a pixel, some of them sums of blocks;
and the positions of all pixels in float64, where a lens may leave some out."""


@dataclass(frozen=True)
class Photo:
    """A photograph that can be decoded, any number of times.

    width, height: of its file. channels: 3 (RGB) or 4 (RGB and straight alpha), opaque where its files say nothing.
    downscale: it becomes a box mean over blocks of so many pixels squared.
    """

    entry: Entry
    width: int
    height: int
    channels: int
    downscale: int

    @classmethod
    def of(cls, entry: Entry, downscale: int) -> Photo:
        """By the header of its file, with as many channels as its files have."""
        width, height, channels = image_form(entry.path)
        if min(width, height) < downscale:
            raise SceneError(
                f"{entry.path}: is {width}x{height}, too small to downscale by {downscale}; choose a smaller factor"
            )
        return cls(entry, width, height, 4 if entry.alpha is not None else channels, downscale)

    @cached_property
    def full_camera(self) -> Camera:
        """The camera of its file's image."""
        return self.entry.camera(self.width, self.height)

    @cached_property
    def camera(self) -> Camera:
        """The camera of its pixels."""
        return self.full_camera if self.downscale == 1 else self.full_camera.downscaled(self.downscale)

    @property
    def path(self) -> Path:
        return self.entry.path

    @property
    def num_pixels(self) -> int:
        return self.camera.width * self.camera.height

    @property
    def may_ignore(self) -> bool:
        """Whether some of its pixels may not count."""
        return may_ignore(self.entry, self.full_camera)

    @property
    def dtype(self) -> type:
        """Of its pixels: uint8, but box means keep more."""
        return np.uint8 if self.downscale == 1 else np.uint16

    @property
    def decoding_bytes(self) -> int:
        """Memory that decoding it takes."""
        return self.width * self.height * (WIDE_DECODING_BYTES if self.may_ignore else DECODING_BYTES)

    def pixels(self) -> np.ndarray:
        """[P, channels]: its rows one after another."""
        image = read_image(self.path)
        if image.shape[:2] != (self.height, self.width) or image.shape[2] > self.channels:
            raise SceneError(f"{self.path}: its header and its content disagree; save it again or remove its frame")
        if self.entry.alpha is not None:
            coverage = read_grey(self.entry.alpha, self.width, self.height, self.path)
            image = np.concatenate([image[:, :, :3], coverage[:, :, None]], axis=2)
        if self.downscale > 1:
            image = box_mean(image, self.downscale)
        pixels = image.reshape(-1, image.shape[2])
        if pixels.shape[1] < self.channels:
            pixels = np.pad(pixels, ((0, 0), (0, 1)), constant_values=np.iinfo(self.dtype).max)
        return pixels

    @property
    def depth_map(self) -> DepthMap | None:
        """Its distances along rays, else its depths along the camera axis, else None."""
        return self.entry.distance or self.entry.z_depth

    def measured(self) -> np.ndarray:
        """[P] float32: what its depth map says of each pixel's centre, world units; 0 where it says nothing.

        The map may have another size than the photograph. It is not interpolated: between two surfaces there is none.
        """
        if self.depth_map is None:
            return np.zeros(self.num_pixels, np.float32)
        values = read_depth_map(self.depth_map.path)
        height, width = values.shape
        if abs(width * self.height - height * self.width) > 0.02 * width * self.height:
            raise SceneError(
                f"{self.depth_map.path}: is {width}x{height} but its photo {self.path} is {self.width}x{self.height}; "
                "save it in the same proportions"
            )
        row, column = (
            ((np.arange(count) + 0.5) * (self.downscale * there / whole)).astype(int).clip(max=there - 1)
            for count, there, whole in (
                (self.camera.height, height, self.height), (self.camera.width, width, self.width),
            )
        )
        return (values[row[:, None], column] * np.float32(self.depth_map.unit)).reshape(-1)

    def ignored(self) -> np.ndarray | None:
        """bool [P]: the pixels that do not count, because their mask names them or their lens does not cover them; None
        if there can be none."""
        ignored = ignored_pixels(self.entry, self.full_camera)
        if ignored is None:
            return None
        if self.downscale > 1:
            ignored = any_of_block(ignored, self.downscale)
        if ignored.all():
            raise SceneError(
                f"{self.path}: its mask and its lens leave no pixel of it; correct them or remove its frame"
            )
        return ignored.reshape(-1)


def may_ignore(entry: Entry, camera: Camera) -> bool:
    """Whether some pixels of a photo may not count."""
    return entry.mask is not None or entry.image_circle is not None or camera.lens.is_wide


def ignored_pixels(entry: Entry, camera: Camera) -> np.ndarray | None:
    """bool [H, W]: the pixels of a photo that its mask names or that see nothing through its lens; None if there can be
    none. camera: that of the photo at its full size."""
    if not may_ignore(entry, camera):
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
