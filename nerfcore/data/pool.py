"""Training pixels from photographs that memory does not hold: a pool on disk, renewed while training draws from it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nerfcore.data.scene import StoredSplit, to_unit
from nerfcore.errors import OutputError

READERS = min(os.cpu_count() or 1, 4)  # threads
AHEAD = 8  # photos that are decoded, or wait for it, at a time
ROW_BYTES = 160  # that choosing a pixel and finding its ray takes
FIRST_PHOTOS = 24  # in the pool before anything is drawn: enough views to learn from until the others are there


class PixelPool:
    """Random pixels of every photograph with their rays, in a file of bounded size.

    The file has a place for each photo and AHEAD more. A place holds that many of a photo's pixels, in proportion to
    how many it has, drawn independently and written in the order in which they were drawn. Training draws a photo, and
    takes the next pixel of its place: so pixels are drawn uniformly from all photos in the pool, as from memory, and
    disks are read as they like it, from front to back. Meanwhile threads decode photos, in random order, round after
    round: first as fast as they can, until all have their place; then one whenever as many pixels have been drawn as a
    place holds, so that a pixel is used about once before another takes its place. They write only to places from
    which nothing is drawn, and training takes these over between two draws: it never waits for a photo after the
    first FIRST_PHOTOS.

    repeatable: it does wait, first for all photos, then wherever a photo is late; what is drawn then depends on the
    generator alone, not on how fast photos are decoded.

    nbytes: of the file at most. It has no name, so that nothing of it is left when the process ends, however it ends.
    folder: where it lies; None for the system's folder of temporary files. Raises OutputError where the disk is too
    full. Photos that cannot be decoded raise SceneError from `draw`.
    """

    def __init__(
        self, split: StoredSplit, device: torch.device | str = "cpu", nbytes: int = 8 << 30,
        folder: Path | None = None, repeatable: bool = False,
    ):
        self.split, self.device, self.repeatable = split, torch.device(device), repeatable
        photos, is_central = split.photos, all(frame.camera.lens.is_central for frame in split.frames)
        origin = [] if is_central else [("origin", np.float32, 3)]
        measured = [("measured", np.float32)] if split.is_measured else []
        self.record = np.dtype([
            ("direction", np.float32, 3), *origin, *measured, ("colour", photos[0].dtype, photos[0].channels),
        ])
        places, self.largest = len(photos) + AHEAD, max(photo.num_pixels for photo in photos)
        self.rows = min(nbytes // (places * self.record.itemsize), self.largest)  # of a place
        if not self.rows:
            raise OutputError(f"a pool of {nbytes} bytes has no room for pixels of {len(photos)} photos; enlarge it")
        self.file_bytes = places * self.rows * self.record.itemsize
        self.file = _nameless_file(Path(folder or tempfile.gettempdir()), self.file_bytes)
        self.records = np.memmap(self.file, self.record, "r", shape=places * self.rows)
        self.readers, self.writing = ThreadPoolExecutor(READERS), threading.Lock()
        self.free, self.pending = deque(range(places)), deque()
        self.place = np.full(len(photos), -1)
        self.count, self.used = np.zeros((2, len(photos)), np.int64)
        self.asked = self.drawn = 0
        self.random: np.random.Generator | None = None  # begins with the first draw

    def draw(self, num_rays: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """See :class:`~nerfcore.data.pixels.Drawn`. The generator is asked once for all draws."""
        if self.random is None:
            self._begin(generator)
        self._renew()
        self.drawn += num_rays
        ends = self.count.cumsum()
        image = np.searchsorted(ends, self.random.integers(ends[-1], size=num_rays), side="right")
        times = np.bincount(image, minlength=len(ends))
        by_image = image.argsort(kind="stable")
        turn = np.empty_like(image)  # how often its photo was drawn before in this draw
        turn[by_image] = np.arange(num_rays) - np.repeat(times.cumsum() - times, times)
        batch = self.records[self.place[image] * self.rows + (self.used[image] + turn) % self.count[image]]
        self.used += times
        direction, origin, measured, colour = (
            self._tensor(batch[name]) if name in batch.dtype.names else None
            for name in ("direction", "origin", "measured", "colour")
        )
        return self._tensor(image), to_unit(colour), direction, origin, measured

    @property
    def nbytes(self) -> int:
        """Memory that decoding takes, beside the pages of the file that the system keeps in memory as it likes."""
        return READERS * max(photo.decoding_bytes + ROW_BYTES * self.rows for photo in self.split.photos)

    def close(self) -> None:
        """Ends the threads and removes the file."""
        self.readers.shutdown(cancel_futures=True)
        self.records = None
        with contextlib.suppress(OSError):  # what a full disk did not take is not needed any more
            self.file.close()

    def _begin(self, generator: torch.Generator) -> None:
        self.seed = int(torch.randint(1 << 62, (), generator=generator, device=generator.device))
        self.random = np.random.default_rng([self.seed, 0])
        self.order = self.random.permutation(len(self.split))
        for _ in range(len(self.split) if self.repeatable else min(FIRST_PHOTOS, len(self.split))):
            while len(self.pending) < AHEAD and self.asked < len(self.split):
                self._ask()
            self._take_over(self.pending.popleft())

    def _renew(self) -> None:
        """Takes over what is decoded, and has decoded what is due."""
        while self.pending and self.pending[0].done() and not self.repeatable:
            self._take_over(self.pending.popleft())
        while self.asked < len(self.split) + self.drawn // self.rows:
            if len(self.pending) == AHEAD:
                if not self.repeatable:
                    break
                self._take_over(self.pending.popleft())
            self._ask()

    def _ask(self) -> None:
        photo, place = int(self.order[self.asked % len(self.order)]), self.free.popleft()
        self.asked += 1
        self.pending.append(self.readers.submit(self._decode, photo, place, self.asked))

    def _take_over(self, decoded: Future) -> None:
        photo, place, count = decoded.result()
        if self.place[photo] >= 0:
            self.free.append(self.place[photo])
        self.place[photo], self.count[photo], self.used[photo] = place, count, 0

    def _decode(self, index: int, place: int, number: int) -> tuple[int, int, int]:
        """In a thread: writes random pixels of a photo to a place. Returns how many after photo and place."""
        photo, random = self.split.photos[index], np.random.default_rng([self.seed, number])
        ignored, pixels = photo.ignored(), photo.pixels()
        kept = np.flatnonzero(~ignored) if ignored is not None else None
        num_kept = len(pixels) if kept is None else len(kept)
        count = max(round(self.rows * num_kept / self.largest), 1)
        chosen = random.integers(num_kept, size=count)
        chosen = chosen if kept is None else kept[chosen]
        records = np.empty(count, self.record)
        records["colour"] = pixels[chosen]
        row, column = np.divmod(chosen, photo.camera.width)
        centre = torch.from_numpy(np.stack([column + 0.5, row + 0.5], axis=1)).float()
        origin, direction = photo.camera.unproject(centre)
        records["direction"] = direction.numpy()
        if "origin" in self.record.names:
            records["origin"] = origin.numpy()
        if "measured" in self.record.names:
            records["measured"] = photo.measured()[chosen]
        try:
            with self.writing:
                self.file.seek(place * self.rows * self.record.itemsize)
                self.file.write(records)
                self.file.flush()
        except OSError as error:
            raise OutputError(
                f"the pool of pixels cannot be written ({error.strerror}); free space, or make it smaller (--pool)"
            ) from error
        return index, place, count

    def _tensor(self, values: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(values.copy())
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor


def _nameless_file(folder: Path, nbytes: int):
    """An open file of that size, which nobody else sees."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if nbytes > free:
            raise OutputError(
                f"the photographs do not fit in memory, and {folder} has {free / 2**30:.1f} GiB free for a pool of "
                f"{nbytes / 2**30:.1f} GiB; free space, choose another --out, or give a smaller --pool"
            )
        file = tempfile.TemporaryFile(dir=folder)
        file.truncate(nbytes)
        return file
    except OSError as error:
        raise OutputError(f"{folder} cannot hold a pool of pixels ({error.strerror}); choose another --out") from error
