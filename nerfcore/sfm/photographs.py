"""The photographs of a capture: gathered in one folder, and told apart by the camera that took them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Hashable
from pathlib import Path

from PIL import ExifTags, Image

from nerfcore.data.images import read_image
from nerfcore.data.values import image_files
from nerfcore.errors import OutputError, SceneError

OnPhoto = Callable[[int, int], None]
SAME_CAMERA = ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.FocalLength, ExifTags.Base.FocalLengthIn35mmFilm


def find_photographs(source: Path) -> list[Path]:
    """The pictures in a folder, by name. Raises SceneError where there are none, and says where they may be."""
    if not source.is_dir():
        raise SceneError(f"{source}: there is no such folder or video; give a folder of photographs")
    found = image_files(source)
    if found:
        return found
    inside = [folder.name for folder in sorted(source.iterdir()) if folder.is_dir() and image_files(folder)]
    if inside:
        raise SceneError(f"{source}: holds no photographs itself, but its folder {inside[0]} does; give that")
    others = sorted({path.suffix for path in source.iterdir() if path.is_file() and path.suffix})
    beside = f", only files that end in {', '.join(others)}; convert them to JPEG" if others else "; put some there"
    raise SceneError(f"{source}: holds no photographs (JPEG, PNG, TIFF, BMP, WebP){beside}")


def gather(photographs: list[Path], folder: Path, on_photo: OnPhoto | None = None) -> dict[str, str]:
    """Puts photographs into a folder, as links to the same files where it can be, else as copies.

    Each is decoded once; those that cannot be are left out and returned, with the reason by name. What is in the folder
    already stays, so that a second call goes on where one was stopped. Raises OutputError.
    """
    left_out = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for done, photograph in enumerate(photographs, 1):
            target = folder / photograph.name
            if not target.exists():
                try:
                    read_image(photograph)
                    _link(photograph, target)
                except SceneError:
                    left_out[photograph.name] = "cannot be read as an image"
            if on_photo is not None:
                on_photo(done, len(photographs))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}); free space there") from error
    return left_out


def _link(photograph: Path, target: Path) -> None:
    try:
        os.link(photograph.resolve(), target)
    except OSError:  # another disk, or one without links
        beside = target.with_name(f".{target.name}.writing")
        shutil.copyfile(photograph, beside)
        os.replace(beside, target)


def by_camera(photographs: list[Path]) -> list[list[str]]:
    """Names of photographs in groups that one camera took, by its EXIF data, with the same focal length and size.

    Sizes are those of the pixels as they are stored: as everywhere here, an EXIF orientation does not turn them, so
    that a camera held upright is the same camera.
    """
    groups: dict[Hashable, list[str]] = {}
    for photograph in photographs:
        with Image.open(photograph) as image:
            exif = image.getexif()
            table = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
            key = image.size, *(str(table.get(tag)) for tag in SAME_CAMERA)
        groups.setdefault(key, []).append(photograph.name)
    return list(groups.values())
