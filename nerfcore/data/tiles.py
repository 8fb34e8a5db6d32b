"""Pictures as tiles on disk, from which training draws points of pictures that memory does not hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nerfcore.data.images import read_image, to_8_bits
from nerfcore.errors import OutputError, SceneError
from nerfcore.files import write_file

LARGEST_TILE = 128  # pixels on a side
STRIP_ROWS = 256  # of a file that is read by rows
DESCRIPTION, PIXELS = "picture.json", "tiles.bin"
DRAWS_OF_A_TILE = 32  # before another one takes its place


@dataclass(frozen=True)
class TiledPicture:
    """A picture of 8-bit sRGB in a folder: its size in ``picture.json``, its tiles end to end in ``tiles.bin``.

    All tiles are of one size, ``tile_height`` x ``tile_width``; their origins ``top`` and ``left`` are spread evenly,
    so that neighbours share at most one row or column. Around each lies one more pixel, of its neighbours or, at the
    edge of the picture, of itself: interpolation at any point of a tile needs no other tile. Tiles are numbered row by
    row.
    """

    folder: Path
    width: int
    height: int

    @classmethod
    def open(cls, folder: str | Path) -> TiledPicture:
        """Raises SceneError where the folder holds no whole picture."""
        folder = Path(folder)
        try:
            size = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            picture = cls(folder, int(size["width"]), int(size["height"]))
            whole = (folder / PIXELS).stat().st_size == picture.num_tiles * picture.tile_bytes
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SceneError(f"{folder} is not a folder of tiles ({error}); write it with write_tiles") from error
        if not whole:
            raise SceneError(f"{folder / PIXELS} has not the size of its tiles; write the folder anew")
        return picture

    @cached_property
    def tile_width(self) -> int:
        return -(-self.width // -(-self.width // LARGEST_TILE))

    @cached_property
    def tile_height(self) -> int:
        return -(-self.height // -(-self.height // LARGEST_TILE))

    @cached_property
    def left(self) -> list[int]:
        """The first column of each column of tiles."""
        return _origins(self.width, self.tile_width)

    @cached_property
    def top(self) -> list[int]:
        """The first row of each row of tiles."""
        return _origins(self.height, self.tile_height)

    @property
    def num_tiles(self) -> int:
        return len(self.top) * len(self.left)

    @property
    def tile_shape(self) -> tuple[int, int, int]:
        """Of what :meth:`read` returns."""
        return self.tile_height + 2, self.tile_width + 2, 3

    @property
    def tile_bytes(self) -> int:
        height, width, channels = self.tile_shape
        return height * width * channels

    @property
    def nbytes(self) -> int:
        """Of the picture's own pixels: three a pixel."""
        return 3 * self.width * self.height

    def origin(self, number: int) -> tuple[int, int]:
        """The first row and column of a tile, without the pixel around it."""
        row, column = divmod(number, len(self.left))
        return self.top[row], self.left[column]

    def read(self, number: int) -> np.ndarray:
        """uint8 [tile_height + 2, tile_width + 2, 3]. The map lasts as long as the copy: what was read is not the
        process's memory."""
        place = number * self.tile_bytes
        return np.array(np.memmap(self.folder / PIXELS, np.uint8, "r", offset=place, shape=self.tile_shape))

    def pixels(self, number: int) -> np.ndarray:
        """uint8 [tile_height, tile_width, 3]: a tile without the pixel around it."""
        return self.read(number)[1:-1, 1:-1]


def _origins(length: int, tile: int) -> list[int]:
    count = -(-length // tile)
    return [k * (length - tile) // max(count - 1, 1) for k in range(count)]


def tile_picture(source: str | Path, folder: str | Path) -> TiledPicture:
    """Writes the picture in a file as tiles into a folder, and never holds more of it than a row of tiles where the
    file can be read by parts: ``.npy`` arrays [H, W, 3 or 4] of 8 or 16 bits, and TIFF where tifffile is installed;
    what Pillow reads beside, it decodes whole. Transparent pixels are put before white.

    Raises SceneError for what cannot be read as a picture, OutputError where tiles cannot be written.
    """
    source = Path(source)
    if not source.is_file():
        raise SceneError(f"there is no picture {source}")
    (height, width), strips = _strips(source)
    return write_tiles(folder, width, height, (_before_white(to_8_bits(strip, source)) for strip in strips))


def write_tiles(folder: str | Path, width: int, height: int, strips: Iterable[np.ndarray]) -> TiledPicture:
    """Writes a picture that comes as strips from top to bottom, uint8 [any number of rows, width, 3]."""
    picture = TiledPicture(Path(folder), width, height)
    try:
        picture.folder.mkdir(parents=True, exist_ok=True)
        with open(picture.folder / PIXELS, "wb") as file:
            for row in _rows_of_tiles(picture, strips):
                file.write(row)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror or error}); free space") from error
    write_file(picture.folder / DESCRIPTION, json.dumps(dict(width=width, height=height)))  # last: now it is whole
    return picture


