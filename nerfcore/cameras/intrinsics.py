"""Cameras: the size of a picture, and which ray falls on which of its pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nerfcore.cameras.lenses import LENSES, Equirectangular, Lens, Perspective

PIXELS_AT_ONCE = 1 << 14  # what their distortion needs stays in cache


@dataclass(frozen=True)
class Camera:
    """Size and intrinsics in pixels; the centre of pixel (i, j) is (i + 0.5, j + 0.5), x right and y down.

    The lens maps what is before the camera to a plane, and ``pixel = fl * plane + c``. Focal lengths and centre are
    numbers, or 0-dim tensors where gradients to them are wanted.
    """

    width: int
    height: int
    fl_x: float
    fl_y: float
    cx: float
    cy: float
    lens: Lens = Perspective()

    @classmethod
    def panorama(cls, width: int, height: int) -> Camera:
        """The camera of a picture that shows all directions: 360 degrees across, 180 from top to bottom."""
        return cls(width, height, width / math.tau, height / math.pi, 0.5 * width, 0.5 * height, Equirectangular())

    def project(self, points_camera: Tensor) -> tuple[Tensor, Tensor]:
        """Pixel positions [N, 2] of camera-space points [N, 3], and the mask [N] of points this camera can see at all.

        The mask is False for points behind the camera, unless its lens sees them, and for those so far off the axis
        that the distortion has turned back; their pixel positions mean nothing. It does not test the borders of the
        image. Differentiable in the points.
        """
        plane, visible = self.lens.flatten(points_camera)
        x, y = plane.unbind(-1)
        return torch.stack([x * self.fl_x + self.cx, y * self.fl_y + self.cy], dim=-1), visible

    def unproject(self, pixel_xy: Tensor) -> tuple[Tensor, Tensor]:
        """Origins and unit directions [N, 3], in camera space, of the rays through pixel positions [N, 2].

        Distortion is inverted in float64, exact to 1e-6 pixels; the results have the type of ``pixel_xy`` and are
        differentiable once. Raises SceneError where a pixel has no ray.
        """
        rays = [self.lens.lift(self._plane(part)) for part in pixel_xy.split(PIXELS_AT_ONCE)]
        return tuple(torch.cat(values).to(pixel_xy.dtype) for values in zip(*rays, strict=True))

    def covers(self, pixel_xy: Tensor) -> Tensor:
        """bool [N]: whether pixel positions [N, 2] lie within the image circle of the lens; only such have a ray."""
        return self.lens.covers(self._plane(pixel_xy))

    def sees_ball(self, centre: Tensor, radius: float) -> Tensor:
        """bool [N]: whether balls about camera-space points [N, 3] reach into the picture, by their size on the axis.

        In doubt they do: the camera's own surroundings, and what lies past the fold of a lens.
        """
        pixel, _ = self.project(centre)
        depth = centre.norm(dim=-1) if self.lens.is_wide else -centre[:, 2]
        margin = radius / self.footprint(depth.clamp(min=radius))[:, None]
        in_frame = ((pixel >= -margin) & (pixel <= pixel.new_tensor([self.width, self.height]) + margin)).all(-1)
        return (depth > -radius) & (in_frame | (depth < radius))

    def footprint(self, distance: Tensor) -> Tensor:
        """World size of a pixel in the middle of the picture, at a distance in world units."""
        return (distance if self.lens.is_central else torch.ones_like(distance)) / self.fl_x

    @property
    def spread(self) -> float:
        """How wide a pixel in the middle of the picture is at the distance 1; 0 where rays are parallel."""
        return 1 / self.fl_x if self.lens.is_central else 0.0

    def distance(self, points_camera: Tensor) -> Tensor:
        """Distance [N] of camera-space points [N, 3] along their rays."""
        return torch.linalg.vector_norm(points_camera, dim=-1) if self.lens.is_central else -points_camera[:, 2]

    def pixel_centres(self, device=None) -> Tensor:
        """[H * W, 2] float32: the centres of all pixels, row-major."""
        x = torch.arange(self.width, device=device) + 0.5
        y = torch.arange(self.height, device=device) + 0.5
        return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)

    def downscaled(self, factor: int) -> Camera:
        """The camera of the image of ``factor`` x ``factor`` blocks of this one's pixels; a remainder is cropped."""
        return self._rescaled(self.width // factor, self.height // factor, 1 / factor, 1 / factor)

    def resized(self, width: int, height: int) -> Camera:
        """The camera of the same picture resampled to another size."""
        return self._rescaled(width, height, width / self.width, height / self.height)

    def description(self) -> dict:
        """JSON-able; the inverse of :meth:`from_description`."""
        own = {name: getattr(self, name) for name in ("width", "height", "fl_x", "fl_y", "cx", "cy")}
        return dict(model=self.lens.name, **own, **self.lens.coefficients)

    @classmethod
    def from_description(cls, description: dict) -> Camera:
        """A camera from its description. Without a ``model`` it is a perspective one, as in older files.
        Raises TypeError for names that it does not know, KeyError for a model."""
        lens = LENSES[description.get("model", Perspective.name)]
        own = {name: description[name] for name in ("width", "height", "fl_x", "fl_y", "cx", "cy")}
        rest = {name: value for name, value in description.items() if name not in own and name != "model"}
        return cls(**own, lens=lens(**rest))

    def _plane(self, pixel_xy: Tensor) -> Tensor:
        x, y = pixel_xy.double().unbind(-1)
        return torch.stack([(x - self.cx) / self.fl_x, (y - self.cy) / self.fl_y], dim=-1)

    def _rescaled(self, width: int, height: int, scale_x: float, scale_y: float) -> Camera:
        return replace(
            self, width=width, height=height,
            fl_x=self.fl_x * scale_x, cx=self.cx * scale_x, fl_y=self.fl_y * scale_y, cy=self.cy * scale_y,
        )
