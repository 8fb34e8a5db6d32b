"""Which form a capture has: the table of the readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from nerfcore.data.blender import find_blender, read_blender
from nerfcore.data.capture import Capture
from nerfcore.data.colmap import find_colmap, read_colmap
from nerfcore.data.llff import find_llff, read_llff
from nerfcore.data.neus import find_neus, read_neus
from nerfcore.data.polycam import find_polycam, read_polycam
from nerfcore.data.record3d import find_record3d, read_record3d
from nerfcore.data.transforms import find_transforms, read_transforms
from nerfcore.errors import SceneError


class Format(NamedTuple):
    """A form of captures. find: the file or folder in a capture's folder that makes it one, or None."""

    name: str
    find: Callable[[Path], Path | None]
    read: Callable[[Path], Capture]


FORMATS = (
    Format("transforms_train.json (Blender)", find_blender, read_blender),
    Format("transforms.json (instant-ngp, nerfstudio)", find_transforms, read_transforms),
    Format("cameras_sphere.npz (NeuS, DTU)", find_neus, read_neus),
    Format("sparse/0 (COLMAP)", find_colmap, read_colmap),
    Format("poses_bounds.npy (LLFF)", find_llff, read_llff),
    Format("keyframes (Polycam)", find_polycam, read_polycam),
    Format("metadata.json (Record3D)", find_record3d, read_record3d),
)


def read_capture(path: Path) -> Capture:
    """The capture in a folder, or of a file in it that makes it one; the first form of FORMATS that fits. Raises
    SceneError."""
    remedy = f"give the folder of a capture, which holds {', '.join(form.name for form in FORMATS)}"
    root = path.parent if path.is_file() else path
    if not root.is_dir():
        raise SceneError(f"{path}: there is no such folder; {remedy}")
    found = [(form, source) for form in FORMATS if (source := form.find(root)) is not None]
    if path.is_file():
        found = [(form, source) for form, source in found if source == path]
        if not found:
            raise SceneError(f"{path}: is a file of unknown form; {remedy}")
    if not any(root.iterdir()):
        raise SceneError(f"{path}: the folder is empty; {remedy}")
    if not found:
        raise SceneError(f"{path}: holds no capture of a known form; {remedy}, or convert it to one of them")
    form, source = found[0]
    return form.read(source)