def _rows_of_tiles(picture: TiledPicture, strips: Iterable[np.ndarray]) -> Iterator[bytes]:
    held: list[np.ndarray] = []
    first = end = done = 0  # rows of the picture that are held; rows of tiles that are made
    columns = [
        np.arange(left - 1, left + picture.tile_width + 1).clip(0, picture.width - 1) for left in picture.left
    ]
    for strip in strips:
        if strip.dtype != np.uint8 or strip.ndim != 3 or strip.shape[1:] != (picture.width, 3):
            wanted = f"uint8 [rows, {picture.width}, 3]"
            raise ValueError(f"a strip must be {wanted}, got {strip.dtype} {list(strip.shape)}")
        held.append(strip)
        end += len(strip)
        while done < len(picture.top) and end >= min(picture.top[done] + picture.tile_height + 1, picture.height):
            band = held[0] if len(held) == 1 else np.concatenate(held)
            top = picture.top[done]
            rows = np.arange(top - 1, top + picture.tile_height + 1).clip(0, picture.height - 1)
            cut = band[rows - first]
            yield b"".join(cut[:, column].tobytes() for column in columns)
            done += 1
            keep = max(picture.top[done] - 1, first) if done < len(picture.top) else end
            held, first = [band[keep - first :]], keep
    if end != picture.height:
        raise SceneError(f"the picture has {end} rows, not the {picture.height} that it says")


def _strips(source: Path) -> tuple[tuple[int, int], Iterator[np.ndarray]]:
    """Height and width, and the picture from top to bottom."""
    suffix = source.suffix.lower()
    if suffix == ".npy":
        try:
            whole = np.load(source, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise SceneError(f"{source}: cannot be read as an array ({error})") from error
        to_8_bits(whole[:1], source)  # says what is wrong with it before anything is written
        return whole.shape[:2], (np.array(whole[i : i + STRIP_ROWS]) for i in range(0, len(whole), STRIP_ROWS))
    if suffix in (".tif", ".tiff"):
        try:
            import tifffile
        except ImportError:
            pass  # Pillow knows TIFF as well, but reads it whole
        else:
            try:
                page = tifffile.TiffFile(source).pages[0]
                if page.photometric in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB):
                    return (page.imagelength, page.imagewidth), _tiff_strips(page, source)
            except (tifffile.TiffFileError, OSError) as error:
                raise SceneError(f"{source}: cannot be read as an image ({error})") from error
    whole = read_image(source)
    return whole.shape[:2], iter([whole])


def _tiff_strips(page, source: Path) -> Iterator[np.ndarray]:
    """The strips of a TIFF, or its rows of tiles, one after the other."""
    band, begin = None, 0
    try:
        for segment, (sample, _, top, left, _), (_, rows, columns, samples) in page.segments(maxworkers=1):
            if sample:
                raise SceneError(f"{source}: has a plane for each colour; save it with interleaved channels")
            if band is not None and top != begin:
                yield band
                band = None
            rows, columns = min(rows, page.imagelength - top), min(columns, page.imagewidth - left)
            if band is None:
                band, begin = np.zeros((rows, page.imagewidth, samples), page.dtype), top
            if segment is not None:  # None: never written
                band[:, left : left + columns] = segment[0, :rows, :columns]
        yield band
    except (ValueError, OSError, RuntimeError) as error:
        if isinstance(error, SceneError):
            raise
        raise SceneError(f"{source}: cannot be decoded ({error})") from error


