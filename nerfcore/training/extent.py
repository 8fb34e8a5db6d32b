"""Where a scene ends: at its box, or nowhere, with space contracted about a core."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nerfcore.data.bounds import MIN_POINTS, focus_of
from nerfcore.data.parallax import share_beyond
from nerfcore.data.scene import Scene
from nerfcore.errors import NerfcoreError

NEAR = 0.05  # sides of the core, where nothing is known of what is nearest to the cameras
NEAR_SHARE = 0.5  # of the distance of what is nearest
IN_ONE_PLACE = 1e-3  # of the smallest cascade: cameras less far apart say nothing about the size of things
AROUND, FEW = 1.2, 0.05  # more than a few places beyond a cube so many times as large as the core are a background


@dataclass(frozen=True)
class Core:
    """The cube that contraction leaves as it is, in box coordinates, and where the samples of rays begin, in sides of
    it."""

    middle: tuple[float, float, float]
    side: float
    near: float


def core_of(scene: Scene) -> Core:
    """The cube about the middle of the box that holds the cameras, where they stand around something.

    Where they look the same way, or outward, it is the cube about them that ends at what is nearest to them: beyond its
    faces a cell is as wide as so many pixels, however far away, as in normalised device coordinates (Mildenhall et al.
    2020, appendix C).
    """
    centres, nearest = scene.transform.to_box(scene.camera_centres().double()), None
    if scene.nearest is not None:
        nearest = scene.nearest * scene.transform.scale
    looks_in = focus_of(scene.train.poses) is not None
    middle = torch.full((3,), 0.5, dtype=torch.float64) if looks_in else centres.mean(0)
    side, smallest = 2 * (centres - middle).abs().max().item(), 0.5 ** (scene.cascades - 1)
    if side < IN_ONE_PLACE * smallest:
        side = smallest
    if nearest is not None and not looks_in:
        side = max(side, 2 * nearest)
    near = NEAR if nearest is None else min(NEAR_SHARE * nearest / side, NEAR_SHARE)
    return Core(tuple(middle.tolist()), side, near)


def finest_resolution(scene: Scene, core: Core | None = None) -> int:
    """Cells of the finest hash level along the box, or along the contracted space about a core: about one per pixel
    footprint at the middle of what cameras look at, or where what they see begins, which a study of CPU budgets found
    better than the fixed 2048."""
    side = 1.0 if core is None else 2 * core.side
    middle = scene.transform.to_world(torch.tensor((0.5, 0.5, 0.5) if core is None else core.middle))
    distance = (scene.camera_centres() - middle).norm(dim=-1)
    if core is not None:
        distance = distance.clamp(min=0.5 * core.side / scene.transform.scale)
    footprints = [f.camera.footprint(d) for f, d in zip(scene.train.frames, distance, strict=True)]
    return int(min(max(side / scene.transform.scale / torch.stack(footprints).median(), 128), 4096))


def is_contracted(scene: Scene, bounds: str) -> bool:
    """Whether space outside the core is contracted: where ``bounds`` says so, or is "auto" and photographs without
    alpha show what no box holds well: some were taken from outside of it, or they look the same way or outward, or more
    than a few of the sparse points (without these: of the places that parallax tells) lie far behind the cameras."""
    if scene.has_alpha and bounds == "contracted":
        raise NerfcoreError("photographs with alpha show nothing but what is in the box; train them with bounds box")
    if scene.has_alpha or bounds != "auto":
        return bounds == "contracted"
    inside = scene.transform.to_box(scene.camera_centres()).sub(0.5).abs().max() <= 0.5
    if not inside or focus_of(scene.train.poses) is None:
        return True
    core = core_of(scene)
    corners = torch.tensor([[-0.5], [0.5]]) * AROUND * core.side + torch.tensor(core.middle)
    low, high = scene.transform.to_world(corners)
    if scene.points is not None and len(scene.points) >= MIN_POINTS:
        beyond = ((scene.points < low) | (scene.points > high)).any(-1).float().mean().item()
    else:
        beyond = share_beyond(scene, low, high)
    return beyond is not None and beyond > FEW
