"""Photographs from disk, at full size or as box means."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np

from nerfcore.errors import SceneError


def read_image(path: Path) -> np.ndarray:
    """[H, W, 3 or 4] uint8: grey becomes RGB, 16 bits become 8. EXIF orientation is ignored."""
    try:
        image = iio.imread(path, plugin="pillow")
    except Exception as error:  # decoders raise whatever they like at broken files
        raise SceneError(f"{path}: cannot be read as an image; replace it or remove its frame") from error
    return to_8_bits(image, path)


def to_8_bits(image: np.ndarray, path: Path) -> np.ndarray:
    """[H, W, 3 or 4] uint8, of pixels as a file at ``path`` has them: grey becomes RGB, 16 bits become 8."""
    if image.ndim == 2:
        image = image[:, :, None]
    if image.dtype == np.uint16:
        image = np.rint(image / 257).astype(np.uint8)
    if image.dtype != np.uint8 or image.ndim != 3:
        raise SceneError(
            f"{path}: holds {image.dtype} values of shape {image.shape}; save it as an 8-bit or 16-bit still image"
        )
    if image.shape[2] <= 2:
        image = np.concatenate([image[:, :, :1].repeat(3, axis=2), image[:, :, 1:]], axis=2)
    return image


def image_form(path: Path) -> tuple[int, int, int]:
    """Width, height and channels (3 or 4) of what :func:`read_image` makes of a file, of which only the header is
    read."""
    try:
        shape = iio.improps(path, plugin="pillow").shape
    except Exception as error:  # decoders raise whatever they like at broken files
        raise SceneError(f"{path}: cannot be read as an image; replace it or remove its frame") from error
    height, width, channels = shape[-3:] if len(shape) > 2 else (*shape, 1)
    return width, height, 3 if channels % 2 else 4


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture, of which only the header is read."""
    return image_form(path)[:2]


def read_grey(path: Path, width: int, height: int, photo: Path) -> np.ndarray:
    """[H, W] uint8, 0 only where the picture is black: the brightest channel of what accompanies a photo of that
    size."""
    grey = read_image(path)[:, :, :3].max(axis=2)
    if grey.shape != (height, width):
        raise SceneError(
            f"{path}: is {grey.shape[1]}x{grey.shape[0]} but its photo {photo} is {width}x{height}; make them equal"
        )
    return grey


def read_depth_map(path: Path) -> np.ndarray:
    """[H, W] float32: the numbers of a grey picture of 8, 16 or 32 bits, or of an array in a .npy file; 0 for those
    that are not finite or below 0."""
    try:
        values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else iio.imread(path, plugin="pillow")
        values = np.asarray(values, np.float32)
    except Exception as error:  # decoders raise whatever they like at broken files
        raise SceneError(f"{path}: cannot be read as a depth map; save it as a 16-bit PNG or as .npy") from error
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim != 2 or not values.size:
        raise SceneError(f"{path}: has shape {values.shape}; a depth map has one number for each pixel")
    return np.where(np.isfinite(values) & (values > 0), values, 0)


def any_of_block(mask: np.ndarray, factor: int) -> np.ndarray:
    """bool [H // factor, W // factor]: whether any pixel of each block of :func:`box_mean` is set."""
    height, width = mask.shape[0] // factor, mask.shape[1] // factor
    mask = mask[: height * factor, : width * factor]
    return mask.reshape(height, factor, width, factor).any(axis=(1, 3))


def box_mean(image: np.ndarray, factor: int) -> np.ndarray:
    """[H // factor, W // factor, C] uint16 over its full range: means over factor x factor blocks of uint8 pixels.

    Colour is averaged weighted by alpha (premultiplied) and stored straight. A remainder right and below is cropped.
    """
    height, width = image.shape[0] // factor, image.shape[1] // factor
    image = image[: height * factor, : width * factor]
    if image.shape[2] == 3:
        return np.rint(_block_sums(image, factor) * (257 / factor**2)).astype(np.uint16)
    alpha = image[:, :, 3:].astype(np.uint16)
    colour_sum, alpha_sum = _block_sums(image[:, :, :3] * alpha, factor), _block_sums(alpha, factor)
    colour = colour_sum * (257 / np.maximum(alpha_sum, 1))
    return np.rint(np.concatenate([colour, alpha_sum * (257 / factor**2)], axis=2)).astype(np.uint16)


def _block_sums(image: np.ndarray, factor: int) -> np.ndarray:
    """[H / factor, W / factor, C] float64, exact. Rows first: adding whole lines runs along memory, in 16 bits where
    these hold the sums of 8-bit values."""
    narrow = image.dtype == np.uint8 and factor <= 65535 // 255
    rows = image[::factor].astype(np.uint16 if narrow else np.uint32)
    for i in range(1, factor):
        rows += image[i::factor]
    sums = rows[:, ::factor].astype(np.float64)
    for i in range(1, factor):
        sums += rows[:, i::factor]
    return sums
