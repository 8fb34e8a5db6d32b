"""Scenes in the form of instant-ngp: one ``transforms.json`` for all photographs."""

from __future__ import annotations

from pathlib import Path

from nerfcore.data.build import HOLD_OUT_RULE, build_scene, hold_out
from nerfcore.data.listing import read_listing
from nerfcore.data.scene import Scene

TRANSFORMS_FILE = "transforms.json"


def load_transforms(root: Path, downscale: int) -> Scene:
    """The scene of ``root/transforms.json``; every 8th present image by name is held out for testing."""
    listing = read_listing(root / TRANSFORMS_FILE)
    return build_scene(root, listing, hold_out(listing), HOLD_OUT_RULE, listing.absent, downscale)
