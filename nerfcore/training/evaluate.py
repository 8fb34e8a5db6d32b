"""Scores a model on photographs it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from nerfcore.cameras.alignment import Similarity
from nerfcore.cameras.rays import camera_rays
from nerfcore.data.pixels import PixelSampler
from nerfcore.data.scene import Frame, Scene, StoredSplit, Views
from nerfcore.metrics.image import psnr, ssim
from nerfcore.renderer.model import Model, background_rgb
from nerfcore.training.cameras import REFINE_UNTIL, CameraRefinement
from nerfcore.training.floaters import FloaterMeter
from nerfcore.training.loss import modular_loss, over
from nerfcore.training.report import MAX_SIDE

SETTLE_STEPS, SETTLE_RAYS = 300, 4096
ALIGNING_RAYS = 256  # of each training view, to see what its camera looks at


@dataclass(frozen=True)
class Evaluation:
    """metrics: JSON-able means and per-image values; pictures: (name, truth [H, W, 3], prediction [H, W, 3]), made
    smaller, by means over blocks, where photographs stay in their files because memory does not hold them; floaters: of
    each picture [h, w], small, the share of each pixel that :class:`~nerfcore.training.floaters.FloaterMeter` finds to
    be light from floaters."""

    metrics: dict
    pictures: list[tuple[str, Tensor, Tensor]]
    floaters: list[Tensor]


def evaluate(
    model: Model, scene: Scene | Views, background: str | None = None, settle: bool = False
) -> Evaluation:
    """PSNR and SSIM on the held-out views: means over images of the per-image value, on sRGB values in [0, 1]; RGBA
    truth is composited on ``background`` (None: the one of training, white if that was random), predictions are clipped
    and not quantised. Ignored pixels do not count, and are background in both pictures.

    Where training corrected cameras, the held-out views of a scene follow: their poses by what the corrections have in
    common (see :func:`correction_in_common`), their intrinsics where a training view has the same. Their photographs
    have no part in that, and are judged in the mean appearance of the training views.

    settle: cameras first move to where the field, which stays as it is, explains their photographs best; where
    training learned appearances, predictions take that of their photograph, too. This takes the errors of poses and
    what light and camera did out of the score, and those photographs are then no longer unseen: ``settled`` in the
    metrics says so.

    ``floaters``, a mean over images too, is the share of light that comes from these, see
    :class:`~nerfcore.training.floaters.FloaterMeter`.
    """
    if background is None:
        trained_on = model.header.get("config", {}).get("background", "random")
        background = "white" if trained_on in ("random", "learned") else trained_on
    split, frames = (scene.test, _followed(model, scene)) if isinstance(scene, Scene) else (scene, scene.frames)
    settled = _settled(model, replace(split, frames=frames)) if settle and frames else None
    codes = None
    if settled is not None:
        frames, codes = settled.corrected_frames(), settled.codes()
    color, meter = torch.tensor(background_rgb(background)), FloaterMeter(model)
    pictures, per_image, floaters = [], [], []
    for i, frame in enumerate(frames):
        truth = split.image(i)
        truth = over(color.expand_as(truth[..., :3]), truth)
        seen = model if codes is None else model.in_appearance(codes[i])
        render = seen.render_image(frame.camera, frame.pose, background)
        prediction = render["rgb"]
        if settled is not None:
            transparent = (1 - render["opacity"]) * (not model.field.has_sky)
            prediction = settled.as_photographed(prediction, color, transparent, i)
        prediction = prediction.clamp(0, 1)
        ignored = split.ignored(i)
        scores = {score.__name__: score(prediction, truth, ignored) for score in (psnr, ssim)}
        floating, light = meter(frame.name, frame.camera, frame.pose)
        scores["floaters"] = (floating.sum() / light.sum().clamp(min=1e-9)).item()
        per_image.append(dict(name=frame.name, **scores))
        if ignored is not None:
            truth, prediction = (torch.where(ignored[..., None], color, image) for image in (truth, prediction))
        if isinstance(split, StoredSplit):
            truth, prediction = (_smaller(image) for image in (truth, prediction))
        pictures.append((frame.name, truth, prediction))
        floaters.append(floating.cpu())
    mean = {k: sum(p[k] for p in per_image) / max(len(per_image), 1) for k in ("psnr", "ssim", "floaters")}
    return Evaluation(
        dict(**mean, num_eval_images=len(per_image), background=background, settled=settle, per_image=per_image),
        pictures,
        floaters,
    )


def _smaller(image: Tensor) -> Tensor:
    """A picture [H, W, 3] whose longer side is a report's, or up to twice as long."""
    factor = max(max(image.shape[:2]) // MAX_SIDE, 1)
    return avg_pool2d(image.permute(2, 0, 1), factor).permute(1, 2, 0)


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
    moved = correction_in_common(model, {frame.name: frame.pose for frame in given})
    return [replace(frame, pose=moved.poses(frame.pose)) for frame in frames]


def correction_in_common(model: Model, given: dict[str, Tensor]) -> Similarity:
    """The similarity by which training moved the capture as a whole: from given poses, by name, to corrected ones.

    It is that under which the given cameras see the surfaces of the field in those pixels in which the corrected ones
    see them. Aligned by their centres, corrected cameras and given ones would not see the same: of a camera's place on
    a circle about what it looks at photographs tell little, and errors of many in the same direction move the scene.
    """
    generator, seen = torch.Generator().manual_seed(0), []
    for name, camera, pose in model.cameras:
        if name not in given:
            continue
        pixel = torch.rand(ALIGNING_RAYS, 2, generator=generator) * torch.tensor([camera.width, camera.height])
        rays = camera_rays(camera, pose, pixel[camera.covers(pixel)])
        render = model.render(rays).to("cpu")
        hit = render.opacity > 0.5
        points = (rays.origin + render.distance[:, None] * rays.direction)[hit]
        seen.append([points, *(p.expand(len(points), 3, 4) for p in (given[name], pose))])
    points, before, after = (torch.cat(part) for part in zip(*seen, strict=True))
    return Similarity.between_views(before, after, points)


def _settled(model: Model, split: Views) -> CameraRefinement:
    """The cameras, and the appearances, by which the field explains the photographs of a split best."""
    pixels = PixelSampler(split, model.device, model.transform)
    appearance = model.header.get("config", {}).get("appearance", "none")
    cameras = CameraRefinement(
        split, model.transform, appearance=appearance, anchored=True, code_features=model.field.code_features,
        device=model.device, backend=model.backend,
    )
    generator, lattice = torch.Generator(model.device).manual_seed(0), model.marching.lattice(model.occupancy)
    for step in range(SETTLE_STEPS):
        cameras.begin_step(REFINE_UNTIL * step / SETTLE_STEPS, step)
        rays, pixel, image, _ = pixels.sample(SETTLE_RAYS, generator)
        rays = cameras(rays, image)
        jitter, *background = torch.rand(4, SETTLE_RAYS, generator=generator, device=model.device)
        background = torch.stack(background, dim=-1)
        truth = over(background, pixel)
        background, truth = (cameras.in_field(colour, rays, image) for colour in (background, truth))
        code = None if (codes := cameras.codes()) is None else codes.index_select(0, image)
        *_, gradients = modular_loss(
            model.field, rays.origin, rays.direction, lattice, jitter, background, truth, backend=model.backend,
            code=code,
        )
        of_rays = dict(origin=rays.origin, direction=rays.direction, background=background, truth=truth, code=code)
        cameras.step(of_rays, gradients)
    pixels.close()
    return cameras
