"""Scores a model on photographs it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nerfcore.cameras.alignment import Similarity
from nerfcore.data.scene import Frame, Scene, Split
from nerfcore.errors import SceneError
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
    are background in both pictures.

    Where training corrected cameras, the held-out views of a scene follow: their poses by the similarity that brings
    the given centres of the training cameras to the corrected ones, their intrinsics where a training view has the
    same. Their photographs have no part in that, and are judged in the mean exposure of the training views.
    """
    split, frames = (scene.test, _followed(model, scene)) if isinstance(scene, Scene) else (scene, scene.frames)
    color, pictures, per_image = torch.tensor(background_rgb(background)), [], []
    for i, frame in enumerate(frames):
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


def _followed(model: Model, scene: Scene) -> list[Frame]:
    """The held-out frames where the field has them."""
    if model.header.get("config", {}).get("refine", "none") == "none":
        return scene.test.frames
    corrected = {name: (camera, pose) for name, camera, pose in model.cameras}
    given = [frame for frame in scene.train.frames if frame.name in corrected]
    if not given:  # another capture
        return scene.test.frames
    cameras = {f.camera: corrected[f.name][0].resized(f.camera.width, f.camera.height) for f in given}
    frames = [replace(frame, camera=cameras.get(frame.camera, frame.camera)) for frame in scene.test.frames]
    try:
        moved = Similarity.between(
            torch.stack([frame.pose[:, 3] for frame in given]),
            torch.stack([corrected[frame.name][1][:, 3] for frame in given]),
        )
    except SceneError:  # cameras on a line: what they have in common was taken out of their corrections
        return frames
    return [replace(frame, pose=moved.poses(frame.pose)) for frame in frames]
