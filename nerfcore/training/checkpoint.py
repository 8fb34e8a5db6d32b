"""Files of tensors with a JSON description, written whole or not at all.

``model.nerf`` and ``checkpoint/state.nerf`` are safetensors files whose metadata holds one JSON document: no pickle.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from nerfcore.errors import ModelError
from nerfcore.files import write_file

SCHEMA = 1
KEY = "nerfcore"


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
