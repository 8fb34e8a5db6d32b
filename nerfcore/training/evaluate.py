"""Scores a model on photographs it has not seen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerfcore.data.scene import Scene, Split
from nerfcore.metrics.image import psnr, ssim
from nerfcore.renderer.model import Model, background_rgb


@dataclass(frozen=True)
class Evaluation:
    """metrics: JSON-able means and per-image values; pictures: (name, truth [H, W, 3], prediction [H, W, 3])."""

    metrics: dict
    pictures: list[tuple[str, Tensor, Tensor]]


def evaluate(model: Model, scene: Scene | Split, background: str = "white") -> Evaluation:
    """PSNR and SSIM on the held-out views: means over images of the per-image value, on sRGB values in [0, 1]; RGBA
    truth is composited on ``background``, predictions are clipped and not quantised. Ignored pixels do not count, and
    are background in both pictures."""
    split = scene.test if isinstance(scene, Scene) else scene
    color, pictures, per_image = torch.tensor(background_rgb(background)), [], []
    for i, frame in enumerate(split.frames):
        truth = split.image(i)
        if truth.shape[-1] == 4:
            truth = torch.lerp(color.expand_as(truth[..., :3]), truth[..., :3], truth[..., 3:])
        prediction = model.render_image(frame.camera, frame.pose, background)["rgb"].clamp(0, 1)
        ignored = split.ignored(i)
        scores = {score.__name__: score(prediction, truth, ignored) for score in (psnr, ssim)}
        per_image.append(dict(name=frame.name, **scores))
        if ignored is not None:
            truth, prediction = (torch.where(ignored[..., None], color, image) for image in (truth, prediction))
        pictures.append((frame.name, truth, prediction))
    mean = {k: sum(p[k] for p in per_image) / max(len(per_image), 1) for k in ("psnr", "ssim")}
    return Evaluation(
        dict(**mean, num_eval_images=len(per_image), background=background, per_image=per_image), pictures
    )
