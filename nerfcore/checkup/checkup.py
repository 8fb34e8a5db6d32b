"""The checkup of a capture: what is wrong with its files, photographs, poses and box, and how to put it right."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nerfcore.checkup.agreement import Explained, View, explain, neighbours
from nerfcore.checkup.finding import SEVERITIES, Finding, count, names
from nerfcore.checkup.geometry import (
    CONVENTIONS,
    box_findings,
    box_shares,
    coverage_findings,
    distances,
    pose_findings,
)
from nerfcore.checkup.photographs import Photo, blurred, copies, exposures, read_photos
from nerfcore.data import builtin_scene_path
from nerfcore.data.bounds import choose_box, find_box
from nerfcore.data.capture import HOLD_OUT_RULE, Capture, Entry, SparsePoints, hold_out
from nerfcore.data.convert import require_empty, write_capture
from nerfcore.data.formats import read_capture
from nerfcore.data.scene import Box
from nerfcore.errors import SceneError

CLOSEST = 0.3  # of the distance of what a photo shows: nothing is nearer
OUTLIER = 0.3  # of the usual agreement, below which a photo does not belong to its pose
CHANCE = 0.12  # agreement of photos and poses that have nothing to do with each other, at most
CERTAIN = 0.8  # correlation of patches whose place is known
BOX_KINDS = {"box too small", "box too big", "look-at outside the box"}
MOST_SWAPPED = 8  # outliers among which photos with each other's poses are looked for
TRIED = 12  # photos by which conventions are told apart

Teller = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Checkup:
    """What :func:`check` found.

    findings: the worst first. photos: those that can be read, by name; every array is in their order. poses
    [N, 3, 4] float64: with the axes put right. agreement [N]: how well others explain a photo by the poses, 0 chance,
    1 perfect, NaN where no other overlaps. box_shares [N]: of rays that meet the box. gains [N, 3]: logarithms of
    colours over those of others. points [P, 3] and colours [P, 3] in [0, 1]: what the photos show. outliers,
    copies, blurred: indices of photos.
    """

    capture: Capture
    findings: list[Finding]
    photos: list[Photo]
    poses: Tensor
    box: Box
    agreement: np.ndarray
    box_shares: np.ndarray
    gains: np.ndarray
    points: np.ndarray
    colours: np.ndarray
    outliers: list[int]
    copies: list[int]
    blurred: list[int]

    @property
    def severe(self) -> bool:
        """Whether something has to be put right before training."""
        return any(finding.severity == "severe" for finding in self.findings)

    @cached_property
    def findings_of(self) -> dict[str, list[Finding]]:
        """By the name of each photo that has some."""
        table: dict[str, list[Finding]] = {}
        for finding in self.findings:
            for name in finding.photos:
                table.setdefault(name, []).append(finding)
        return table

    def apply(
        self, out: str | Path, drop_blurred: bool = False, on_photo: Callable[[int, int], None] | None = None
    ) -> Capture:
        """Writes the capture with everything put right that can be, as ``nerfcore convert`` does, into the folder
        ``out``, which must be empty or new, and returns it; the capture itself is not touched.

        Left out are listed photos that do not exist, frames that are broken, unreadable photos, copies, and photos
        that others cannot explain; with drop_blurred also the blurred. Axes, intrinsics and the box are put right.
        Raises OutputError, and SceneError where fewer than two photos are left.
        """
        require_empty(Path(out))
        gone = {*self.outliers, *self.copies, *(self.blurred if drop_blurred else [])}
        kept = [i for i in range(len(self.photos)) if i not in gone]
        capture = _usable(self.capture, [self.photos[i] for i in kept], self.poses[kept])
        if {finding.kind for finding in self.findings} & BOX_KINDS:
            found = SparsePoints(self.points, np.rint(255 * self.colours).astype(np.uint8))
            box = choose_box(capture.entries, capture.points or found)
        else:
            box = self.box
        capture = dataclasses.replace(capture, box=box)
        write_capture(capture, Path(out), "nerfstudio", on_photo)
        return capture


def check(
    path: str | Path | None = None, box: Sequence[float] | None = None, on_progress: Teller | None = None
) -> Checkup:
    """Looks a capture over before it is trained on; docs/check.md says what each finding means.

    path: as :func:`nerfcore.load_scene` takes it. box: lower corner, then upper one, world units, instead of the
    capture's own. on_progress(stage, done, total) is called as it goes. Raises SceneError where there is nothing to
    look at: no capture, or a file of it as a whole that cannot be read.
    """
    tell = on_progress or (lambda stage, done, total: None)
    capture = read_capture(builtin_scene_path() if path is None else Path(path))
    photos, findings = read_photos(capture, lambda done, total: tell("photos", done, total))
    if not photos:
        raise SceneError(f"{capture.source}: none of its {len(capture.entries)} photos can be used; {findings[0].what}")
    findings += _unlisted(capture)
    poses, every = torch.stack([photo.entry.pose for photo in photos]), range(len(photos))
    explained, among = _explained(capture, photos, poses, every, tell)
    for mend in (_axes, _swapped):
        poses, found = mend(capture, photos, poses, _agreements(explained))
        if found:
            findings += found
            explained, among = _explained(capture, photos, poses, every, tell)
    agreement = _agreements(explained)
    outliers, odd = _outliers(photos, agreement, among)
    same, extra = copies(photos, agreement)
    dull, blurry = blurred(photos, among)
    uneven, gains = exposures(photos, explained)
    points, colours = _shown(capture, [found for i, found in enumerate(explained) if found and i not in outliers])
    chosen = find_box(_usable(capture, photos, poses), box)
    shares = box_shares(_views(photos, poses), chosen)
    stated = "--box" if box is not None else f"the box in {capture.source.name}"
    findings += [
        *odd, *same, *dull, *uneven, *pose_findings(photos, poses, distances(poses, capture, photos)),
        *coverage_findings(poses), *box_findings(photos, poses, chosen, shares, points, stated),
    ]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Checkup(
        capture, findings, photos, poses, chosen, agreement, shares, gains, points, colours, outliers, extra, blurry
    )


def _unlisted(capture: Capture) -> list[Finding]:
    """Frames that are no entries."""
    findings = []
    if capture.absent:
        total = len(capture.absent) + len(capture.broken) + len(capture.entries)
        findings.append(Finding(
            "absent", "warning",
            f"{len(capture.absent)} of {total} listed photos do not exist: {names(capture.absent)}",
            "training goes on without them",
            f"put them where {capture.source} says, or remove their frames; --apply does",
            capture.absent, True,
        ))
    for error in capture.broken:
        findings.append(Finding(
            "broken frame", "severe", str(error), "training refuses the whole capture",
            "correct what is named; --apply leaves the frame out", (), True,
        ))
    return findings


def _usable(capture: Capture, photos: list[Photo], poses: Tensor) -> Capture:
    """The capture of these photos, with their cameras as they were put right, at these poses."""
    splits: dict[str, list[Entry]] = {}
    for photo, pose in zip(photos, poses, strict=True):
        entry = dataclasses.replace(photo.entry, pose=pose, camera=photo.camera.resized)
        splits.setdefault(photo.split, []).append(entry)
    rule = capture.split_rule
    if rule == HOLD_OUT_RULE or not {"train", "test"} <= splits.keys():
        splits, rule = hold_out(capture.source, [entry for split in splits.values() for entry in split]), HOLD_OUT_RULE
    return dataclasses.replace(capture, splits=splits, split_rule=rule, absent=(), broken=())


def _explained(
    capture: Capture, photos: list[Photo], poses: Tensor, which: Sequence[int], tell: Teller
) -> tuple[list[Explained | None], list[list[int]]]:
    """How others explain some of the photos, and which those others are for each of all photos."""
    views, distance = _views(photos, poses), distances(poses, capture, photos)
    among, found = neighbours(views, distance), []
    for i in which:
        found.append(explain(views, i, among[i], CLOSEST * float(distance[i])))
        tell("agreement", len(found), len(which))
    return found, among


def _views(photos: list[Photo], poses: Tensor) -> list[View]:
    return [photo.view._replace(pose=pose) for photo, pose in zip(photos, poses, strict=True)]


def _agreements(explained: list[Explained | None]) -> np.ndarray:
    return np.array([math.nan if found is None else found.agreement for found in explained])


def _axes(capture: Capture, photos: list[Photo], poses: Tensor, agreement: np.ndarray) -> tuple[Tensor, list[Finding]]:
    """Poses by the convention under which photos explain each other, and what there is to say of the given one.

    Others are tried only where the given one is no better than chance.
    """
    given = float(np.nanmedian(agreement)) if np.isfinite(agreement).any() else 0.0
    if given >= CHANCE or len(photos) < 3:
        return poses, []
    some, reached = range(0, len(photos), 1 + len(photos) // TRIED), {}
    for name, converted in CONVENTIONS.items():
        tried = _agreements(_explained(capture, photos, converted(poses), some, lambda *_: None)[0])
        reached[name] = float(np.nanmedian(tried)) if np.isfinite(tried).any() else 0.0
    best = max(reached, key=reached.get)
    if reached[best] < 2 * CHANCE:
        return poses, []
    return CONVENTIONS[best](poses), [Finding(
        "axes", "severe",
        f"the poses are {best}: so read, photos explain each other to {reached[best]:.0%}, as they stand to "
        f"{max(given, 0):.0%}",
        "cameras look the wrong way, and training gives fog",
        "--apply converts them to camera-to-world with x right, y up, looking along -z", (), True,
    )]


def _swapped(
    capture: Capture, photos: list[Photo], poses: Tensor, agreement: np.ndarray
) -> tuple[Tensor, list[Finding]]:
    """Poses where those that fit each other's photos, and not their own, have changed places."""
    pairs: list[tuple[int, int]] = []
    for i, j in combinations(_outlying(agreement)[:MOST_SWAPPED], 2):
        if any({i, j} & {*pair} for pair in pairs):
            continue
        tried = poses.clone()
        tried[[i, j]] = poses[[j, i]]
        fits = _agreements(_explained(capture, photos, tried, (i, j), lambda *_: None)[0])
        if (fits > OUTLIER * np.nanmedian(agreement)).all():
            poses = tried
            pairs.append((i, j))
    if not pairs:
        return poses, []
    text = "; ".join(f"{photos[i].name} and {photos[j].name}" for i, j in pairs)
    return poses, [Finding(
        "swapped poses", "severe", f"each is explained by the pose of the other, and not by its own: {text}",
        "each draws the scene a second time somewhere else: ghosts and fog", "exchange their poses; --apply does",
        tuple(photos[i].name for pair in pairs for i in pair), True,
    )]


