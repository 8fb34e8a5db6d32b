"""Where was a photograph taken? The pose under which a trained field explains it (iNeRF: Yen-Chen et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, normalize

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.poses import rotation_exp
from nerfcore.errors import NerfcoreError
from nerfcore.renderer.model import Model, background_rgb
from nerfcore.training.loss import over
from nerfcore.types import Rays

GLANCE = 24  # pixels of the longer side of pictures by which many poses are compared
PARTICLES, ELITES, ROUNDS = 512, 32, 7
STARTS = 3  # poses of training cameras, the most alike, that are tried where no start is given
SIDES = 48, 96, 192, 384  # of the longer side of the photograph, from coarse to fine
LOOKS = 1536  # rays a picture, where a photograph has more pixels
STEPS = 8  # at most, at each size
STEP = 0.5  # pixels by which motions differ, between which derivatives are taken
OUTLIER = 0.1  # of a colour: larger differences count by their absolute value


@dataclass(frozen=True)
class Located:
    """pose [3, 4], camera to world. covariance [6, 6], of a turn in radians and of a shift in world units about the
    camera's own axes, if colours differ by noise alone: x right, y up, z backward. psnr: of the photograph, in the
    finest size that was looked at."""

    pose: Tensor
    covariance: Tensor
    psnr: float

    @property
    def turn_error(self) -> float:
        """Standard deviation of the direction, degrees, over all axes."""
        return math.degrees(self.covariance[:3, :3].trace().clamp(min=0).sqrt().item())

    @property
    def shift_error(self) -> float:
        """Standard deviation of the place, world units, over all axes."""
        return self.covariance[3:, 3:].trace().clamp(min=0).sqrt().item()


def locate(
    model: Model,
    photo: Tensor,
    camera: Camera,
    starts: Sequence[Tensor] | None = None,
    turn: float = 20.0,
    shift: float = 0.2,
    background: str = "white",
    seed: int = 0,
) -> Located:
    """Inverts the renderer: from a photograph [H, W, 3], or with straight alpha [H, W, 4], to the pose of its camera.

    starts: poses [3, 4] that are at most ``turn`` degrees, and ``shift`` times the distance of what they look at, away
    from the right one; None for those training cameras whose pictures are most like the photograph.

    About each start poses are drawn, and drawn again where pictures of a few hundred pixels agree best (the
    cross-entropy method, Rubinstein 1999), which finds the right valley from farther away than gradients do. From the
    best of all, Gauss-Newton steps (Levenberg 1944; Marquardt 1963) go down, at ever finer sizes and by rays of regions
    of interest (section 3.3 of the paper), whose derivatives are differences of pictures half a pixel away.

    Not differentiable. Raises NerfcoreError where photograph and camera differ in size.
    """
    if photo.shape[:2] != (camera.height, camera.width) or photo.shape[2:] not in ((3,), (4,)):
        raise NerfcoreError(
            f"a camera of {camera.width} x {camera.height} pixels takes no photograph {list(photo.shape)}; "
            "give that of the photograph"
        )
    generator = torch.Generator().manual_seed(seed)
    behind = torch.tensor(background_rgb(background))
    photo = over(behind.expand_as(photo[..., :3]), photo.cpu())
    glance = Look.at(photo, camera, GLANCE, background)
    if starts is None:
        poses = torch.stack([pose for _, _, pose in model.cameras])
        starts = poses[glance.error(model, poses).argsort()[:STARTS]]
    found = [search(model, glance, start, math.radians(turn), shift, generator) for start in starts]
    pose = min(found, key=lambda one: one[1])[0]
    longest = max(camera.width, camera.height)
    for side in dict.fromkeys(min(side, longest) for side in SIDES):
        look = Look.at(photo, camera, side, background).of_interest(LOOKS, generator)
        pose, normal, error = descend(model, look, pose)
    distance, pixel = _distance(model, look, pose), 1 / look.focal
    to_world = torch.tensor([pixel] * 3 + [pixel * distance] * 3, dtype=torch.float64)
    covariance = error * torch.linalg.pinv(normal) * to_world[:, None] * to_world
    whole = Look.at(photo, camera, min(SIDES[-1], longest), background).error(model, pose[None])
    return Located(pose, covariance, -10 * math.log10(max(whole.item(), 1e-12)))


@dataclass(frozen=True)
class Look:
    """Pixels of a photograph at some size: colours [P, 3], and directions [P, 3] and beginnings [P, 3] of their rays in
    the camera's axes. interest [P]: how much a pixel tells of where the camera is."""

    color: Tensor
    origin: Tensor
    direction: Tensor
    interest: Tensor
    focal: float  # pixels
    background: str

    @classmethod
    def at(cls, photo: Tensor, camera: Camera, side: int, background: str) -> Look:
        """With so many pixels along its longer side."""
        factor = side / max(camera.width, camera.height)
        camera = camera.resized(max(round(camera.width * factor), 1), max(round(camera.height * factor), 1))
        small = interpolate(photo.permute(2, 0, 1)[None], (camera.height, camera.width), mode="area")
        pixel = camera.pixel_centres()
        covered = camera.covers(pixel)
        origin, direction = (of_ray.float() for of_ray in camera.unproject(pixel[covered]))
        color, interest = small[0].flatten(1).T[covered], corners(small).flatten()[covered]
        return cls(color, origin, direction, interest, camera.fl_x, background)

    def of_interest(self, count: int, generator: torch.Generator) -> Look:
        """At most so many of its pixels: those that tell most are drawn most."""
        if len(self.color) <= count:
            return self
        chosen = torch.multinomial(self.interest + 0.1 * self.interest.mean() + 1e-9, count, generator=generator)
        of_pixel = (t[chosen] for t in (self.color, self.origin, self.direction, self.interest))
        return Look(*of_pixel, self.focal, self.background)

    def rendered(self, model: Model, poses: Tensor) -> Tensor:
        """Colours [N, P, 3] that the model shows cameras with poses [N, 3, 4]."""
        rotation, centre = poses[:, :, :3], poses[:, None, :, 3]
        origin, direction = (rays @ rotation.mT for rays in (self.origin, self.direction))
        rays = Rays((origin + centre).flatten(0, 1), direction.flatten(0, 1))
        return model.render(rays, self.background).rgb.cpu().view(len(poses), -1, 3)

    def error(self, model: Model, poses: Tensor) -> Tensor:
        """[N]: mean squared difference of colours."""
        return (self.rendered(model, poses) - self.color).square().mean((1, 2))


