"""Scenes from disk: `load_scene`, the `Scene` it returns, and `PixelSampler`, which draws training rays from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nerfcore
from nerfcore.data.blender import find_blender
from nerfcore.data.build import build_scene
from nerfcore.data.formats import read_capture
from nerfcore.data.pixels import PixelSampler
from nerfcore.data.scene import Frame, Scene, SceneTransform, Split
from nerfcore.errors import SceneError

__all__ = ["Frame", "PixelSampler", "Scene", "SceneTransform", "Split", "builtin_scene_path", "load_scene"]


def load_scene(
    path: str | Path | None = None, downscale: int = 1, box: Sequence[float] | None = None, scale: float = 1.0,
    memory: float | None = None, depth_maps: bool = False,
) -> Scene:
    """Loads a capture of any form in ``nerfcore.data.formats``, which its files tell: docs/formats.md lists them.

    path: its folder, or the file that describes it; None is the built-in scene. downscale: images become box means over
    blocks of so many pixels squared, and cameras follow. box (6 world numbers: lower corner, upper corner) and scale
    overrule where the scene lies, see :meth:`~nerfcore.data.scene.Scene.within`. memory: bytes that photographs may
    take, None for half of what is free; more than that stay in their files
    (:class:`~nerfcore.data.scene.StoredSplit`) and are decoded when they are asked for. depth_maps: those of the
    training views are loaded, if there are any. Frames without an image are skipped and counted in one warning. Raises
    SceneError, one sentence that names the file and the remedy, for whatever cannot be used.
    """
    if not isinstance(downscale, int) or downscale < 1:
        raise ValueError(f"downscale is {downscale!r}; give a whole number from 1 on")
    capture = read_capture(builtin_scene_path() if path is None else Path(path))
    return build_scene(capture, downscale, memory, depth_maps).within(box, scale)


def builtin_scene_path() -> Path:
    """The folder of the built-in scene: inside an installed package, or in ``assets/`` of a checkout."""
    package = Path(nerfcore.__file__).parent
    for folder in (package / "assets" / "scene", package.parent / "assets" / "scene"):
        if find_blender(folder):
            return folder
    raise SceneError(f"{package}: the built-in scene is missing; install nerfcore again or give the path of a scene")
