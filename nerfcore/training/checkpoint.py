"""Files of tensors with a JSON description, written whole or not at all.

``model.nerf`` and ``checkpoint/state.nerf`` are safetensors files whose metadata holds one JSON document: no pickle.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from nerfcore.errors import ModelError
from nerfcore.files import write_file

SCHEMA = 1
KEY = "nerfcore"
Kind = TypeVar("Kind")


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


def load_model(path: str | Path, make: Callable[[dict[str, Tensor], dict], Kind]) -> Kind:
    """What ``make(tensors, description)`` makes of a ``model.nerf``, or of the one in a run folder. Raises ModelError
    for a missing, damaged or newer file, and for what ``make`` does not understand."""
    path = Path(path)
    tensors, description = read_tensors(path / "model.nerf" if path.is_dir() else path)
    try:
        return make(tensors, description)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{path} does not describe a model that this version knows ({reason}); update nerfcore or train it again"
        ) from error


def restore(trainer, out: Path | None) -> list[dict]:
    """Puts a trainer where the checkpoint in a run folder left it and returns the history so far. Raises ModelError."""
    if out is None:
        raise ModelError("resume needs the run folder: give out (--out)")
    tensors, description = read_tensors(out / "checkpoint" / "state.nerf")
    try:
        trainer.load_state(tensors, description)
        return description["history"]
    except (KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"the checkpoint in {out} is of another source or configuration ({reason}); "
            "repeat its options or train anew"
        ) from error