def corners(image: Tensor) -> Tensor:
    """[H, W] of an image [1, 3, H, W]: the smaller eigenvalue of the structure tensor (Shi and Tomasi 1994), the
    largest nearby, so that regions about corners count as well."""
    grey = torch.nn.functional.pad(image.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    along = 0.5 * (grey[:, :, 1:-1, 2:] - grey[:, :, 1:-1, :-2])
    down = 0.5 * (grey[:, :, 2:, 1:-1] - grey[:, :, :-2, 1:-1])
    products = torch.cat((along * along, down * down, along * down), 1)
    xx, yy, xy = avg_pool2d(products, 5, 1, 2, count_include_pad=False)[0]
    smaller = 0.5 * (xx + yy) - (0.25 * (xx - yy).square() + xy.square()).sqrt()
    return max_pool2d(smaller.clamp(min=0).sqrt()[None], 5, 1, 2)[0]


def moved(pose: Tensor, motion: Tensor, distance: float) -> Tensor:
    """Poses [N, 3, 4]: the camera turned by motion[:, :3], radians, and shifted by motion[:, 3:] times the distance,
    about and along its own axes."""
    centre = pose[:, 3] + distance * motion[:, 3:] @ pose[:, :3].T
    return torch.cat((pose[:, :3] @ rotation_exp(motion[:, :3]), centre[:, :, None]), 2)


def search(
    model: Model, look: Look, start: Tensor, turn: float, shift: float, generator: torch.Generator
) -> tuple[Tensor, float]:
    """The pose that explains a small picture best of many about a start, and its error: round by round, they are drawn
    from the normal distribution of the best ones so far. turn: radians."""
    distance = _distance(model, look, start)
    axis = normalize(torch.randn(2, PARTICLES, 3, generator=generator), dim=-1)
    away = torch.rand(2, PARTICLES, 1, generator=generator) ** (1 / 3) * torch.tensor([turn, shift])[:, None, None]
    motion = (axis * away).permute(1, 0, 2).flatten(1)
    motion[0] = 0  # the start itself
    best = torch.empty(0, 6), torch.empty(0)
    for _ in range(ROUNDS):
        error = look.error(model, moved(start, motion, distance))
        motions, errors = torch.cat((best[0], motion)), torch.cat((best[1], error))
        chosen = errors.argsort()[:ELITES]
        best = motions[chosen], errors[chosen]
        middle, spread = best[0].mean(0), torch.cov(best[0].T) + 1e-8 * torch.eye(6)
        motion = middle + torch.randn(PARTICLES, 6, generator=generator) @ torch.linalg.cholesky(spread).T
    return moved(start, best[0][:1], distance)[0], best[1][0].item()


def descend(model: Model, look: Look, pose: Tensor) -> tuple[Tensor, Tensor, float]:
    """Steps of Levenberg and Marquardt to where the picture differs least from the photograph. Returns the pose, the
    normal matrix [6, 6] of its motions in pixels, and the mean squared residual."""
    pixel, damping, eye = 1 / look.focal, 1e-2, torch.eye(6)
    distance = _distance(model, look, pose)
    residual = (look.rendered(model, pose[None])[0] - look.color).flatten().double()
    for _ in range(STEPS):
        poses = moved(pose, STEP * pixel * torch.cat((eye, -eye)), distance)
        ahead, back = look.rendered(model, poses).flatten(1).double().split(6)
        slope = (ahead - back) / (2 * STEP)
        weight = OUTLIER / residual.abs().clamp(min=OUTLIER)  # of Huber's loss
        normal, gradient = (slope * weight) @ slope.T, (slope * weight) @ residual
        while damping < 1e6:
            scale = normal.diagonal().clamp(min=1e-12)
            step = -torch.linalg.solve(normal + damping * torch.diag(scale), gradient)
            there = moved(pose, pixel * step.float()[None], distance)
            new = (look.rendered(model, there)[0] - look.color).flatten().double()
            if huber(new) < huber(residual):
                pose, residual, damping = there[0], new, 0.1 * damping
                break
            damping *= 10
        if damping >= 1e6 or step.abs().max() < 0.02:  # pixels
            break
    return pose, normal, residual.square().mean().item()


def huber(residual: Tensor) -> float:
    """The mean of Huber's loss."""
    size = residual.abs()
    return torch.where(size < OUTLIER, 0.5 * size * size, OUTLIER * (size - 0.5 * OUTLIER)).mean().item()


def _distance(model: Model, look: Look, pose: Tensor) -> float:
    """Of what a camera sees, in the mean; of the middle of the box, if it sees nothing."""
    rays = Rays(look.origin @ pose[:, :3].T + pose[:, 3], look.direction @ pose[:, :3].T)
    render = model.render(rays, look.background).to("cpu")
    if render.opacity.sum() < 0.01 * len(rays):
        return (model.world_box.mean(0) - pose[:, 3]).norm().item()
    return ((render.opacity * render.distance).sum() / render.opacity.sum()).item()
