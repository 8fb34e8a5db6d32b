"""Scoring on some of the held-out views: large networks take many minutes for the chair's 100."""

from __future__ import annotations

from dataclasses import replace

import torch

from nerfcore.data.scene import Scene

EVERY = 8


def every_eighth(scene: Scene) -> Scene:
    """The scene with one in EVERY of its held-out views."""
    test = scene.test
    kept = range(0, len(test), EVERY)
    rows = [torch.arange(*test.offsets[i : i + 2].tolist()) for i in kept]
    offsets = torch.tensor([0, *(len(r) for r in rows)]).cumsum(0)
    frames = [test.frames[i] for i in kept]
    return replace(scene, test=replace(test, frames=frames, pixels=test.pixels[torch.cat(rows)], offsets=offsets))
