"""Whether photographs agree with the cameras that they are said to have: what one shows, others must show too.

Small patches of a photo are placed at many distances along their rays and looked up in the photos of neighbouring
cameras (a plane sweep: Collins 1996). At the right distance several neighbours show the same patch, if their poses are
right. How much of that is chance, the patches tell when they are compared with what lies along each other's rays.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from nerfcore.cameras.intrinsics import Camera

NEIGHBOURS = 6
PATCH = 7  # pixels of its side
PATCHES = 128  # of a photo, one in each cell of a grid
DEPTHS = 64
FLAT = 0.02  # standard deviation of grey values below which a patch tells nothing
MIN_PATCHES = 8
MOSTLY, WHOLE = 0.6, 0.99  # share of a patch that must count; all of it where a lens has no rays for the rest
DARK = 0.02  # colours below tell no ratio
BASELINE_PENALTY = 25.0  # degrees between rays to the same point at which photos hardly look alike


class View(NamedTuple):
    """A small photo. rgb [H, W, 3] in [0, 1]; counts bool [H, W]: pixels that are photographed, not cut out or
    masked; camera: of that size; pose [3, 4] float64."""

    rgb: Tensor
    counts: Tensor
    camera: Camera
    pose: Tensor

    @property
    def grey(self) -> Tensor:
        return self.rgb.mean(-1)


class Explained(NamedTuple):
    """How well neighbours explain the patches of a photo.

    score: mean correlation [-1, 1] at each patch's best distance; chance: the same of patches that have nothing to do
    with their rays. points [P, 3]: where the patches lie in the world, with correlation [P] and colour rgb [P, 3].
    among [J]: the photos that were asked, each [J, P]: their correlations there, log_ratio [J, P, 3]: logarithms of
    their colours over this photo's.
    """

    score: float
    chance: float
    points: Tensor
    correlation: Tensor
    rgb: Tensor
    among: list[int]
    each: Tensor
    log_ratio: Tensor

    @property
    def agreement(self) -> float:
        """0 for chance, 1 for a perfect match."""
        return (self.score - self.chance) / (1 - self.chance)


def neighbours(views: list[View], distance: Tensor) -> list[list[int]]:
    """For each view those that should show the same, best first. distance [N]: how far away lies what each shows."""
    poses = torch.stack([view.pose for view in views])
    centre, forward = poses[:, :, 3], -poses[:, :, 2]
    grid = torch.cartesian_prod(*[torch.linspace(0.1, 0.9, 5, dtype=torch.float64)] * 2)
    found = []
    for i, view in enumerate(views):
        pixel = grid * torch.tensor([view.camera.width, view.camera.height])
        pixel = pixel[view.camera.covers(pixel)]
        _, direction = view.camera.unproject(pixel)
        away = torch.tensor([0.7, 1.0, 2.0], dtype=torch.float64)[:, None, None] * distance[i]
        points = (away * (direction @ view.pose[:, :3].T) + centre[i]).reshape(-1, 3)
        near = torch.argsort((centre - centre[i]).norm(dim=1) + distance[i] * (forward - forward[i]).norm(dim=1))
        shares = {}
        for j in near[: 4 * NEIGHBOURS + 1].tolist():
            if j == i:
                continue
            other = views[j]
            pixel, visible = other.camera.project((points - centre[j]) @ poses[j, :, :3])
            size = torch.tensor([other.camera.width, other.camera.height])
            inside = visible & ((pixel > 0) & (pixel < size)).all(1)
            to_i, to_j = (torch.nn.functional.normalize(points - centre[k], dim=1) for k in (i, j))
            angle = torch.rad2deg(torch.acos((to_i * to_j).sum(1).clamp(-1, 1)))
            shares[j] = float((inside * torch.exp(-((angle / BASELINE_PENALTY) ** 2))).mean())
        ranked = sorted(shares, key=lambda j: -shares[j])
        found.append([j for j in ranked if shares[j] > 0.1][:NEIGHBOURS])
    return found


def textured(view: View) -> Tensor:
    """[P, 2] pixel positions, whole numbers: the strongest corner of each cell of a grid."""
    grey = view.grey
    height, width = grey.shape
    dx, dy = torch.gradient(grey, dim=1)[0], torch.gradient(grey, dim=0)[0]
    mean = torch.nn.AvgPool2d(PATCH, 1, PATCH // 2)
    xx, yy, xy = (mean(v[None, None])[0, 0] for v in (dx * dx, dy * dy, dx * dy))
    corner = 0.5 * (xx + yy) - (0.25 * (xx - yy) ** 2 + xy**2).sqrt()
    whole = mean(view.counts.float()[None, None])[0, 0] > (WHOLE if view.camera.lens.is_wide else MOSTLY)
    corner = corner.where(whole, 0.0)
    edge = PATCH // 2 + 1
    corner[:edge], corner[-edge:], corner[:, :edge], corner[:, -edge:] = 0, 0, 0, 0
    side = max(PATCH - 1, int((height * width / PATCHES / 1.5) ** 0.5))
    rows, columns = height // side, width // side
    cells = corner[: rows * side, : columns * side].reshape(rows, side, columns, side)
    cells = cells.permute(0, 2, 1, 3).reshape(rows * columns, side * side)
    best, at = cells.max(1)
    cell = torch.arange(rows * columns)
    position = torch.stack([(cell % columns) * side + at % side, (cell // columns) * side + at // side], 1)
    order = torch.argsort(best, descending=True)
    order = order[best[order] > 1e-6][:PATCHES]
    return position[order]


def explain(views: list[View], i: int, among: list[int], nearest: float) -> Explained | None:
    """How the photos ``among`` explain photo i, whose things are no nearer than ``nearest``; None without patches or
    photos."""
    view = views[i]
    position = textured(view)
    if len(position) < MIN_PATCHES or not among:
        return None
    offset = torch.cartesian_prod(*[torch.arange(PATCH) - PATCH // 2] * 2).flip(1)
    at = position[:, None] + offset
    template = standardised(view.grey[at[..., 1], at[..., 0]])[0]
    other = template.roll(len(template) // 2, 0)
    _, direction = view.camera.unproject((at + 0.5).reshape(-1, 2).double())
    direction = direction.reshape(*at.shape[:2], 3).float()
    inverse = torch.linspace(0, 1 / nearest, DEPTHS)
    true, chance = [], []
    for j in among:
        window = look_up(views[j], views[j].grey[..., None], view.pose, direction, inverse)
        window, usable = standardised(window[..., 0])
        for patch, found in ((template, true), (other, chance)):
            found.append(torch.einsum("kpa,pa->kp", window, patch).where(usable, -1.0))
    true, chance = torch.stack(true), torch.stack(chance)
    agreeing = (len(among) + 1) // 2  # the better half: a patch may be hidden in others, or their poses be wrong
    correlation, depth = true.topk(agreeing, 0).values.mean(0).max(0)
    by_chance = chance.topk(agreeing, 0).values.mean(0).amax(0)
    # each patch at its own distance: the direction, lengthened
    placed = direction / inverse[depth].clamp(min=1e-3 / nearest)[:, None, None]
    mine = view.rgb[at[..., 1], at[..., 0]].mean(1)
    theirs = torch.stack([look_up(views[j], views[j].rgb, view.pose, placed, torch.ones(1))[0].mean(1) for j in among])
    points = placed[:, PATCH * PATCH // 2].double() @ view.pose[:, :3].T + view.pose[:, 3]
    return Explained(
        float(correlation.mean()), float(by_chance.mean()), points, correlation, mine, list(among),
        true[:, depth, torch.arange(len(position))], (theirs.clamp(min=DARK) / mine.clamp(min=DARK)).log(),
    )


def look_up(view: View, picture: Tensor, pose: Tensor, direction: Tensor, inverse: Tensor) -> Tensor:
    """Values [K, P, A, C] in a picture [H, W, C] of the view, of what lies in directions [P, A, 3] from the camera at
    ``pose`` at inverse distances [K]; NaN outside."""
    turn = (view.pose[:, :3].T @ pose[:, :3]).float()
    shift = (view.pose[:, :3].T @ (pose[:, 3] - view.pose[:, 3])).float()
    points = direction @ turn.T + inverse[:, None, None, None] * shift
    pixel, visible = view.camera.project(points.reshape(-1, 3))
    size = torch.tensor([view.camera.width, view.camera.height])
    inside = visible & ((pixel > 0) & (pixel < size)).all(1)
    grid = (2 * pixel / size - 1).reshape(1, -1, direction.shape[1], 2)
    values = grid_sample(picture.movedim(-1, 0)[None], grid, padding_mode="border", align_corners=False)[0]
    values = values.where(inside.reshape(grid.shape[1:3]), torch.nan).movedim(0, -1)
    return values.reshape(*points.shape[:3], picture.shape[2])


def standardised(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Patches [..., A] with mean 0 and length 1, and which of them [...] have texture and lie inside."""
    patches = patches - patches.mean(-1, keepdim=True)
    length = patches.norm(dim=-1)
    usable = length > FLAT * patches.shape[-1] ** 0.5
    return (patches / length.clamp(min=1e-9)[..., None]).where(usable[..., None], 0.0), usable
