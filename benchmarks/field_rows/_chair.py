"""What the rows of fields made of plain grids share: a run on the scene ``chair``, and what a row says of it."""

from __future__ import annotations

import nerfcore

MINUTES, TARGET = 8.0, 29.5  # of the 15 that are asked for; dB over the held-out views, at 400 x 400 pixels on white
KEPT = "psnr ssim num_eval_images background steps train_seconds rays_per_second peak_rss_bytes".split()


def train(options, field: str, **settings) -> nerfcore.Run:
    """A run with the budget of the row, from loading on."""
    minutes = options.share * MINUTES
    return nerfcore.train(options.folder / "chair", field=field, minutes=minutes, seed=options.seeds[0], **settings)


def figures(trained: nerfcore.Run) -> dict:
    """Of the held-out views and of what a run took."""
    parameters = sum(p.numel() for p in trained.model.field.parameters())
    return {name: trained.metrics[name] for name in KEPT} | {"parameters": parameters}
