"""Captures of which one ``transforms.json`` lists all photographs: the form of instant-ngp, and that of nerfstudio.

Both share names and axes. instant-ngp says where the scene lies; nerfstudio names splits and a file of sparse points.
Coordinates are those of the file: nerfstudio's ``applied_transform`` tells where they came from, and stays unused.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import trimesh

from nerfcore.data.bounds import INSTANT_NGP_KEYS, instant_ngp_box
from nerfcore.data.capture import Capture, SparsePoints, held_out_capture
from nerfcore.data.listing import Listing, read_listing
from nerfcore.data.values import LARGEST, existing
from nerfcore.errors import SceneError

NAME = "transforms.json"
NERFSTUDIO_KEYS = "camera_model", "ply_file_path", "applied_transform", "applied_scale", "train_filenames"


def find_transforms(root: Path) -> Path | None:
    """The transforms file, if the folder has one."""
    return existing(root, NAME)


def read_transforms(file: Path) -> Capture:
    """The capture of a ``transforms.json``; without splits of its own, every 8th present image by name is for
    testing."""
    listing = read_listing(file)
    points = _read_points(listing)
    by_instant_ngp = any(key in listing.table for key in INSTANT_NGP_KEYS)
    by_nerfstudio = any(key in listing.table for key in NERFSTUDIO_KEYS)
    box = instant_ngp_box(listing.table, file) if by_instant_ngp or not by_nerfstudio else None
    splits = _named_splits(listing)
    if splits is None:
        found = listing.entries, listing.absent, listing.broken
        return held_out_capture(file.parent, file, *found, box=box, points=points)
    rule = f"{NAME}, test_filenames"
    return Capture(file.parent, file, splits, rule, listing.absent, box, points, listing.broken)


def _named_splits(listing: Listing) -> dict | None:
    """The splits of nerfstudio's train_filenames, val_filenames and test_filenames; None without a test split."""
    splits = {}
    for split in ("train", "val", "test"):
        names = listing.table.get(f"{split}_filenames")
        if isinstance(names, list):
            names = {str(PurePosixPath(str(name))) for name in names}
            splits[split] = [entry for entry in listing.entries if entry.name in names]
    if "test" not in splits and "val" in splits:
        splits["test"] = splits.pop("val")
    if not splits.get("test"):
        return None
    if not splits.get("train"):
        raise listing.broken[0] if listing.broken else SceneError(
            f"{listing.file}: none of its train_filenames exists; list there what is to be trained on"
        )
    return {split: entries for split, entries in splits.items() if entries}


def _read_points(listing: Listing) -> SparsePoints | None:
    if listing.table.get("ply_file_path") is None:
        return None
    path = existing(listing.file.parent, listing.table["ply_file_path"])
    if path is None:
        raise SceneError(f"{listing.file}: its ply_file_path does not exist; put the points there or remove the line")
    try:
        cloud = trimesh.load(path, process=False)
        xyz = np.asarray(cloud.vertices, np.float64).reshape(-1, 3)
        colours = np.asarray(getattr(cloud, "colors", np.zeros((0, 4))))
    except Exception as error:  # parsers raise whatever they like at broken files
        raise SceneError(f"{path}: cannot be read as a point cloud; write it again or remove ply_file_path") from error
    rgb = colours[:, :3].astype(np.uint8) if len(colours) == len(xyz) else np.full((len(xyz), 3), 128, np.uint8)
    sane = (np.abs(xyz) <= LARGEST).all(1)
    return SparsePoints(xyz[sane], rgb[sane])