def _outlying(agreement: np.ndarray) -> list[int]:
    """Photos far below the usual agreement, the worst first; none where the usual one is chance."""
    known = agreement[np.isfinite(agreement)]
    if len(known) < 3 or np.median(known) < CHANCE:
        return []
    return [int(i) for i in np.argsort(agreement) if agreement[i] < OUTLIER * np.median(known)]


def _outliers(
    photos: list[Photo], agreement: np.ndarray, among: list[list[int]]
) -> tuple[list[int], list[Finding]]:
    """Photos that do not belong to their poses, and what there is to say of agreement as a whole."""
    findings = []
    alone = tuple(photo.name for photo, near in zip(photos, among, strict=True) if not near)
    if alone and len(photos) > 1:
        findings.append(Finding(
            "alone", "warning", f"{count(len(alone), 'photo')} without another that looks at the same: {names(alone)}",
            "what only one photo shows has no depth",
            "look whether its pose is right; if so, take photos between, so that neighbours overlap by two thirds",
            alone,
        ))
    known = agreement[np.isfinite(agreement)]
    if len(known) < 3:
        return [], findings
    usual = float(np.median(known))
    if usual < CHANCE:
        findings.append(Finding(
            "nothing agrees", "severe",
            f"photos explain each other to {max(usual, 0):.0%} only, which is chance",
            "poses that do not belong to the photos, a wrong focal length, or nothing but flat surfaces: none trains",
            "look whether the poses are those of these photos, in this order; if so, estimate them again with COLMAP",
        ))
        return [], findings
    found = _outlying(agreement)
    if found:
        listed = tuple(photos[i].name for i in found)
        findings.append(Finding(
            "outlier poses", "severe",
            f"{count(len(found), 'photo')} that the others cannot explain by its pose: "
            + ", ".join(f"{photos[i].name} ({max(agreement[i], 0):.0%})" for i in found[:6])
            + (f" and {len(found) - 6} more" if len(found) > 6 else "") + f", where {usual:.0%} is usual",
            "each draws the scene a second time somewhere else: ghosts and fog",
            "estimate these poses again, or leave the photos out: --apply does", listed, True,
        ))
    return found, findings


def _shown(capture: Capture, explained: list[Explained]) -> tuple[np.ndarray, np.ndarray]:
    """Points [P, 3] and colours [P, 3] of what the photos show: those of a reconstruction, or certain patches."""
    if capture.points is not None and len(capture.points.xyz):
        return capture.points.xyz, capture.points.rgb / 255
    sure = [found.correlation > CERTAIN for found in explained]
    points = [found.points[mask].numpy() for found, mask in zip(explained, sure, strict=True)]
    colours = [found.rgb[mask].numpy() for found, mask in zip(explained, sure, strict=True)]
    return np.concatenate([np.zeros((0, 3)), *points]), np.concatenate([np.zeros((0, 3)), *colours])
