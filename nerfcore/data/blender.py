"""Scenes in the form of NeRF-synthetic (Mildenhall et al. 2020): ``transforms_{train,val,test}.json``, one a split."""

from __future__ import annotations

from pathlib import Path

from nerfcore.data.build import HOLD_OUT_RULE, build_scene, hold_out
from nerfcore.data.listing import read_listing
from nerfcore.data.scene import Scene
from nerfcore.errors import SceneError

TRAIN_FILE = "transforms_train.json"


def load_blender(root: Path, downscale: int) -> Scene:
    """The scene of ``root/transforms_train.json`` and its siblings.

    Without test images, those of the val split are for testing; without these too, every 8th of train by name.
    """
    files = {split: root / f"transforms_{split}.json" for split in ("train", "val", "test")}
    listings = {split: read_listing(file) for split, file in files.items() if file.exists()}
    absent = sum(listing.absent for listing in listings.values())
    train = listings["train"]
    splits = {split: listing.entries for split, listing in listings.items() if listing.entries}
    if "train" not in splits:
        raise SceneError(f"{train.file}: none of its {train.absent} images exists; put them where each file_path says")
    if "test" in splits:
        rule = files["test"].name
    elif "val" in splits:
        splits["test"], rule = splits.pop("val"), files["val"].name
    else:
        splits, rule = hold_out(train), HOLD_OUT_RULE
    return build_scene(root, train, splits, rule, absent, downscale)