def _before_white(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3]."""
    if image.shape[2] == 3:
        return image
    alpha = image[:, :, 3:].astype(np.float32) / 255
    return np.rint(image[:, :, :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


class TilePool:
    """Points of a picture, evenly from as many of its tiles as ``nbytes`` hold.

    A tile gives its pixels in a random order, none twice before all have come. Where the pool does not hold all tiles,
    a few are replaced after every draw, in a random order in which every tile comes once before any comes again; they
    are read while the others train.
    """

    def __init__(
        self, picture: TiledPicture, nbytes: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ):
        self.picture, self.generator, self.device = picture, generator, torch.device(device)
        self.count = min(picture.num_tiles, max(nbytes // picture.tile_bytes, 1))
        self.pixels_per_tile = picture.tile_height * picture.tile_width
        self.replaced = 0 if self.count == picture.num_tiles else -(-self.count // DRAWS_OF_A_TILE)
        self.turn: list[int] = []  # tiles that come next, the next one last
        self.place = 0  # of the tile that is replaced next
        self.tiles = torch.empty(self.count, *picture.tile_shape, dtype=torch.uint8, device=self.device)
        self.origin = torch.empty(self.count, 2, device=self.device)  # x, y
        self.begin = self._random_integers(self.pixels_per_tile, self.count)  # where each tile is in the order
        self.used = self.pixels_per_tile  # of the order of pixels, which begins with the first draw
        self.order = torch.empty(0)
        self.reader = ThreadPoolExecutor(1)
        self.coming: Future | None = None
        self._put(*self._read(self._next_tiles(self.count)))

    def draw(self, num_points: int, spread: float) -> tuple[Tensor, Tensor]:
        """About so many points x [N, 2] in [0, 1] of the picture, x to the right and y down, and the sRGB colours
        [N, 3] in [0, 1] there. spread: how far from centres of pixels, as a share of a pixel, points are drawn; colours
        between centres are interpolated linearly, and beyond the outermost ones stay."""
        if self.coming is not None:
            self._put(*self.coming.result())
        per_tile = min(max(num_points // self.count, 1), self.pixels_per_tile)
        if self.used + per_tile > self.pixels_per_tile:
            self.order = torch.randperm(self.pixels_per_tile, generator=self.generator, device=self.device)
            self.used = 0
        slot = self.order[self.used : self.used + per_tile]
        self.used += per_tile
        slot = (slot + self.begin[:, None]) % self.pixels_per_tile  # [tiles, points of each]
        row, column = slot // self.picture.tile_width, slot % self.picture.tile_width
        tile = torch.arange(self.count, device=self.device)[:, None].expand_as(slot)
        if num_points < self.count:  # the first of as many tiles, anywhere among them
            chosen = torch.randperm(self.count, generator=self.generator, device=self.device)[:num_points].sort().values
            tile, row, column = tile[chosen], row[chosen], column[chosen]
        tile, row, column = tile.flatten(), row.flatten(), column.flatten()
        shift = torch.rand(len(tile), 2, generator=self.generator, device=self.device).sub_(0.5).mul_(spread)
        x = torch.stack((column, row), 1) + (self.origin[tile] + 0.5) + shift
        if self.replaced:
            self.coming = self.reader.submit(self._read, self._next_tiles(self.replaced))
        size = torch.tensor([self.picture.width, self.picture.height], device=self.device)
        return x / size, self._colour(tile, row, column, shift)

    def _colour(self, tile: Tensor, row: Tensor, column: Tensor, shift: Tensor) -> Tensor:
        _, height, width, _ = self.tiles.shape
        cell = shift.floor()
        right, down = (shift - cell).unsqueeze(-1).unbind(1)  # from the cell's first corner
        column, row = column + 1 + cell[:, 0].long(), row + 1 + cell[:, 1].long()
        first, pixels = (tile * height + row) * width + column, self.tiles.view(-1, 3)

        def corner(offset: int) -> Tensor:
            return pixels.index_select(0, first + offset).float()

        upper, lower = torch.lerp(corner(0), corner(1), right), torch.lerp(corner(width), corner(width + 1), right)
        return torch.lerp(upper, lower, down).div_(255)

    def _next_tiles(self, count: int) -> list[int]:
        while len(self.turn) < count:
            again = torch.randperm(self.picture.num_tiles, generator=self.generator, device=self.device)
            self.turn = again.tolist() + self.turn
        taken, self.turn = self.turn[len(self.turn) - count :], self.turn[: len(self.turn) - count]
        return sorted(taken)  # the disk is read forward

    def _read(self, numbers: list[int]) -> tuple[Tensor, Tensor]:
        tiles = torch.from_numpy(np.stack([self.picture.read(number) for number in numbers]))
        origin = torch.tensor([self.picture.origin(number)[::-1] for number in numbers], dtype=torch.float32)
        return tiles, origin

    def _put(self, tiles: Tensor, origin: Tensor) -> None:
        """In the place of those that have been there longest."""
        places = (self.place + torch.arange(len(tiles))) % self.count
        self.tiles[places.to(self.device)] = tiles.to(self.device)
        self.origin[places.to(self.device)] = origin.to(self.device)
        self.place = (self.place + len(tiles)) % self.count

    def _random_integers(self, below: int, count: int) -> Tensor:
        return torch.randint(below, (count,), generator=self.generator, device=self.device)

    def close(self) -> None:
        self.reader.shutdown(cancel_futures=True)
