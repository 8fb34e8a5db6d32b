"""Values that files hold, checked where they are read."""

from __future__ import annotations

import json
import os
from pathlib import Path

from nerfcore.errors import SceneError

LARGEST = 1e9  # of a number that a capture may hold: anything beyond is damage


def read_json(file: Path) -> dict:
    """The table that a JSON file holds, or SceneError."""
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SceneError(f"{file}: is not readable as JSON ({error}); it may be cut short, write it again") from error
    if not isinstance(table, dict):
        raise SceneError(f"{file}: holds no table of names and values; write it again")
    return table


def number(table: dict, key: str, default: float | None, where: str) -> float:
    """A finite number of a table, or SceneError; default: what it is where the table has none, None if it must."""
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -LARGEST <= value <= LARGEST:
        raise SceneError(f"{where}: {key} is {value!r:.40}; write a finite number of a sensible size there")
    return float(value)


def positive(table: dict, key: str, default: float | None, where: str) -> float:
    """A finite number above zero of a table, or SceneError."""
    value = number(table, key, default, where)
    if value < 1 / LARGEST:
        raise SceneError(f"{where}: {key} is {value:g}; write a number above zero there")
    return value


def existing(folder: Path, name: object) -> Path | None:
    """The file of that name, relative to the folder; None if it does not exist or the name is no name of a file."""
    path = folder / str(name).replace("\\", "/")
    return path if os.path.isfile(path) else None


def image_files(folder: Path) -> list[Path]:
    """The pictures in a folder, by name."""
    suffixes = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
