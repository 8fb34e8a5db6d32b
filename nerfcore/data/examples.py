"""Examples that a prior is learned from: pictures with labels, captions and attributes where there are any."""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nerfcore.data.images import read_image
from nerfcore.errors import SceneError

IDX_TYPE = 8  # unsigned bytes
IDX_SIZES = (28, 32, 16)
FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
TEST_SHARE = 0.2  # of the pictures of idx files
TEST_EVERY = 8  # photographs by name, as scenes hold out theirs
PHOTOGRAPHS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
PHOTOGRAPH_SIZE = 64
SPLIT_SEED = 0


@dataclass(frozen=True)
class Examples:
    """pictures [N, C, *spatial]: uint8, or floats in [-1, 1]. labels: int64 [N], which count into ``label_names``, or
    None. captions: N sentences, or None. attributes: further labels [N] by name, which count into
    :data:`nerfcore.data.shapes.ATTRIBUTES`, or None. name: of the data, for people."""

    pictures: Tensor
    labels: Tensor | None = None
    label_names: tuple[str, ...] = ()
    captions: tuple[str, ...] | None = None
    name: str = ""
    attributes: dict[str, Tensor] | None = None

    def __post_init__(self):
        beside = {"labels": self.labels, "captions": self.captions, **(self.attributes or {})}
        for what, values in beside.items():
            if values is not None and len(values) != len(self.pictures):
                raise ValueError(f"{what} must be as many as the {len(self.pictures)} pictures, got {len(values)}")

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, *spatial) of an example."""
        return tuple(self.pictures.shape[1:])

    def take(self, index: Tensor) -> tuple[Tensor, Tensor | None, list[str] | None]:
        """Pictures [B, C, *spatial] float32 in [-1, 1], labels [B] and captions at these places [B]."""
        pictures = self.pictures[index]
        pictures = pictures.float() / 127.5 - 1 if pictures.dtype == torch.uint8 else pictures.float()
        labels = None if self.labels is None else self.labels[index]
        return pictures, labels, None if self.captions is None else [self.captions[i] for i in index.tolist()]

    def subset(self, index: Tensor) -> Examples:
        """The examples at these places [M], in that order."""
        return replace(
            self,
            pictures=self.pictures[index],
            labels=None if self.labels is None else self.labels[index],
            captions=None if self.captions is None else tuple(self.captions[i] for i in index.tolist()),
            attributes=self.attributes and {name: values[index] for name, values in self.attributes.items()},
        )


def load_examples(
    source: str | Path, split: str = "train", size: int | None = None, count: int | None = None
) -> Examples:
    """Square pictures to learn from, or to test on.

    source: "shapes" for the procedural objects of :mod:`nerfcore.data.shapes`; or a folder, of idx files as (Fashion-)
    MNIST has them (any files named ``*images-idx3-ubyte*`` and ``*labels-idx1-ubyte*``, packed or not), or of
    photographs. split: "train" or "test", which have no picture in common: a fixed fifth of the pictures of idx files,
    and every eighth photograph by name, are for testing. size: of shapes 16, 32 (default), 64 or 128; of idx files 28
    (default), 32 with a black border or 16, means over 2 x 2 of those; of photographs any (default 64). count: as many
    from the first on; shapes are endless, and so are crops of photographs: after the middle of each follow random
    squares, at least half as wide as it.

    Raises SceneError, one sentence that names the folder or file, for what cannot be used.
    """
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    if str(source) == "shapes":
        from nerfcore.data.shapes import shapes_examples  # which imports this file

        return shapes_examples(split, size or 32, count)
    folder = Path(source)
    if not folder.is_dir():
        raise SceneError(f'{folder}: is not a folder; give a folder of idx files or photographs, or "shapes"')
    if any(folder.glob("*images-idx3-ubyte*")):
        return _from_idx(folder, split, size or IDX_SIZES[0], count)
    return _from_photographs(folder, split, size or PHOTOGRAPH_SIZE, count)


def picture_grid(pictures: Tensor, columns: int = 8) -> Tensor:
    """uint8 [H, W, 3]: pictures [N, C, h, w] in [-1, 1] of 1 or 3 channels row after row, with 2 pixels between. Small
    pictures are enlarged by whole pixels to 48 or more."""
    if pictures.ndim != 4 or pictures.shape[1] not in (1, 3):
        raise ValueError(f"pictures must be [N, 1 or 3, h, w], got {list(pictures.shape)}")
    times, columns = max(48 // min(pictures.shape[2:]), 1), min(columns, len(pictures))
    shown = ((pictures.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte().expand(-1, 3, -1, -1)
    shown = shown.repeat_interleave(times, 2).repeat_interleave(times, 3)
    framed = F.pad(shown, (1, 1, 1, 1), value=255)
    rows = -(-len(framed) // columns)
    whole = framed.new_full((rows * columns, *framed.shape[1:]), 255)
    whole[: len(framed)] = framed
    return whole.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)


def read_idx(path: Path) -> np.ndarray:
    """The array of uint8 in an idx file, packed by gzip or not. Raises SceneError for a damaged one."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError) as error:
        raise SceneError(f"{path}: cannot be read ({error}); fetch it again") from error
    dims = content[3] if len(content) > 3 else 0
    shape = np.frombuffer(content[4 : 4 + 4 * dims], ">u4") if len(content) >= 4 + 4 * dims else ()
    values = np.frombuffer(content[4 + 4 * dims :], np.uint8)
    if content[:3] != bytes((0, 0, IDX_TYPE)) or not len(shape) or math.prod(shape.tolist()) != len(values):
        raise SceneError(f"{path}: is not a whole idx file of bytes; fetch it again")
    return values.reshape(shape.tolist())


