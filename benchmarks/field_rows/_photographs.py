"""The pictures that rows of pictures share: albert, and photographs that come with scikit-image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nerfcore.data.images import read_image
from nerfcore.errors import NerfcoreError


def photographs(folder: Path) -> dict[str, np.ndarray]:
    """uint8 [H, W, 3]. folder: has ``images/albert_srgb.png``."""
    try:
        from skimage import data
    except ImportError as error:
        raise NerfcoreError("the photographs come with scikit-image: pip install scikit-image") from error
    return {"albert": read_image(folder / "images" / "albert_srgb.png")[:, :, :3]} | {
        name: getattr(data, name)() for name in ("astronaut", "chelsea", "coffee")
    }
