"""Corrections to cameras and colours, learned together with the field."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.poses import rotation_angle, rotation_exp
from nerfcore.data.scene import Frame, SceneTransform, Split
from nerfcore.errors import SceneError
from nerfcore.training.appearance import PhotoAppearance, PhotoCodes
from nerfcore.training.config import Appearance, Refine
from nerfcore.training.optimizer import Adam, CautiousAdam
from nerfcore.training.schedule import cosine_decay
from nerfcore.types import Rays

BOX_MIDDLE = 0.5
PRIOR = 1e-3
"""Weight of the mean squared correction (radians, box lengths, shares of the focal length) beside the photometric loss:
what no photograph tells stays as it was given."""

REFINE_UNTIL = 0.75
"""Share of the budget after which cameras stand still, and steps are as fast as they are without refinement."""

DETAIL_AT = 0.3
"""Share of the budget after which a field learns at all its scales."""

FIRST_RATE, LAST_RATE = 1e-3, 1e-5
"""Of corrections, in radians and box lengths a step."""

START_AT = 0.1
"""Share of the budget until which cameras stand still: a field that is fog yet moves right ones as well."""

DECIDE_AT, WRONG = 0.2, 4.0
"""Share of the budget after which cameras that are right are left alone, and steps are fast again: those of which no
column of corrections has had so many times the mean square that noise gives a step."""

CHANGES = ("name", "turn", "shift", "focal", "exposure")


class CameraRefinement(nn.Module):
    """Corrections to the cameras of a split, which start at zero. All lengths are those of the box.

    refine says what of a camera is corrected: "poses", "cameras" (intrinsics as well) or "none" (appearance alone).

    motion [N, 6], in so(3) x R³: a camera turns by ``w = motion[:3]`` and moves by ``v = motion[3:]``, in its own axes
    (on the right of its pose): ``x -> exp(w) (x - p) + p + v`` before the given pose. The pivot p is the point on its
    axis nearest to the middle of the box. Turning about its own centre and moving sideways shift a picture in the same
    way, and gradient steps along both would hardly tell them apart; about p they are different things (Park et al.
    2023, CamP, on what conditioning is worth). Along its own axes, what pictures tell well, sideways, does not mix with
    what they tell badly, back and forth.

    intrinsics [K, 3], where wanted, for each distinct camera of the split: the logarithm of a factor to its focal
    lengths, and a shift of its centre, right and down, in focal lengths.

    appearance, where wanted: how the colours of each picture differ, see :class:`PhotoAppearance`, or, of a field that
    takes ``code_features`` of them, the numbers of :class:`PhotoCodes`. The field has the mean appearance, in which
    held-out views are judged.

    Photographs do not tell where a capture as a whole is: of all motions, a common similarity (seven numbers, to first
    order) is taken out, so that field and cameras do not drift together; unless these are anchored by a field that
    stands still.
    """

    def __init__(
        self, split: Split, transform: SceneTransform, refine: Refine = "poses", appearance: Appearance = "none",
        anchored: bool = False, code_features: int = 0, device: str = "cpu", backend: str = "auto",
    ):
        super().__init__()
        self.frames, self.transform = split.frames, transform
        poses = split.poses.double()
        rotation, centre = poses[:, :, :3], transform.to_box(poses[:, :, 3])
        depth = ((centre - BOX_MIDDLE) * rotation[:, :, 2]).sum(-1).clamp(min=0)
        pivot = torch.stack([torch.zeros_like(depth), torch.zeros_like(depth), -depth], dim=-1)
        for name, value in dict(rotation=rotation, centre=centre, pivot=pivot).items():
            self.register_buffer(name, value.float(), persistent=False)
        common = _common_motions(rotation, centre, pivot).float()[:, : 0 if anchored else None]
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
        self.appearance = self.coding = None
        if appearance == "code":
            self.coding = PhotoCodes(images, code_features, anchored)
        elif appearance != "none":
            self.appearance = PhotoAppearance(images, appearance, anchored)
        self.to(device)
        self.named = dict(self.named_parameters(prefix="cameras"))
        moving = {name: p for name, p in self.named.items() if name in ("cameras.motion", "cameras.intrinsics")}
        light = {name: p for name, p in self.named.items() if name not in moving}
        kinds = (Adam if anchored else CautiousAdam, moving), (Adam, light)
        self.optimizers = [kind(parameters.items(), backend) for kind, parameters in kinds if parameters]
        self.are_right: bool | None = None  # until it is decided

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
        return Rays(rotated[:, :, 0] + pose[:, :, 3], rotated[:, :, 1], rays.z_scale, rays.spread)

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

    def in_field(self, colour: Tensor, rays: Rays, image: Tensor) -> Tensor:
        """Colours [R, 3] of pictures [R] in the mean appearance; differentiable."""
        return colour if self.appearance is None else self.appearance.in_field(colour, rays.z_scale, image)

    def codes(self) -> Tensor | None:
        """[N, K]: of all pictures' appearances, where the field sees them; differentiable."""
        return None if self.coding is None else self.coding.codes()

    @torch.no_grad()
    def as_photographed(self, picture: Tensor, background: Tensor, transparent: Tensor, number: int) -> Tensor:
        """A picture [H, W, 3] of the field as photograph ``number`` shows it. The share ``transparent`` [H, W] of its
        pixels is the background [3], which is that of photographs and takes no part in their light."""
        if self.appearance is None:
            return picture
        camera = self.frames[number].camera
        z_scale = -camera.unproject(camera.pixel_centres())[1][:, 2]
        colour, background, transparent, z_scale = (
            given.to(self.centre) for given in (picture.flatten(0, 1), background, transparent.reshape(-1, 1), z_scale)
        )
        image = torch.full((len(z_scale),), number, device=colour.device)
        behind = self.appearance.in_field(background.expand_as(colour), z_scale, image)
        shown = self.appearance.in_photograph(colour + transparent * (behind - background), z_scale, image)
        return shown.view_as(picture).to(picture)

    def penalty(self) -> Tensor:
        """What keeps corrections small, beside the photometric loss."""
        corrections = [] if self.motion is None else [self.corrections()]
        others = [parameter for parameter in self.parameters() if parameter is not self.motion]
        return PRIOR * sum(value.square().mean() for value in corrections + others)

    def begin_step(self, fraction: float, step: int) -> float | None:
        """Sets what differs from step to step, after a share of the budget. Returns the share of its scales, in
        eighths, at which the field should learn; None once cameras stand still."""
        if self.are_right is None and fraction >= DECIDE_AT:
            self.are_right = all(isinstance(o, CautiousAdam) and o.evidence() < WRONG for o in self.optimizers)
        if self.are_right or fraction >= REFINE_UNTIL:
            return None
        rate = cosine_decay(fraction / REFINE_UNTIL, step, FIRST_RATE, LAST_RATE)
        for optimizer in self.optimizers:
            waits = isinstance(optimizer, CautiousAdam) and fraction < START_AT
            optimizer.begin_step(0.0 if waits else rate)
        return 1.0 if self.motion is None else min(math.floor(8 * fraction / DETAIL_AT) / 8, 1.0)

    def step(self, corrected: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        """Moves the cameras by what the loss says of corrected values, by name, whose gradients are taken out of
        ``gradients``."""
        names = [name for name in corrected if name in gradients]
        values, along = [corrected[name] for name in names], [gradients.pop(name) for name in names]
        own = torch.autograd.grad([*values, self.penalty()], self.named.values(), [*along, None])
        own = dict(zip(self.named, own, strict=True))
        for optimizer in self.optimizers:
            optimizer.step({name: own[name] for name in optimizer.parameters})

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
        exposures = [1.0] * len(given) if self.appearance is None else self.appearance.gains().mean(1).tolist()
        columns = [frame.name for frame in given], turns, shifts, focals, exposures
        return [dict(zip(CHANGES, row, strict=True)) for row in zip(*columns, strict=True)]

    def state(self) -> dict[str, Tensor]:
        return dict(self.named) | {name: t for optimizer in self.optimizers for name, t in optimizer.state().items()}

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor], step_count: int) -> None:
        for name, parameter in self.named.items():
            parameter.copy_(tensors[name])
        for optimizer in self.optimizers:
            optimizer.load_state(tensors, step_count)

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