def _from_idx(folder: Path, split: str, size: int, count: int | None) -> Examples:
    if size not in IDX_SIZES:
        raise SceneError(f"{folder}: pictures of {size} pixels cannot be made of these; choose 28, 32 or 16")

    def read(pattern: str) -> list[Tensor]:
        return [torch.from_numpy(read_idx(path).copy()) for path in sorted(folder.glob(pattern))]

    parts, labels = read("*images-idx3-ubyte*"), torch.cat([torch.empty(0), *read("*labels-idx1-ubyte*")]).long()
    if any(part.shape[1:] != (28, 28) for part in parts) or sum(map(len, parts)) != len(labels):
        raise SceneError(f"{folder}: its idx files are not pictures of 28 x 28 with a label each; fetch them again")
    pictures = torch.cat(parts)[:, None]
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    held_out = round(TEST_SHARE * len(labels))
    index = _first(order[held_out:] if split == "train" else order[:held_out], count, f"{folder}: its {split} split")
    pictures = pictures[index]
    if size != 28:
        pictures = F.pad(pictures, (2,) * 4)
    if size == 16:
        pictures = F.avg_pool2d(pictures.float(), 2).round().byte()
    fashion = "fashion" in folder.resolve().name.lower()
    names = FASHION if fashion else tuple(map(str, range(int(labels.max()) + 1)))
    return Examples(pictures, labels[index], names, name=folder.resolve().name)


def _from_photographs(folder: Path, split: str, size: int, count: int | None) -> Examples:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTOGRAPHS)
    if len(paths) < 2:
        raise SceneError(f"{folder}: holds {len(paths)} photographs and no idx files; both splits want one at least")
    chosen = [path for i, path in enumerate(paths) if (i % TEST_EVERY == 0) == (split == "test")]
    number = len(chosen) if count is None else count
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    turns = range(-(-number // len(chosen)))
    squares = torch.rand(len(turns), len(chosen), 3, generator=generator).tolist()
    pictures = torch.empty(len(turns), len(chosen), 3, size, size, dtype=torch.uint8)
    for i, path in enumerate(chosen[:number]):
        image = _on_white(read_image(path))
        for turn in turns:
            larger, *place = (1.0, 0.5, 0.5) if turn == 0 else squares[turn][i]
            side = max(1, round(min(image.shape[1:]) * (0.5 + 0.5 * larger)))
            top, left = (round(share * (n - side)) for share, n in zip(place, image.shape[1:], strict=True))
            square = image[None, :, top : top + side, left : left + side]
            pictures[turn, i] = F.interpolate(square, (size, size), mode="area")[0].round().byte()
    return Examples(pictures.flatten(0, 1)[:number], name=folder.resolve().name)


def _on_white(image: np.ndarray) -> Tensor:
    """[3, H, W] float32, 0 to 255."""
    image = torch.from_numpy(image).permute(2, 0, 1).float()
    return image if len(image) == 3 else torch.lerp(torch.full_like(image[:3], 255), image[:3], image[3:] / 255)


def _first(index: Tensor, count: int | None, what: str) -> Tensor:
    if count is not None and count > len(index):
        raise SceneError(f"{what} has {len(index)} pictures, {count} are asked for; ask for fewer")
    return index[:count]
