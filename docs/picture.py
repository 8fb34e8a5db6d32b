"""Makes docs/demo.png from what `make demo` left: ``python docs/picture.py runs/demo``."""

from __future__ import annotations

import sys
from pathlib import Path

import imageio.v3 as imageio
import torch

import nerfcore

VIEW = 3  # of the held-out ones


def main(run: str) -> None:
    model, test = nerfcore.load(run), nerfcore.load_scene().test
    frame, truth = test.frames[VIEW], test.image(VIEW)
    image = model.render_image(frame.camera, frame.pose, normals=True)
    seen = image["opacity"][..., None]
    nearest, farthest = image["distance"][image["opacity"] > 0.5].aminmax()
    shade = 0.9 - 0.7 * (image["distance"][..., None] - nearest) / (farthest - nearest)
    panels = [
        torch.lerp(torch.ones(3), truth[..., :3], truth[..., 3:]),
        image["rgb"],
        torch.lerp(torch.ones(3), 0.5 + 0.5 * image["normal"], seen),
        torch.lerp(torch.ones(3), shade.expand(-1, -1, 3), seen),
    ]
    picture = torch.cat(panels, 1).clamp(0, 1).mul(255).round().byte()
    imageio.imwrite(Path(__file__).with_name("demo.png"), picture.numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
