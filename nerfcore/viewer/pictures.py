"""What a browser's camera sees, as pixels: of the model, or compared with a photograph.

viser has the camera axes of OpenCV and draws a few units well; the world is shown ``unit`` times as large there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn.functional import grid_sample

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.poses import rotation_angle, to_opencv_axes
from nerfcore.cameras.rays import camera_rays
from nerfcore.colours import ERROR_FULL_SCALE, error_colours, ramp
from nerfcore.data.camera_path import fov_camera
from nerfcore.types import Rays, Render

MODES = "rgb", "distance", "normals", "error", "mesh"
RAYS_AT_ONCE = 1 << 14  # between looks at whether the picture is still wanted
NOT_COMPARED = 0.5  # grey of pixels that the photo does not show
SAME_VIEW = 0.02  # of a photo and the browser: how far apart their centres may be, in distances to what is seen
WIDEST_FOV = 120.0  # degrees that a browser shows of a photo with a wide lens

RenderRays = Callable[[Rays, str, bool], Render]
"""Rays, background, and whether normals are wanted."""


@dataclass(frozen=True)
class Photo:
    """A photograph's name, camera and pose [3, 4], and what gives its pixels [H, W, 3 or 4] in [0, 1], if it is there.

    held_out: it had no part in the training."""

    name: str
    camera: Camera
    pose: Tensor
    image: Callable[[], Tensor] | None = None
    held_out: bool = False


@dataclass(frozen=True)
class View:
    """What a browser wants to see: pose [3, 4] in the world, vertical angle of view in degrees, size in pixels, mode
    and background."""

    pose: Tensor
    fov_degrees: float
    width: int
    height: int
    mode: str = "rgb"
    background: str = "white"

    def scaled(self, scale: float) -> View:
        """The same in fewer pixels."""
        return replace(self, width=max(1, round(scale * self.width)), height=max(1, round(scale * self.height)))

    @property
    def camera(self) -> Camera:
        return fov_camera(self.fov_degrees, self.width, self.height)


@dataclass(frozen=True)
class Picture:
    """rgb [H, W, 3] uint8; z_depth [H, W] float32, world units, infinite where nothing is; a note on what it shows."""

    rgb: np.ndarray
    z_depth: np.ndarray
    note: str = ""


def pose_of_viser(wxyz, position, unit: float) -> Tensor:
    """The pose [3, 4], float32, of a viser camera: a quaternion, real part first, and a position."""
    rotation = torch.from_numpy(Rotation.from_quat(np.roll(wxyz, -1)).as_matrix())
    centre = torch.from_numpy(np.asarray(position, dtype=float) / unit)
    return to_opencv_axes(torch.cat([rotation, centre[:, None]], dim=1)).float()


def viser_of_pose(pose: Tensor, unit: float) -> dict[str, np.ndarray]:
    """``wxyz`` and ``position`` of a viser camera, for a pose [3, 4]."""
    pose = to_opencv_axes(pose.detach().double().cpu()).numpy()
    return dict(wxyz=np.roll(Rotation.from_matrix(pose[:, :3]).as_quat(), 1), position=unit * pose[:, 3])


def fov_that_shows(camera: Camera, aspect: float = 0.0) -> float:
    """The vertical angle of view, degrees, at which a window, width / height = ``aspect``, holds the picture of a
    perspective camera whole; of a wide lens the middle."""
    if not camera.lens.is_central or camera.lens.is_wide and camera.width / camera.fl_x >= math.pi:
        return WIDEST_FOV / 2
    tangent = 0.5 * max(camera.height / camera.fl_y, camera.width / camera.fl_x / aspect if aspect else 0.0)
    return min(2 * math.degrees(math.atan(tangent)), WIDEST_FOV)


def paint(
    view: View, render: RenderRays, photos: list[Photo], outdated: Callable[[], bool] = lambda: False
) -> Picture | None:
    """The picture of a view; None if it was ``outdated`` before it was done.

    distance: the nearer, the brighter, between what 2 and 98 % of the opaque pixels have. normals: world axes as red,
    green and blue, 0 is mid-grey. error: from black to yellow by the mean absolute difference to the photograph whose
    camera the browser looks through; elsewhere it is rgb, and the note says so. mesh: the background alone, which the
    browser draws the mesh before.
    """
    if view.mode == "mesh":
        shape = view.height, view.width
        return Picture(np.full((*shape, 3), 255 * (view.background == "white"), np.uint8), np.full(shape, np.inf, "f4"))
    rays = camera_rays(view.camera, view.pose)
    parts = []
    for start in range(0, len(rays), RAYS_AT_ONCE):
        if outdated():
            return None
        part = rays[start : start + RAYS_AT_ONCE]
        parts.append(render(part, view.background, view.mode == "normals").to("cpu"))
    whole = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name, value in vars(parts[0]).items() if value is not None
    }
    seen = whole["opacity"] > 0.5
    rgb, note = whole["rgb"], ""
    if view.mode == "distance":
        rgb, note = _distances(whole["distance"], seen)
    elif view.mode == "normals":
        rgb, note = 0.5 * whole["normal"] + 0.5, "red, green, blue: x, y, z"
    elif view.mode == "error":
        rgb, note = _errors(view, rays, whole, seen, photos)
    shape = view.height, view.width
    return Picture(
        (rgb.clamp(0, 1) * 255).round().byte().reshape(*shape, 3).numpy(),
        torch.where(seen, whole["z_depth"], math.inf).reshape(shape).numpy(),
        note,
    )


def _distances(distance: Tensor, seen: Tensor) -> tuple[Tensor, str]:
    if not seen.any():
        return torch.zeros(len(distance), 3), "nothing is there"
    ordered = distance[seen].sort().values
    near, far = (ordered[int(share * (len(ordered) - 1))].item() for share in (0.02, 0.98))
    brightness = 1 - 0.9 * (distance - near) / max(far - near, 1e-12)
    return ramp(brightness.clamp(0.1, 1) * seen), f"bright {near:.4g}, dark {far:.4g} world units"


def _errors(view: View, rays: Rays, whole: dict[str, Tensor], seen: Tensor, photos: list[Photo]) -> tuple[Tensor, str]:
    far = whole["distance"][seen].median().item() if seen.any() else 1.0
    photo = photo_at(view.pose, [photo for photo in photos if photo.image], far)
    if photo is None:
        return whole["rgb"], "go to a photo's camera to see its error"
    points = rays.origin + torch.where(seen, whole["distance"], far)[:, None] * rays.direction
    truth, shown = look_up(photo, points, view.background)
    difference = (whole["rgb"] - truth).abs().mean(-1)
    mean = f"mean {difference[shown].mean():.3f}" if shown.any() else "not in view"
    kind = "held out" if photo.held_out else "in training"
    rgb = torch.where(shown[:, None], error_colours(difference), NOT_COMPARED)
    return rgb, f"{photo.name} ({kind}): {mean}; yellow is {ERROR_FULL_SCALE} and more"


def photo_at(pose: Tensor, photos: list[Photo], distance: float) -> Photo | None:
    """The photograph through whose camera a pose looks: the nearest, and near enough for things at a distance."""
    if not photos:
        return None
    poses = torch.stack([photo.pose for photo in photos])
    away = (poses[:, :, 3] - pose[:, 3]).norm(dim=-1) / distance
    turned = rotation_angle(poses[:, :, :3], pose[:, :3].expand(len(photos), 3, 3))
    nearest = int((away + 0.1 * turned).argmin())
    return photos[nearest] if away[nearest] < SAME_VIEW and turned[nearest] < math.pi / 2 else None


def look_up(photo: Photo, points: Tensor, background: str) -> tuple[Tensor, Tensor]:
    """Colours [N, 3] that a photograph shows of world points [N, 3], alpha over the background, and the mask [N] of
    those that it shows."""
    pixel, shown = photo.camera.project((points - photo.pose[:, 3]) @ photo.pose[:, :3])
    size = pixel.new_tensor([photo.camera.width, photo.camera.height])
    shown = shown & ((pixel >= 0) & (pixel < size)).all(-1)
    image = over(photo.image(), background).permute(2, 0, 1)[None]
    at = (2 * pixel / size - 1)[None, None]
    found = grid_sample(image, at, mode="bilinear", padding_mode="border", align_corners=False)
    return found[0, :, 0].T, shown


def over(image: Tensor, background: str) -> Tensor:
    """Pixels [H, W, 3] of an image [H, W, 3 or 4], straight alpha, over white or black."""
    if image.shape[2] == 3:
        return image
    return image[..., :3] * image[..., 3:] + (background == "white") * (1 - image[..., 3:])


def thumbnail(photo: Photo, side: int) -> np.ndarray:
    """Its picture over white, [h, w, 3] uint8, the longer side as given or as it is, if that is less."""
    image = over(photo.image(), "white").permute(2, 0, 1)[None]
    shrink = min(1.0, side / max(image.shape[2:]))
    size = [max(1, round(length * shrink)) for length in image.shape[2:]]
    small = torch.nn.functional.interpolate(image, size=size, mode="area")[0].permute(1, 2, 0)
    return (small * 255).round().byte().numpy()
