"""A trained picture, at any size."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerfcore.fields import field_named
from nerfcore.fields.image import ImageField

POINTS_PER_CHUNK = 1 << 17
MOST_PER_PIXEL = 4  # points along each side of a pixel that is rendered
KEPT = ("width", "height", "footprint", "header")


class PictureModel:
    """An :class:`~nerfcore.fields.image.ImageField` with the size of the picture that it was trained on: what
    ``model.nerf`` holds of a picture.

    footprint: points along each side of an original pixel whose mean the pixel is; 1 = the colour at its centre.
    header: provenance, JSON-able.
    """

    def __init__(self, field: ImageField, width: int, height: int, footprint: int, header: dict):
        self.field, self.width, self.height, self.footprint, self.header = field, width, height, footprint, header

    @property
    def device(self) -> torch.device:
        return self.field.table.device

    @torch.no_grad()
    def color(self, x: Tensor) -> Tensor:
        """sRGB [N, 3] in [0, 1] at points x [N, 2] of the picture, x to the right and y down, in [0, 1]."""
        parts = [self.field.color(part.to(self.device)).clamp(0, 1) for part in x.split(POINTS_PER_CHUNK)]
        return torch.cat(parts).to(x.device)

    def render(
        self,
        width: int | None = None,
        height: int | None = None,
        box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
    ) -> Tensor:
        """The picture, or a part of it, in sRGB: [height, width, 3] in [0, 1].

        width, height: in pixels, of what is returned; if not given, as the part has them in the original. box: left,
        top, right, bottom of the part as shares of the picture. A pixel is the mean of evenly spread colours within it:
        along a side ``footprint`` for each pixel of the original that it covers, at least 1, at most 4. Raises
        ValueError for an empty box.
        """
        left, top, right, bottom = box
        if not (left < right and top < bottom):
            raise ValueError(f"box must be left, top, right, bottom with left < right and top < bottom, got {box}")
        width = width or max(round((right - left) * self.width), 1)
        height = height or max(round((bottom - top) * self.height), 1)
        covered = max((right - left) * self.width / width, (bottom - top) * self.height / height)
        fine = min(max(math.ceil(covered * self.footprint - 1e-6), 1), MOST_PER_PIXEL)
        x = left + (right - left) * (torch.arange(width * fine, dtype=torch.float64) + 0.5) / (width * fine)
        rows = []
        rows_at_a_time = max(POINTS_PER_CHUNK // (width * fine * fine), 1)
        for first in range(0, height, rows_at_a_time):
            count = min(rows_at_a_time, height - first)
            y = (torch.arange(first * fine, (first + count) * fine, dtype=torch.float64) + 0.5) / (height * fine)
            points = torch.cartesian_prod(top + (bottom - top) * y, x).flip(1).float()
            rows.append(self.color(points).view(count, fine, width, fine, 3).mean((1, 3)))
        return torch.cat(rows)

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """Tensors and JSON-able description that :meth:`from_state` rebuilds the model from. Parameters are rounded to
        half precision: twice as many of them fit, and pictures do not show it."""
        tensors = {f"field.{name}": value.half() for name, value in self.field.state_dict().items()}
        described = {name: getattr(self, name) for name in KEPT}
        return tensors, dict(field=self.field.name, field_config=self.field.config, **described)

    @classmethod
    def from_state(
        cls, tensors: dict[str, Tensor], description: dict, device="cpu", backend: str = "auto"
    ) -> PictureModel:
        """Inverse of :meth:`state`."""
        field = field_named(description["field"])(**description["field_config"], backend=backend)
        field.load_state_dict({name.removeprefix("field."): value for name, value in tensors.items()})
        return cls(field.to(device), **{name: description[name] for name in KEPT})
