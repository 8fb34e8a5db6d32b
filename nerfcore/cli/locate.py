"""`nerfcore locate`"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from nerfcore.cli.options import Background, Hardware, UsesModel
from nerfcore.errors import NerfcoreError


@dataclass
class Locate(Hardware, UsesModel):
    """Finds the pose of a photograph: where the model, seen from there, looks like it."""

    photo: Annotated[Positional[Path], arg(metavar="PHOTO")]
    """The photograph; its lens is that of a training camera."""
    near: str | None = None
    """Name of the training view whose camera is about where the photograph was taken; default: those most like it."""
    background: Background = "white"
    """What lies behind the model, and behind a photograph with alpha."""
    json: Path | None = None
    """Also write the pose and its uncertainty to this file."""
    picture: Path | None = None
    """Also write the photograph, and the model seen from there, side by side to this file (.png)."""

    def run(self) -> int:
        import imageio.v3 as iio
        import torch

        import nerfcore
        from nerfcore.applications.locate import locate
        from nerfcore.cli.console import print_table
        from nerfcore.data.images import read_image
        from nerfcore.files import write_file

        model = nerfcore.load(self.model, self.device, self.backend)
        photo = torch.from_numpy(read_image(self.photo)).float() / 255
        views = {name: (camera, pose) for name, camera, pose in model.cameras}
        if self.near is not None and self.near not in views:
            names = ", ".join(list(views)[:5])
            raise NerfcoreError(f"the model has no training view {self.near!r}; it has {names} … ({len(views)} in all)")
        lens, start = views[self.near] if self.near else next(iter(views.values()))
        height, width = photo.shape[:2]
        camera = lens.resized(width, height)
        if abs(width * lens.height - height * lens.width) > 0.02 * width * lens.height:
            raise NerfcoreError(
                f"{self.photo} is {width}x{height}, of another shape than the {lens.width}x{lens.height} of training "
                "views; crop it as these were"
            )
        found = locate(model, photo, camera, None if self.near is None else [start], background=self.background)
        rows = [" ".join(f"{value:9.5f}" for value in row) for row in found.pose.tolist()]
        print_table([
            *zip(("pose", "", ""), rows, strict=True),
            ("uncertain", f"{found.turn_error:.3f}°, {found.shift_error:.4g} world units (standard deviations)"),
            ("PSNR", f"{found.psnr:.2f} dB of the photograph, seen from there"),
        ])
        if self.json:
            told = dict(pose=found.pose.tolist(), covariance=found.covariance.tolist(), psnr=found.psnr)
            write_file(self.json, json.dumps(dict(schema=1, **told), indent=1))
        if self.picture:
            seen = model.render_image(camera, found.pose, self.background)["rgb"].clamp(0, 1)
            both = torch.cat((photo[..., :3], seen), 1)
            write_file(self.picture, iio.imwrite("<bytes>", (255 * both).round().byte().numpy(), extension=".png"))
        return 0
