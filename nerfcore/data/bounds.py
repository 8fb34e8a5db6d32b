"""Where a scene lies: the box that its files state, or one that follows from cameras, sparse points and depths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nerfcore.cameras.trajectories import face_one_way, looked_at
from nerfcore.data.capture import Capture, Entry, SparsePoints
from nerfcore.data.images import image_size
from nerfcore.data.scene import MAX_CASCADES, Box, SceneTransform
from nerfcore.data.values import LARGEST, number, positive
from nerfcore.errors import SceneError

INSTANT_NGP_KEYS = "aabb_scale", "scale", "offset", "aabb"
MAX_AABB_SCALE = 128
MARGIN = 1.05
MIN_POINTS = 50  # fewer say nothing about where a scene ends
OUTLIERS = 0.01  # share of the points, at either end of each axis, that the box need not hold
FARTHEST = 16.0  # times the usual distance of what cameras see: beyond, a box is too coarse for what is near
SAME_STEP = 0.5  # of a picture's marching step, a 256th of the distance, at what is nearest: see `_cascades`


def instant_ngp_box(table: dict, file: Path) -> Box:
    """The whole-scene box and its number of cascades, by the convention of instant-ngp in the user's axes.

    There ``x_ngp = scale * x_world + offset``, and the scene fills the cube of side ``aabb_scale`` about 0.5; ``aabb``
    states scale and offset as a box of the world that fills [0, 1] along its longest side.
    """
    where = str(file)
    scale, side = positive(table, "scale", 0.33, where), number(table, "aabb_scale", 1, where)
    if side not in [2**i for i in range(MAX_AABB_SCALE.bit_length())]:
        raise SceneError(f"{where}: aabb_scale is {side:g}; write a power of two from 1 to {MAX_AABB_SCALE} there")
    offset = _numbers(table, "offset", table.get("offset", 0.5), where)
    if "aabb" in table:
        corners = table["aabb"]
        if not isinstance(corners, list) or len(corners) != 2:
            raise SceneError(f"{where}: aabb is {corners!r:.40}; write two corners of three numbers there")
        low, high = (_numbers(table, "aabb", corner, where) for corner in corners)
        scale = 1 / max(1e-6, *(abs(b - a) for a, b in zip(low, high, strict=True)))
        offset = [0.5 - 0.5 * (a + b) * scale for a, b in zip(low, high, strict=True)]
    translation = tuple((value - 0.5) / side + 0.5 for value in offset)
    return Box(SceneTransform(scale / side, translation), 1 + int(math.log2(side)))


def _numbers(table: dict, key: str, values: object, where: str) -> list[float]:
    """Three of them; one alone stands for all."""
    if isinstance(values, (int, float)):
        values = [values] * 3
    if not isinstance(values, list) or len(values) != 3:
        raise SceneError(f"{where}: {key} is {values!r:.40}; write three numbers there")
    return [number({key: value}, key, None, where) for value in values]


def as_instant_ngp(box: Box) -> dict:
    """The settings of a transforms file that say the same as a box; the inverse of :func:`instant_ngp_box`."""
    side = 2 ** (box.cascades - 1)
    offset = [(value - 0.5) * side + 0.5 for value in box.transform.translation]
    return dict(aabb_scale=side, scale=box.transform.scale * side, offset=offset)


def cube(middle: np.ndarray, half: float, cascades: int) -> Box:
    """The box of half that side about a world point [3]; of half a side of 1 where cameras and points are all one."""
    scale = 1 / (2 * float(half)) if half > 1 / LARGEST else 0.5
    return Box(SceneTransform(scale, tuple(0.5 - scale * value for value in middle.tolist())), cascades)


def find_box(capture: Capture, corners: Sequence[float] | None = None) -> Box:
    """The box of a capture: what it says, else what its cameras show; the given corners overrule both."""
    return (capture.box or choose_box(capture.entries, capture.points)).within(corners)


def choose_box(entries: list[Entry], points: SparsePoints | None) -> Box:
    """A box for cameras that no file gives one for: it holds them and what they see.

    What they see are the sparse points but outliers; or their pictures between the depths ``near_far``; or, where
    neither is known, as much behind the point they look at as before it. Cameras around a scene put the middle of the
    box, where it is finest, at the point they look at.
    """
    poses = torch.stack([entry.pose for entry in entries])
    centres = poses[:, :, 3].numpy()
    focus, seen = focus_of(poses), _seen(entries, points)
    if seen is None:
        middle = centres.mean(0) if focus is None else focus
        arm = np.linalg.norm(centres - middle, axis=1).max()
        half = 1.2 * arm if focus is not None else 10 * arm
        return cube(middle, half, 3 if focus is not None else MAX_CASCADES)
    usual = np.median(np.abs(seen - np.median(centres, axis=0)).max(1))
    lowest, highest = np.quantile(seen, [OUTLIERS, 1 - OUTLIERS], axis=0)
    lowest, highest = np.minimum(lowest, centres.min(0)), np.maximum(highest, centres.max(0))
    middle = 0.5 * (lowest + highest) if focus is None else focus
    half = MARGIN * max((highest - middle).max(), (middle - lowest).max())
    half = min(half, max(FARTHEST * usual, np.abs(centres - middle).max() * MARGIN))
    nearest = nearest_seen(entries, points)
    return cube(middle, half, _cascades(half, float(np.median(nearest)) if len(nearest) else 0.0))


def focus_of(poses: Tensor) -> np.ndarray | None:
    """The point [3] that cameras stand around and look at; None where they look the same way, or outward."""
    if face_one_way(poses):
        return None
    focus = looked_at(poses)
    in_front = ((focus - poses[:, :, 3]) * -poses[:, :, 2]).sum(1) > 0
    return focus.numpy() if in_front.double().mean() > 0.75 else None


def nearest_seen(entries: list[Entry], points: SparsePoints | None) -> np.ndarray:
    """[M]: the distances of what is nearest to each of (at most 500) cameras, by points or depths as in `choose_box`;
    none where neither is known."""
    if points is None or len(points.xyz) < MIN_POINTS:
        return np.array([entry.near_far[0] for entry in entries if entry.near_far])
    few = torch.from_numpy(points.xyz[:: 1 + len(points.xyz) // 2000])
    some = torch.stack([entry.pose for entry in entries[:: 1 + len(entries) // 500]])
    depth = -((few - some[:, None, :, 3]) * some[:, None, :, 2]).sum(-1)
    near = depth.masked_fill(depth <= 0, math.inf).quantile(0.05, dim=1)
    return near[near.isfinite()].numpy()


def _seen(entries: list[Entry], points: SparsePoints | None) -> np.ndarray | None:
    """Points [N, 3] of what cameras see."""
    if points is not None and len(points.xyz) >= MIN_POINTS:
        return points.xyz
    bounded = [entry for entry in entries if entry.near_far]
    corners = []
    for entry in bounded:
        camera = entry.camera(*image_size(entry.path))
        pixel = torch.tensor([[x, y] for x in (0.0, camera.width) for y in (0.0, camera.height)], dtype=torch.float64)
        _, direction = camera.unproject(pixel)
        direction = direction / -direction[:, 2:]
        corners += [(depth * direction) @ entry.pose[:, :3].T + entry.pose[:, 3] for depth in entry.near_far]
    return torch.cat(corners).numpy() if corners else None


def _cascades(half: float, nearest: float) -> int:
    """So many that the shortest marching step, of the smallest cascade, suits what is nearest to the cameras."""
    if nearest < 1 / LARGEST:
        return MAX_CASCADES
    wanted = SAME_STEP * 3**0.5 * half / nearest
    return min(max(1 + round(math.log2(max(wanted, 1.0))), 1), MAX_CASCADES)
