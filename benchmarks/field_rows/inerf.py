"""Are photographs located?  20 held-out views of the built-in scene and of the chair.

A start is the true pose turned by up to 20 degrees about its own centre and moved by up to 20 % of the distance to what
it looks at, in random directions, uniformly in the angle and in the length. Found is what ends within 5 degrees and 5 %
of that distance.
"""

from __future__ import annotations

import math
import time

import torch
from torch.nn.functional import normalize

import nerfcore
from nerfcore.applications.locate import locate
from nerfcore.cameras.poses import rotation_angle, rotation_exp

MODULES = ("nerfcore.applications.locate",)
TARGET = dict(found=0.9, degrees=5.0, share_of_distance=0.05)
TURN, SHIFT, PHOTOS = 20.0, 0.2, 20
MINUTES = {"builtin": 1.0, "chair": 2.0}  # of the training before


def measure(options) -> dict:
    """The row; all starts of a scene are of one seed."""
    scenes = {}
    for name, minutes in MINUTES.items():
        scene = nerfcore.load_scene(None if name == "builtin" else options.folder / name)
        model = nerfcore.train(scene, minutes=options.share * minutes, background="random").model
        scenes[name] = located(model, scene, torch.Generator().manual_seed(options.seeds[0]))
    return dict(holds=all(s["found"] >= TARGET["found"] for s in scenes.values()), scenes=scenes)


def located(model, scene, generator: torch.Generator) -> dict:
    """The share of views that are found, and each of them."""
    views = []
    count = len(scene.test)
    for i in sorted({count * k // PHOTOS for k in range(PHOTOS)}):
        frame = scene.test.frames[i]
        distance = (frame.pose[:, 3] - scene.transform.world_box.mean(0)).norm().item()
        axis, way = normalize(torch.randn(2, 3, generator=generator), dim=-1)
        angle, length = torch.rand(2, generator=generator) * torch.tensor([math.radians(TURN), SHIFT * distance])
        turned = frame.pose[:, :3] @ rotation_exp(angle * axis)
        start = torch.cat((turned, (frame.pose[:, 3] + length * way)[:, None]), 1)
        began = time.perf_counter()
        found = locate(model, scene.test.image(i), frame.camera, [start], TURN, SHIFT)
        seconds = time.perf_counter() - began
        degrees, share = errors(found.pose, frame.pose, distance)
        within = degrees <= TARGET["degrees"] and share <= TARGET["share_of_distance"]
        at_start = errors(start, frame.pose, distance)
        views.append(dict(
            view=frame.name, found=within, degrees=degrees, share=share, psnr=found.psnr, seconds=seconds,
            start_degrees=at_start[0], start_share=at_start[1], stated_degrees=found.turn_error,
            stated_share=found.shift_error / distance,
        ))
    median = {key: sorted(v[key] for v in views)[len(views) // 2] for key in ("degrees", "share", "seconds")}
    return dict(found=sum(v["found"] for v in views) / len(views), median=median, views=views)


def errors(pose: torch.Tensor, true: torch.Tensor, distance: float) -> tuple[float, float]:
    """Degrees, and the share of the distance."""
    turned = math.degrees(rotation_angle(pose[:, :3], true[:, :3]).item())
    return turned, ((pose[:, 3] - true[:, 3]).norm() / distance).item()
