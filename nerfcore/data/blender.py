"""Captures in the form of NeRF-synthetic (Mildenhall et al. 2020): ``transforms_{train,val,test}.json``, one each."""

from __future__ import annotations

from pathlib import Path

from nerfcore.data.bounds import instant_ngp_box
from nerfcore.data.capture import HOLD_OUT_RULE, Capture, hold_out
from nerfcore.data.listing import read_listing
from nerfcore.data.values import existing
from nerfcore.errors import SceneError

NAME = "transforms_train.json"


def find_blender(root: Path) -> Path | None:
    """The file of the training split, if the folder has one."""
    return existing(root, NAME)


def read_blender(file: Path) -> Capture:
    """The capture of ``transforms_train.json`` and its siblings.

    Without test images, those of the val split are for testing; without these too, every 8th of train by name.
    """
    files = {split: file.with_name(f"transforms_{split}.json") for split in ("train", "val", "test")}
    listings = {split: read_listing(path) for split, path in files.items() if path.exists()}
    absent = sum((listing.absent for listing in listings.values()), ())
    broken = sum((listing.broken for listing in listings.values()), ())
    train = listings["train"]
    splits = {split: listing.entries for split, listing in listings.items() if listing.entries}
    if "train" not in splits:
        raise train.broken[0] if train.broken else SceneError(
            f"{train.file}: none of its {len(train.absent)} images exists; put them where each file_path says"
        )
    if "test" in splits:
        rule = files["test"].name
    elif "val" in splits:
        splits["test"], rule = splits.pop("val"), files["val"].name
    else:
        splits, rule = hold_out(file, train.entries, train.absent, train.broken), HOLD_OUT_RULE
    return Capture(file.parent, file, splits, rule, absent, instant_ngp_box(train.table, file), broken=broken)
