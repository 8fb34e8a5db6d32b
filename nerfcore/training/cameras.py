"""Corrections to cameras and exposures, learned together with the field."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.poses import rotation_angle, rotation_exp
from nerfcore.data.scene import Frame, SceneTransform, Split
from nerfcore.errors import SceneError
from nerfcore.training.config import Refine
from nerfcore.training.optimizer import Adam
from nerfcore.training.schedule import cosine_decay
from nerfcore.types import Rays

BOX_MIDDLE = 0.5
PRIOR = 1e-3
"""Weight of the mean squared correction (radians, box lengths, shares of the focal length) beside the photometric loss:
what no photograph tells stays as it was given."""

REFINE_UNTIL = 0.75
"""Share of the budget after which cameras stand still, and steps are as fast as they are without refinement."""

DETAIL_AT = 0.4
"""Share of the budget after which a field learns at all its scales."""

FIRST_RATE, LAST_RATE = 1e-3, 1e-5
"""Of corrections, in radians and box lengths a step."""

EXPOSURE_UNIT = 5.0
"""What the logarithm of an exposure is counted in: it is larger than an angle, and learns at the same rate."""


CHANGES = ("name", "turn", "shift", "focal", "exposure")


class CameraRefinement(nn.Module):
    """Corrections to the cameras of a split, which start at zero. All lengths are those of the box.

    refine says what of a camera is corrected: "poses", "cameras" (intrinsics as well) or "none" (exposures alone).

    motion [N, 6], in so(3) x R³: a camera turns by ``w = motion[:3]`` and moves by ``v = motion[3:]``, in its own axes
    (on the right of its pose): ``x -> exp(w) (x - p) + p + v`` before the given pose. The pivot p is the point on its
    axis nearest to the middle of the box. Turning about its own centre and moving sideways shift a picture in the same
    way, and gradient steps along both would hardly tell them apart; about p they are different things (Park et al.
    2023, CamP, on what conditioning is worth). Along its own axes, what pictures tell well, sideways, does not mix with
    what they tell badly, back and forth.

    intrinsics [K, 3], where wanted, for each distinct camera of the split: the logarithm of a factor to its focal
    lengths, and a shift of its centre, right and down, in focal lengths.

    exposure [N, 3], where wanted: the logarithm of the factor by which a picture shows each channel brighter than the
    field does, in EXPOSURE_UNIT. The field has the mean exposure, in which held-out views are judged.

    Photographs do not tell where a capture as a whole is: of all motions, a common similarity (seven numbers, to first
    order) is taken out, so that field and cameras do not drift together.
    """

    def __init__(
        self, split: Split, transform: SceneTransform, refine: Refine = "poses", exposure: bool = False,
        device: str = "cpu", backend: str = "auto",
    ):
        super().__init__()
        self.frames, self.transform = split.frames, transform
        poses = split.poses.double()
        rotation, centre = poses[:, :, :3], transform.to_box(poses[:, :, 3])
        depth = ((centre - BOX_MIDDLE) * rotation[:, :, 2]).sum(-1).clamp(min=0)
        pivot = torch.stack([torch.zeros_like(depth), torch.zeros_like(depth), -depth], dim=-1)
        for name, value in dict(rotation=rotation, centre=centre, pivot=pivot).items():
            self.register_buffer(name, value.float(), persistent=False)
        common = _common_motions(rotation, centre, pivot).float()
        self.register_buffer("common", common, persistent=False)
        cameras, camera_of = _distinct([frame.camera for frame in self.frames])
        self.lenses, lens_of = _distinct([frame.camera.lens for frame in self.frames])
        if refine == "cameras" and not all(lens.is_central for lens in self.lenses):
            raise SceneError("the intrinsics of cameras with parallel rays cannot be refined; refine poses alone")
        self.register_buffer("camera_of", camera_of, persistent=False)
        self.register_buffer("lens_of", lens_of, persistent=False)
        images = len(self.frames)
        self.motion = nn.Parameter(torch.zeros(images, 6)) if refine != "none" else None
        self.intrinsics = nn.Parameter(torch.zeros(len(cameras), 3)) if refine == "cameras" else None
        self.exposure = nn.Parameter(torch.zeros(images, 3)) if exposure else None
        self.to(device)
        self.optimizer = Adam(self.named_parameters(prefix="cameras"), backend)

    def corrections(self) -> Tensor:
        """motion [N, 6] without what all cameras have in common."""
        motion = self.motion.flatten()
        return (motion - self.common @ (self.common.T @ motion)).view_as(self.motion)

    def poses(self) -> Tensor:
        """Corrected poses [N, 3, 4], camera axes to the box."""
        motion = self.corrections()
        turn = rotation_exp(motion[:, :3])
        centre = self.pivot + motion[:, 3:] - (turn @ self.pivot[:, :, None]).squeeze(-1)
        centre = self.centre + (self.rotation @ centre[:, :, None]).squeeze(-1)
        return torch.cat([self.rotation @ turn, centre[:, :, None]], dim=-1)

    def forward(self, rays: Rays, image: Tensor) -> Rays:
        """Corrected rays of images [R], which begin in the box; differentiable in motion and intrinsics."""
        if self.motion is None:
            return rays
        given = self.rotation[image].mT
        origin = (given @ (rays.origin - self.centre[image])[:, :, None]).squeeze(-1)
        direction = (given @ rays.direction[:, :, None]).squeeze(-1)
        if self.intrinsics is not None:
            direction = self._through_corrected_lenses(direction, image)
        pose = self.poses().index_select(0, image)
        rotated = pose[:, :, :3] @ torch.stack([origin, direction], dim=-1)
        return Rays(rotated[:, :, 0] + pose[:, :, 3], rotated[:, :, 1], rays.z_scale)

    def _through_corrected_lenses(self, direction: Tensor, image: Tensor) -> Tensor:
        """Directions of the same pixels: ``fl plane + c`` stays, so the point on the lens's plane moves."""
        zoom, shift = self.intrinsics.index_select(0, self.camera_of[image]).split([1, 2], dim=-1)  # sums in one order
        corrected = torch.zeros_like(direction)
        for i, lens in enumerate(self.lenses):
            (chosen,) = torch.nonzero(self.lens_of[image] == i, as_tuple=True)
            plane, _ = lens.flatten(direction[chosen].double())
            _, lifted = lens.lift((plane - shift[chosen]) * torch.exp(-zoom[chosen]))
            corrected = corrected.index_copy(0, chosen, lifted.to(direction))
        return corrected

    def dimming(self, image: Tensor) -> Tensor:
        """[R, 3]: factors that bring pictures to the mean exposure, for rays of images [R]; differentiable."""
        if self.exposure is None:
            return torch.ones_like(self.centre[image])
        return (1 / self.gains()).index_select(0, image)

    def gains(self) -> Tensor:
        """[N, 3]: by how much pictures are brighter than the field."""
        return torch.exp(EXPOSURE_UNIT * (self.exposure - self.exposure.mean(0)))

    def penalty(self) -> Tensor:
        """What keeps corrections small, beside the photometric loss."""
        corrections = None if self.motion is None else self.corrections()
        values = corrections, self.intrinsics, self.exposure
        return PRIOR * sum(value.square().mean() for value in values if value is not None)

    def begin_step(self, fraction: float, step: int) -> float | None:
        """Sets what differs from step to step, after a share of the budget. Returns the share of its scales, in
        eighths, at which the field should learn; None once cameras stand still."""
        if fraction >= REFINE_UNTIL:
            return None
        self.optimizer.begin_step(cosine_decay(fraction / REFINE_UNTIL, step, FIRST_RATE, LAST_RATE))
        return 1.0 if self.motion is None else min(math.floor(8 * fraction / DETAIL_AT) / 8, 1.0)

    def step(self, corrected: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        """Moves the cameras by what the loss says of corrected values, by name, whose gradients are taken out of
        ``gradients``."""
        parameters = self.optimizer.parameters
        names = [name for name in corrected if name in gradients]
        values, along = [corrected[name] for name in names], [gradients.pop(name) for name in names]
        own = torch.autograd.grad([*values, self.penalty()], parameters.values(), [*along, None])
        self.optimizer.step(dict(zip(parameters, own, strict=True)))

    @torch.no_grad()
    def corrected_frames(self) -> list[Frame]:
        """The frames with camera and pose, in the world, as they are now."""
        if self.motion is None:
            return self.frames
        poses = self.poses()
        centre = self.transform.to_world(poses[:, :, 3])
        poses = torch.cat([poses[:, :, :3], centre[:, :, None]], dim=-1).cpu()
        frames = zip(self.frames, self.camera_of.tolist(), poses, strict=True)
        return [replace(f, camera=self._corrected(f.camera, number), pose=pose) for f, number, pose in frames]

    def changes(self) -> list[dict]:
        """Of every image its name, how far its camera turned (degrees) and moved (world units), and the factors to its
        focal lengths and to its exposure, the mean of the channels."""
        corrected, given = self.corrected_frames(), self.frames
        poses, before = (torch.stack([frame.pose for frame in frames]) for frames in (corrected, given))
        turns = torch.rad2deg(rotation_angle(poses[:, :, :3], before[:, :, :3])).tolist()
        shifts = (poses[:, :, 3] - before[:, :, 3]).norm(dim=-1).tolist()
        focals = [new.camera.fl_x / old.camera.fl_x for new, old in zip(corrected, given, strict=True)]
        exposures = [1.0] * len(given) if self.exposure is None else self.gains().mean(1).tolist()
        columns = [frame.name for frame in given], turns, shifts, focals, exposures
        return [dict(zip(CHANGES, row, strict=True)) for row in zip(*columns, strict=True)]

    def state(self) -> dict[str, Tensor]:
        return dict(self.optimizer.parameters) | self.optimizer.state()

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor], step_count: int) -> None:
        for name, parameter in self.optimizer.parameters.items():
            parameter.copy_(tensors[name])
        self.optimizer.load_state(tensors, step_count)

    def _corrected(self, camera: Camera, number: int) -> Camera:
        if self.intrinsics is None:
            return camera
        zoom, right, down = self.intrinsics[number].tolist()
        factor = math.exp(zoom)
        cx, cy = camera.cx + camera.fl_x * right, camera.cy + camera.fl_y * down
        return replace(camera, fl_x=camera.fl_x * factor, fl_y=camera.fl_y * factor, cx=cx, cy=cy)


