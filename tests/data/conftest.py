"""Small scenes made on the spot, and the folder of the real ones."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from nerfcore.cameras import look_at

DATA = Path(os.environ.get("NERFCORE_DATA", Path(__file__).parents[3] / "shared" / "data"))


def random_picture(index: int, channels: int = 3, height: int = 12, width: int = 16) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (height, width, channels), dtype=np.uint8)


def camera_to_world(index: int) -> list[list[float]]:
    angle = 0.3 * index
    return [*look_at((4 * math.cos(angle), 4 * math.sin(angle), 1.0), (0.0, 0.0, 0.0)).tolist(), [0.0, 0.0, 0.0, 1.0]]


def list_frames(file: Path, names: list[str], **top) -> None:
    """Writes a transforms file that lists the names, with the given intrinsics and settings at its top."""
    frames = [{"file_path": name, "transform_matrix": camera_to_world(i)} for i, name in enumerate(names)]
    file.write_text(json.dumps({**top, "frames": frames}))


def draw(folder: Path, names: list[str], channels: int = 3) -> None:
    """Writes `random_picture` number i as the i-th name."""
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        iio.imwrite(folder / name, random_picture(index, channels))


@pytest.fixture
def picture():
    return random_picture


@pytest.fixture
def pose():
    return lambda index: torch.tensor(camera_to_world(index))[:3]


@pytest.fixture
def ngp(tmp_path):
    """A folder in instant-ngp form: ten PNG files of 16x12 pixels, listed with their extension."""
    folder = tmp_path / "capture"
    names = [f"images/{i:02d}.png" for i in range(10)]
    draw(folder, names)
    list_frames(folder / "transforms.json", names, fl_x=20.0)
    return folder


@pytest.fixture
def blender(tmp_path):
    """A folder in Blender form: 10 train, 2 val and 3 test RGBA pictures, listed without extension."""
    folder = tmp_path / "toy"
    for split, count in (("train", 10), ("val", 2), ("test", 3)):
        names = [f"{split}/r_{i}" for i in range(count)]
        draw(folder, [f"{name}.png" for name in names], channels=4)
        list_frames(folder / f"transforms_{split}.json", [f"./{name}" for name in names], camera_angle_x=0.8)
    return folder


@pytest.fixture
def edit():
    """Changes a transforms file in place: ``edit(file, change)`` with ``change(table)``."""

    def apply(file, change):
        table = json.loads(file.read_text())
        change(table)
        file.write_text(json.dumps(table))

    return apply


@pytest.fixture
def real_scene():
    """``real_scene(name)``: the folder of a real capture; the test is skipped where it is absent."""

    def find(name):
        if not (DATA / name).is_dir():
            pytest.skip(f"no scene at {DATA / name}; NERFCORE_DATA names the folder that holds the real scenes")
        return DATA / name

    return find
