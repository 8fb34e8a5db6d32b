"""Poses and the box: from where a capture was taken, and how much of what it shows lies inside."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nerfcore.cameras import rotation_angle, to_opencv_axes
from nerfcore.checkup.agreement import View
from nerfcore.checkup.finding import Finding, count, names
from nerfcore.checkup.photographs import Photo
from nerfcore.data.bounds import focus_of
from nerfcore.data.capture import Capture
from nerfcore.data.scene import Box

GAP = 60.0  # degrees of a ring without a camera
LEVEL = 60.0  # degrees above or below the ring within which a camera counts
SAME_PLACE = 1e-4  # of the distance to the scene
SAME_TURN = 1e-3  # radians
NO_PARALLAX = 5e-3  # spread of the cameras over the distance to the scene
ON_A_LINE = 0.02  # second over first extent of the cameras
HARDLY_INSIDE, PARTLY_INSIDE = 0.5, 0.8  # shares of what the photos show
HARDLY_FILLED = 0.15  # of the box's side, by cameras and what they show
PAST_THE_BOX = 0.1  # share of a photo's rays that meet the box

# What transform_matrix may hold instead of camera-to-world in our axes, and how to come back from it.
CONVENTIONS = {
    "OpenCV's axes (y down, looks along +z)": to_opencv_axes,
    "world-to-camera": lambda poses: _inverse(poses),
    "world-to-camera in OpenCV's axes": lambda poses: to_opencv_axes(_inverse(poses)),
}


def _inverse(poses: Tensor) -> Tensor:
    rotation = poses[..., :3].mT
    return torch.cat([rotation, -rotation @ poses[..., 3:]], dim=-1)


def distances(poses: Tensor, capture: Capture, photos: list[Photo]) -> Tensor:
    """[N]: how far away lies what each camera shows, from what is known: depths, points, or what all look at."""
    bounds = [photo.entry.near_far for photo in photos]
    if all(bounds):
        return torch.tensor([2 / (1 / near + 1 / far) for near, far in bounds], dtype=torch.float64)
    centre, forward = poses[:, :, 3], -poses[:, :, 2]
    if capture.points is not None and len(capture.points.xyz):
        few = torch.from_numpy(capture.points.xyz[:: 1 + len(capture.points.xyz) // 2000])
        depth = ((few - centre[:, None]) * forward[:, None]).sum(-1)
        found = depth.where(depth > 0, torch.nan).nanmedian(1).values
        if found.isfinite().all():
            return found
    focus = focus_of(poses)
    if focus is not None:
        return (centre - torch.from_numpy(focus)).norm(dim=1)
    apart = torch.cdist(centre, centre).fill_diagonal_(math.inf).amin(1)
    return torch.full((len(poses),), max(10 * float(apart.median()), 1e-6), dtype=torch.float64)


def pose_findings(photos: list[Photo], poses: Tensor, distance: Tensor) -> list[Finding]:
    """Poses that are there twice, and too little movement between them."""
    if len(photos) < 2:
        return []
    findings, centre, usual = [], poses[:, :, 3], float(distance.median())
    near = torch.cdist(centre, centre, compute_mode="donot_use_mm_for_euclid_dist") < SAME_PLACE * usual
    pairs = torch.nonzero(near.triu(1))
    twins = pairs[rotation_angle(*poses[pairs.T, :, :3]) < SAME_TURN].tolist()
    if twins:
        text = "; ".join(f"{photos[i].name} = {photos[j].name}" for i, j in twins[:6])
        findings.append(Finding(
            "duplicate poses", "warning", f"{count(len(twins), 'pair')} of photos with one and the same pose: {text}",
            "either they are copies, or one of the poses was copied by mistake",
            "remove the copies, or estimate the poses again with COLMAP",
            tuple(photos[k].name for k in sorted({k for pair in twins for k in pair})),
        ))
    extent = torch.linalg.svdvals(centre - centre.mean(0)) / len(photos) ** 0.5
    if extent[0] < NO_PARALLAX * usual:
        findings.append(Finding(
            "no parallax", "severe",
            f"all cameras stand within {float(extent[0]):.3g} of one place, {float(extent[0]) / usual:.2%} of the "
            "distance of what they show",
            "a camera that only turns tells nothing about depth",
            "walk while taking photos, at least a step between two",
        ))
    elif len(photos) > 2 and extent[1] < ON_A_LINE * extent[0]:
        findings.append(Finding(
            "on a line", "note", f"all {len(photos)} cameras stand on one line",
            "what is hidden from the line is not seen, and a mesh is open behind",
            "take more photos from above and from below",
        ))
    return findings


def directions(poses: Tensor) -> tuple[np.ndarray, np.ndarray] | None:
    """Azimuth [N] and elevation [N], radians, of the cameras about the point that they look at, upright by their mean
    up; None where they do not look at one."""
    focus = focus_of(poses)
    if focus is None:
        return None
    up = normalize(poses[:, :, 1].mean(0), dim=0)
    arm = normalize(poses[:, :, 3] - torch.from_numpy(focus), dim=1)
    first = normalize(arm[0] - (arm[0] @ up) * up, dim=0)
    second = torch.linalg.cross(up, first)
    return torch.atan2(arm @ second, arm @ first).numpy(), torch.asin((arm @ up).clamp(-1, 1)).numpy()


def gaps(azimuth: np.ndarray, elevation: np.ndarray) -> list[tuple[float, float]]:
    """Where a ring has no camera over more than GAP degrees: starts and widths, radians."""
    ring = np.sort(azimuth[np.abs(elevation) < math.radians(LEVEL)])
    if len(ring) < 2:
        return []
    widths = np.diff(np.append(ring, ring[0] + 2 * math.pi))
    return [(float(a), float(w)) for a, w in zip(ring, widths, strict=True) if w > math.radians(GAP)]


def coverage_findings(poses: Tensor) -> list[Finding]:
    around = directions(poses)
    open_to = gaps(*around) if around else []
    if not open_to:
        return []
    seen = 360 - sum(math.degrees(width) for _, width in open_to)
    return [Finding(
        "coverage", "note",
        f"the middle is seen from {seen:.0f}° of a ring; {count(len(open_to), 'gap')} of "
        + ", ".join(f"{math.degrees(width):.0f}°" for _, width in open_to),
        "from a side without photos a render is a guess, and a mesh has no surface there",
        "take photos every 10 to 20 degrees there, or render only from where there are photos",
    )]


def box_shares(views: list[View], box: Box) -> np.ndarray:
    """[N]: the share of each photo's rays that meet the box, of pixels that count."""
    low, high = box.transform.world_box.double()
    shares = []
    for view in views:
        pixel = torch.nonzero(view.counts[::8, ::8]).flip(1) * 8 + 0.5
        pixel = pixel[view.camera.covers(pixel)].double()
        if not len(pixel):
            shares.append(math.nan)
            continue
        _, direction = view.camera.unproject(pixel)
        direction = direction @ view.pose[:, :3].T
        direction = direction.where(direction.abs() > 1e-12, 1e-12)
        ends = torch.stack([low - view.pose[:, 3], high - view.pose[:, 3]])[:, None] / direction
        enter, leave = ends.amin(0).amax(1), ends.amax(0).amin(1)
        shares.append(float(((leave > enter) & (leave > 0)).double().mean()))
    return np.array(shares)