def _distinct(values: list) -> tuple[list, Tensor]:
    """The different ones, and the number among them [N] of each."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return list(numbers), torch.tensor([numbers[value] for value in values])


def _common_motions(rotation: Tensor, centre: Tensor, pivot: Tensor) -> Tensor:
    """Orthonormal basis [6 N, 7] of the motions of all cameras together: shifts, turns about the middle of the box and
    growth from it, to first order."""
    world_pivot = centre + (rotation @ pivot[:, :, None]).squeeze(-1) - BOX_MIDDLE
    axes = torch.eye(3, dtype=centre.dtype).expand(len(centre), 3, 3)  # [N, 3 motions, 3]
    zero = torch.zeros_like(axes)
    turns = torch.linalg.cross(axes, world_pivot[:, None, :].expand_as(axes))
    growth = torch.stack([torch.zeros_like(centre), centre - BOX_MIDDLE], dim=1)[:, None]  # [N, 1, w and v, 3]
    motions = torch.stack([torch.cat([axes, zero], dim=1), torch.cat([turns, axes], dim=1)], dim=2)
    motions = torch.cat([motions, growth], dim=1) @ rotation[:, None]  # into camera axes
    basis, _ = torch.linalg.qr(motions.permute(0, 2, 3, 1).flatten(0, 2))
    return basis
