"""Files of tensors with a JSON description, written whole or not at all.

``model.nerf`` and ``checkpoint/state.nerf`` are safetensors files whose metadata holds one JSON document: no pickle.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from nerfcore.errors import ModelError, OutputError

SCHEMA = 1
KEY = "nerfcore"


def write_file(path: Path, content: bytes | str) -> None:
    """Writes beside the target, flushes to disk, then renames: a kill at any moment leaves the old file whole.

    Raises OutputError naming the path (no permission, full disk, not a folder).
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        try:
            beside.unlink(missing_ok=True)
        except OSError:
            pass
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}); choose another --out or free space"
        ) from error


def write_tensors(path: Path, tensors: dict[str, Tensor], description: dict) -> None:
    """Saves tensors and a JSON-able description in one file."""
    metadata = {KEY: json.dumps(dict(schema=SCHEMA, **description))}
    write_file(path, save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Inverse of :func:`write_tensors`. Raises ModelError where the file is missing, damaged, foreign or newer than
    this version."""
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"there is no model file {path}; give a run folder or a model.nerf")
    try:
        with safe_open(path, "pt") as file:
            description = json.loads((file.metadata() or {})[KEY])
            tensors = {k: file.get_tensor(k) for k in file.keys()}
        if not isinstance(description, dict):
            raise ValueError("its header is not an object")
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise ModelError(
            f"{path} is damaged or was not written by nerfcore ({error}); train it again or restore a copy"
        ) from error
    if description.get("schema") != SCHEMA:
        raise ModelError(f"{path} has format {description.get('schema')}, this version reads {SCHEMA}; update nerfcore")
    return tensors, description
