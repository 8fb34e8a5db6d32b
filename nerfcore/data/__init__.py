"""Scenes from disk: `load_scene`, the `Scene` it returns, and `PixelSampler`, which draws training rays from it."""

from __future__ import annotations

from pathlib import Path

import nerfcore
from nerfcore.data.blender import TRAIN_FILE, load_blender
from nerfcore.data.pixels import PixelSampler
from nerfcore.data.scene import Frame, Scene, SceneTransform, Split
from nerfcore.data.transforms import TRANSFORMS_FILE, load_transforms
from nerfcore.errors import SceneError

__all__ = ["Frame", "PixelSampler", "Scene", "SceneTransform", "Split", "builtin_scene_path", "load_scene"]

READERS = {TRAIN_FILE: load_blender, TRANSFORMS_FILE: load_transforms}


def load_scene(path: str | Path | None = None, downscale: int = 1) -> Scene:
    """Loads a capture: a folder with ``transforms.json`` (instant-ngp form) or ``transforms_train.json`` (Blender).

    path may also be that file; None is the built-in scene. downscale: images become box means over blocks of so many
    pixels squared, and cameras follow. Frames without an image are skipped and counted in one warning. Raises
    SceneError, one sentence that names the file and the remedy, for whatever cannot be used.
    """
    if not isinstance(downscale, int) or downscale < 1:
        raise ValueError(f"downscale is {downscale!r}; give a whole number from 1 on")
    root = builtin_scene_path() if path is None else Path(path)
    if root.is_file() and root.name in READERS:
        root = root.parent
    remedy = f"give the folder that holds {TRANSFORMS_FILE} or {TRAIN_FILE}"
    if root.is_file():
        raise SceneError(f"{root}: is a file of unknown form; {remedy}")
    if not root.is_dir():
        raise SceneError(f"{root}: there is no such folder; {remedy}")
    for name, read in READERS.items():
        if (root / name).is_file():
            return read(root, downscale)
    if not any(root.iterdir()):
        raise SceneError(f"{root}: the folder is empty; {remedy}")
    raise SceneError(
        f"{root}: holds neither {TRANSFORMS_FILE} (instant-ngp form) nor {TRAIN_FILE} (Blender form); "
        "convert the capture to one of them"
    )


def builtin_scene_path() -> Path:
    """The folder of the built-in scene: inside an installed package, or in ``assets/`` of a checkout."""
    package = Path(nerfcore.__file__).parent
    for folder in (package / "assets" / "scene", package.parent / "assets" / "scene"):
        if (folder / TRAIN_FILE).is_file():
            return folder
    raise SceneError(f"{package}: the built-in scene is missing; install nerfcore again or give the path of a scene")