def box_findings(
    photos: list[Photo], poses: Tensor, box: Box, shares: np.ndarray, points: np.ndarray, stated: str
) -> list[Finding]:
    """What the box leaves out, or how little of it is used. points [N, 3]: what the photos show. stated: who gave the
    box."""
    low, high = box.transform.world_box.double().numpy()
    side = float((high - low).max())
    fix = f"leave out {stated}, so that one follows from the capture; --apply writes it"
    findings = []
    if len(points) >= 50:
        inside = float(((points > low) & (points < high)).all(1).mean())
        shown = np.quantile(points, [0.02, 0.98], axis=0)
        used = np.ptp(np.concatenate([shown, poses[:, :, 3].numpy()]), axis=0).max()
        if inside < PARTLY_INSIDE:
            findings.append(Finding(
                "box too small", "severe" if inside < HARDLY_INSIDE else "warning",
                f"only {inside:.0%} of what the photos show lies in the box of side {side:.4g}, which "
                f"{np.nanmean(shares):.0%} of all rays meet; what they show is {np.ptp(shown, axis=0).max():.4g} wide",
                "what lies outside is painted onto fog inside the box",
                f"{fix}; or train with --bounds contracted", (), True,
            ))
        elif used < HARDLY_FILLED * side:
            findings.append(Finding(
                "box too big", "warning",
                f"cameras and what they show are {used:.4g} wide and the box {side:.4g}, of which that is "
                f"{(used / side) ** 3:.2%}",
                "the field's detail is spread over empty space", fix, (), True,
            ))
    focus = focus_of(poses)
    if focus is not None and not ((focus > low) & (focus < high)).all():
        findings.append(Finding(
            "look-at outside the box", "severe",
            "the cameras look at ({:.3g}, {:.3g}, {:.3g}), which is outside the box ".format(*focus)
            + "from ({:.3g}, {:.3g}, {:.3g}) to ({:.3g}, {:.3g}, {:.3g})".format(*low, *high),
            "the middle of every photo is then missing", fix, (), True,
        ))
    past = [photos[i].name for i in np.flatnonzero(shares < PAST_THE_BOX)]
    if past and np.nanmedian(shares) > 0.5:
        findings.append(Finding(
            "looks past the box", "warning",
            f"{count(len(past), 'photo')} with less than {PAST_THE_BOX:.0%} of their rays in the box: {names(past)}",
            "they teach nothing, or fog", "enlarge the box, or remove them if they show something else", tuple(past),
        ))
    return findings
