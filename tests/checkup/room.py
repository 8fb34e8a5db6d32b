"""A capture that is right in every way: photographs of a patterned floor, and of what leans on it, from an arc."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from nerfcore.cameras import look_at

WIDTH, HEIGHT, FOCAL = 120, 90, 110.0
COUNT = 10


def patterns() -> np.ndarray:
    """[2, 512, 512, 3]: noise of several scales, for the floor and the wall."""
    random = np.random.default_rng(5)
    scales = [gaussian_filter(random.normal(size=(2, 512, 512, 3)), (0, s, s, 0), mode="wrap") * s for s in (3, 6, 14)]
    return 1 / (1 + np.exp(-3 * sum(scales)))


def poses(count: int = COUNT) -> np.ndarray:
    """[N, 3, 4]: every 8 degrees of an arc, at two heights, towards (0, 0, 0.4)."""
    angle = np.radians(8 * np.arange(count))
    eyes = np.stack([4 * np.cos(angle), 4 * np.sin(angle), 2 + 0.4 * (np.arange(count) % 2)], 1)
    return look_at(eyes, (0.0, 0.0, 0.4)).double().numpy()


def photograph(pose: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8: the floor z = 0 and the slanted wall x + y + z = -1.5, four rays a pixel."""
    y, x = (np.mgrid[: 2 * HEIGHT, : 2 * WIDTH] + 0.5) / 2
    ray = np.stack([(x - WIDTH / 2) / FOCAL, -(y - HEIGHT / 2) / FOCAL, -np.ones_like(x)], -1) @ pose[:, :3].T
    eye, picture = pose[:, 3], None
    with np.errstate(divide="ignore"):
        ahead = np.stack([-eye[2] / ray[..., 2], (-1.5 - eye.sum()) / ray.sum(-1)])
    ahead[ahead <= 0] = np.inf
    nearest, hit = ahead.argmin(0), eye + ahead.min(0)[..., None] * ray
    across = np.stack([hit[..., 0] - hit[..., 1] * nearest, hit[..., 1] * (1 - nearest) + hit[..., 2] * nearest])
    picture = np.stack([
        map_coordinates(channel, [nearest, *(80 * across + 256) % 512], order=1, mode="nearest")
        for channel in np.moveaxis(PATTERNS, -1, 0)
    ], -1)
    return np.rint(255 * picture.reshape(HEIGHT, 2, WIDTH, 2, 3).mean((1, 3))).astype(np.uint8)


PATTERNS = patterns()
PHOTOS = [photograph(pose) for pose in poses()]


def write(folder: Path, **top) -> Path:
    """In instant-ngp's form."""
    (folder / "images").mkdir(parents=True)
    for i, photo in enumerate(PHOTOS):
        iio.imwrite(folder / f"images/{i:02d}.png", photo)
    table = dict(fl_x=FOCAL, w=WIDTH, h=HEIGHT, scale=0.08)
    table["frames"] = [
        {"file_path": f"images/{i:02d}.png", "transform_matrix": [*pose.tolist(), [0, 0, 0, 1]]}
        for i, pose in enumerate(poses())
    ]
    (folder / "transforms.json").write_text(json.dumps(table | top))
    return folder


def edit(folder: Path, change) -> None:
    """Changes the transforms file in place: ``change(table)``."""
    file = folder / "transforms.json"
    table = json.loads(file.read_text())
    change(table)
    file.write_text(json.dumps(table))
