"""Fields side by side: trained in turn on the same photographs for as long, scored on the same held-out views."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import pad

from nerfcore.colours import error_colours
from nerfcore.data import load_scene
from nerfcore.data.scene import Scene
from nerfcore.errors import SceneError
from nerfcore.fields import field_named
from nerfcore.files import write_file
from nerfcore.renderer.model import Model, background_rgb
from nerfcore.training.loss import over
from nerfcore.training.run import train

SCHEMA = 1
VIEWS = 3  # of the held-out ones, in the picture
CAPTION, COLUMN = 24, 120  # pixels: above a column, and how wide it is at least
KEPT = "psnr ssim steps train_seconds rays_per_second peak_rss_bytes num_eval_images background device seed".split()


def compare(
    scene: Scene | str | Path | None,
    fields: Sequence[str],
    out: str | Path,
    *,
    on_progress: Callable[[str], Callable] | None = None,
    **settings,
) -> list[dict]:
    """Trains each field on a scene (None for the built-in one) and leaves the run folders ``out/FIELD``, with them
    ``comparison.json``, ``comparison.md`` and ``comparison.png``, in which a column is a field and every view has its
    errors below.

    settings: of :func:`nerfcore.train`, the same for all. on_progress(name) gives the callback for a field's training.
    Returns a row for each field, with its scores and its size. Raises what :func:`nerfcore.train` raises, for unknown
    fields before anything is trained.
    """
    out = Path(out)
    for name in fields:
        field_named(name)
    if not isinstance(scene, Scene):
        scene = load_scene(scene, settings.get("downscale", 1))
    if not len(scene.test):
        raise SceneError(f"{scene.name} has no held-out views, by which fields could be compared")
    rows, models = [], {}
    for name in fields:
        tell = None if on_progress is None else on_progress(name)
        run = train(scene, out / name, field=name, on_progress=tell, **settings)
        if run.interrupted:
            raise KeyboardInterrupt
        size = sum(p.nbytes for p in run.model.field.parameters())
        rows.append({"field": name, "parameter_bytes": size} | {key: run.metrics[key] for key in KEPT})
        models[name] = run.model
    write_file(out / "comparison.json", json.dumps(dict(schema=SCHEMA, scene=scene.name, rows=rows), indent=1))
    write_file(out / "comparison.md", table(rows))
    picture = iio.imwrite("<bytes>", side_by_side(scene, models, rows[0]["background"]), extension=".png")
    write_file(out / "comparison.png", picture)
    return rows


def table(rows: Sequence[dict]) -> str:
    """The rows of :func:`compare` as Markdown."""
    names = "field", "PSNR", "SSIM", "parameters", "steps", "seconds", "rays/s"
    lines = [f"| {' | '.join(names)} |", "| --- " * len(names) + "|"]
    for r in rows:
        size, rate = f"{r['parameter_bytes'] / 2**20:.1f} MiB", f"{r['rays_per_second'] / 1e3:.1f} k"
        scores, seconds = (f"{r['psnr']:.2f} dB", f"{r['ssim']:.4f}"), f"{r['train_seconds']:.0f}"
        lines.append(f"| {' | '.join((r['field'], *scores, size, str(r['steps']), seconds, rate))} |")
    return "\n".join(lines) + "\n"


def side_by_side(scene: Scene, models: dict[str, Model], background: str) -> np.ndarray:
    """uint8 [H, W, 3]: held-out photographs, and what each model makes of them."""
    behind, count = torch.tensor(background_rgb(background)), len(scene.test)
    columns: dict[str, list[Tensor]] = {name: [] for name in ("photograph", *models)}
    for i in sorted({count * k // VIEWS for k in range(VIEWS)}):
        frame, truth = scene.test.frames[i], scene.test.image(i)
        truth = over(behind.expand_as(truth[..., :3]), truth)
        columns["photograph"] += [truth, torch.ones_like(truth)]
        for name, model in models.items():
            rgb = model.render_image(frame.camera, frame.pose, background)["rgb"].clamp(0, 1)
            columns[name] += [rgb, error_colours((rgb - truth).abs().mean(-1))]
    width = max(picture.shape[1] for picture in columns["photograph"])
    pixels = torch.cat([_stacked(pictures, width) for pictures in columns.values()], 1)
    larger = -(-COLUMN // width)
    pixels = pixels.repeat_interleave(larger, 0).repeat_interleave(larger, 1)
    return _captioned((255 * pixels).round().byte().numpy(), list(columns))


def _stacked(pictures: list[Tensor], width: int) -> Tensor:
    """Pictures [H, W, 3] above each other, white to the right of narrow ones."""
    return torch.cat([pad(picture, (0, 0, 0, width - picture.shape[1]), value=1.0) for picture in pictures])


def _captioned(pixels: np.ndarray, names: list[str]) -> np.ndarray:
    """The names above columns of one width."""
    image = Image.new("RGB", (pixels.shape[1], pixels.shape[0] + CAPTION), "white")
    image.paste(Image.fromarray(pixels), (0, CAPTION))
    draw, width = ImageDraw.Draw(image), pixels.shape[1] // len(names)
    for i, name in enumerate(names):
        draw.text((i * width + 4, CAPTION // 6), name, fill="black", font=ImageFont.load_default(CAPTION // 2))
    return np.asarray(image)
