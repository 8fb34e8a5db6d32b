"""The sharpest frames of a video."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
from scipy.ndimage import laplace

from nerfcore.errors import OutputError, SceneError

PER_SECOND, FEWEST, MOST = 3, 50, 200  # frames, where no number is asked for
JPEG_QUALITY = 95
logging.getLogger("imageio_ffmpeg").setLevel(logging.ERROR)  # it warns of every video that is stored turned


def write_sharpest_frames(
    video: Path, folder: Path, count: int | None = None, on_frame: Callable[[int, int], None] | None = None
) -> None:
    """Writes frames of a video as JPEG files, named by their number in it: evenly in time, in each stretch the
    sharpest.

    folder: must not exist; it appears when all are there. count: how many; None is 3 a second, but 50 to 200.
    on_frame(done, total) is called for each frame that was looked at. Raises SceneError where the video cannot be read,
    OutputError where the folder cannot be written.
    """
    beside = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        for number, picture in _chosen(video, count, on_frame):
            iio.imwrite(beside / f"{number:06d}.jpg", picture, quality=JPEG_QUALITY)
        os.replace(beside, folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}); free space there") from error


def sharpest(frames: Iterable[np.ndarray], total: int, count: int) -> Iterator[tuple[int, np.ndarray]]:
    """Number, from 1 on, and picture of the sharpest in each of ``count`` equal stretches of ``total`` frames.

    Where there turn out to be more, the last stretch is longer; where fewer, the last stretches have none.
    """
    best, stretch = None, 0
    for index, frame in enumerate(frames):
        now = min(index * count // total, count - 1)
        if now != stretch:
            yield best[1:]
            best, stretch = None, now
        value = sharpness(frame)
        if best is None or value > best[0]:
            best = value, index + 1, frame
    if best is not None:
        yield best[1:]


def sharpness(picture: np.ndarray) -> float:
    """Variance of the Laplacian of a picture's green channel; picture [H, W, 3] uint8."""
    return float(laplace(picture[:, :, 1].astype(np.float32)).var())


def _chosen(video: Path, count: int | None, on_frame) -> Iterator[tuple[int, np.ndarray]]:
    """The frames to keep, as :func:`sharpest` gives them; one at a time is in memory."""
    reader = imageio_ffmpeg.read_frames(str(video))
    try:
        about = next(reader)
        (width, height), seconds = about["size"], about["duration"]
        total = round(about["fps"] * seconds)
        if total < 1:
            raise ValueError("it has no duration")
        count = min(count or min(max(round(PER_SECOND * seconds), FEWEST), MOST), total)
        pictures = (np.frombuffer(data, np.uint8).reshape(height, width, 3) for data in reader)
        yield from sharpest(_counted(pictures, total, on_frame), total, count)
    except (OSError, RuntimeError, ValueError, LookupError, StopIteration) as error:
        raise SceneError(f"{video}: cannot be read as a video; convert it to MP4, or give photographs") from error
    finally:
        reader.close()


def _counted(frames: Iterable[np.ndarray], total: int, on_frame) -> Iterator[np.ndarray]:
    for done, frame in enumerate(frames, 1):
        if on_frame is not None:
            on_frame(min(done, total), total)
        yield frame
