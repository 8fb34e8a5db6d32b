"""How well does a hash grid hold a picture?

Three parts, each in a process of its own. ``albert``: 60 seconds, from reading the file on; parameters, as they are
saved, at most a quarter of three bytes a pixel, and once more of one byte a pixel, because that picture is grey.
``gigapixel``: a made picture of 32,768 x 32,768 pixels, written as tiles, then trained where the process can have 4 GiB
of memory of its own and no more (Linux; peak_rss_bytes says what it had). ``upsampling``: photographs of scikit-image
and albert, reduced by box means, fitted as areas and enlarged again, against Pillow's bicubic. Pictures and tiles lie
in a folder of temporary files, 3.4 GB for the big one.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from PIL import Image

from nerfcore.data.tiles import write_tiles
from nerfcore.metrics import psnr
from nerfcore.training.picture import train_picture

from ._photographs import photographs

MODULES = ("nerfcore.training.picture",)
TARGET = {"psnr": 36.0, "seconds": 60, "share_of_pixel_bytes": 0.25, "gigapixel_bytes": 4 << 30}
GREY = 1 / 12  # a quarter of one byte a pixel, as a share of three
GIGAPIXEL, GIGAPIXEL_MINUTES = 1 << 15, 4.0  # pixels on a side
CELLS = (4096, 512, 64, 8)  # pixels of the made picture's noise, octave by octave
REDUCTIONS, ENLARGE = (2, 4), dict(footprint=2, steps=500, learning_rate=3e-3, size=10.0)  # size: as much as it likes
ENLARGE_GRID = dict(num_levels=4, log2_table=18, coarsest=32)  # and the finest level with a corner a pixel
KEPT = "psnr ssim parameter_bytes share_of_pixel_bytes steps train_seconds points_per_second pixels_scored".split()


def kept(metrics: dict) -> dict:
    return {name: metrics[name] for name in (*KEPT, "peak_rss_bytes")}


def albert(options) -> dict:
    """Both sizes, every seed."""
    source, minutes = options.folder / "images" / "albert_srgb.png", options.share * TARGET["seconds"] / 60
    runs = [{"seed": s} | kept(train_picture(source, minutes=minutes, seed=s).metrics) for s in options.seeds]
    grey = train_picture(source, minutes=minutes, seed=options.seeds[0], size=GREY).metrics
    return {"psnr": mean(r["psnr"] for r in runs), "runs": runs, "a_quarter_of_one_byte_a_pixel": kept(grey)}


def made_picture(side: int, rows: int = 256) -> Iterator[np.ndarray]:
    """Strips of noise in octaves, smooth between the corners of its cells; each colour has its own weights of them.
    side: a multiple of the largest cell."""
    random, weight = np.random.default_rng(0), np.float32([[60, 20, 40], [35, 50, 30], [18, 30, 30], [14, 20, 20]])
    corners = [random.uniform(-1, 1, (side // cell + 1,) * 2).astype(np.float32) for cell in CELLS]
    for top in range(0, side, rows):
        octaves = np.empty((len(CELLS), min(rows, side - top), side), np.float32)
        for out, cell, values in zip(octaves, CELLS, corners, strict=True):
            y, across = (np.arange(top, top + len(out)) + 0.5) / cell, np.float32((np.arange(cell) + 0.5) / cell)
            row, down = y.astype(int), np.float32(y % 1)[:, None]
            line = values[row] * (1 - down) + values[row + 1] * down
            out.reshape(len(out), -1, cell)[:] = line[:, :-1, None] + np.diff(line)[:, :, None] * across
        yield (128 + np.tensordot(octaves, weight, (0, 0))).clip(0, 255).astype(np.uint8)


def gigapixel(options) -> dict:
    """The made picture. Its tiles are written before memory is limited, and by less than the limit."""
    with tempfile.TemporaryDirectory(prefix="gigapixel-") as folder:
        begin = time.perf_counter()
        write_tiles(folder, GIGAPIXEL, GIGAPIXEL, made_picture(GIGAPIXEL))
        seconds = time.perf_counter() - begin
        resource.setrlimit(resource.RLIMIT_DATA, (TARGET["gigapixel_bytes"],) * 2)
        metrics = train_picture(folder, minutes=options.share * GIGAPIXEL_MINUTES, seed=options.seeds[0]).metrics
    return {"pixels": GIGAPIXEL**2, "writing_seconds": seconds, **kept(metrics)}


def upsampling(options) -> dict:
    """PSNR of enlarged pictures, in dB: ours, bicubic, and the difference."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, image in photographs(options.folder).items():
            for factor in REDUCTIONS:
                height, width = (n // factor * factor for n in image.shape[:2])
                whole = image[:height, :width]
                blocks = whole.reshape(height // factor, factor, width // factor, factor, 3)
                reduced = Image.fromarray(np.rint(blocks.mean((1, 3))).astype(np.uint8))
                source = Path(folder) / f"{name}.png"
                reduced.save(source)
                truth = torch.from_numpy(whole.copy()).float() / 255
                grid = ENLARGE_GRID | dict(finest=max(reduced.size))
                model = train_picture(source, seed=options.seeds[0], field_config=grid, **ENLARGE).model
                enlarged = reduced.resize((width, height), Image.Resampling.BICUBIC)
                bicubic = psnr(torch.from_numpy(np.array(enlarged)).float() / 255, truth)
                ours = psnr(model.render(width, height), truth)
                found.append(dict(picture=name, factor=factor, psnr=ours, bicubic=bicubic, gain=ours - bicubic))
    return {"pictures": found, "mean_gain": mean(f["gain"] for f in found), "settings": ENLARGE | ENLARGE_GRID}


PARTS = {"albert": albert, "gigapixel": gigapixel, "upsampling": upsampling}


def measure(options) -> dict:
    """The row; every part in a process of its own, so that each has its own peak of memory."""
    found = {}
    for name, part in PARTS.items():
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            found[name] = process.submit(part, options).result()
    return dict(holds=holds(found), seeds=options.seeds, **found)


def holds(found: dict) -> bool:
    """All that is asked for; of enlargements, that there are figures."""
    small = all(r["share_of_pixel_bytes"] <= TARGET["share_of_pixel_bytes"] for r in found["albert"]["runs"])
    good = all(r["psnr"] >= TARGET["psnr"] for r in found["albert"]["runs"])
    return small and good and found["gigapixel"]["peak_rss_bytes"] <= TARGET["gigapixel_bytes"]
