"""Fields that can be integrated by hand, and models made of them."""

from __future__ import annotations

import torch
from torch import Tensor

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.trajectories import orbit
from nerfcore.data.scene import SceneTransform
from nerfcore.fields import Field
from nerfcore.renderer.model import Model
from nerfcore.renderer.occupancy import OccupancyGrid
from nerfcore.renderer.volume import Marching


class Ball(Field):
    """Constant density in a ball, nothing outside; one colour."""

    name = "ball"

    def __init__(self, center=(0.5, 0.5, 0.5), radius=0.25, density=1e4, rgb=(0.2, 0.4, 0.8), backend="auto"):
        super().__init__()
        self.config = dict(center=center, radius=radius, density=density, rgb=rgb)
        self.register_buffer("rgb", torch.tensor(rgb))

    def density(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inside = (x - x.new_tensor(self.config["center"])).norm(dim=-1) < self.config["radius"]
        return self.config["density"] * inside.to(x), x

    def color(self, embedding: Tensor, direction: Tensor, ray_indices: Tensor | None = None) -> Tensor:
        return self.rgb.to(embedding).expand(len(embedding), 3)


class Blob(Field):
    """A Gaussian density about ``center``; the colour depends on place and view direction."""

    name = "blob"

    def __init__(self, center=(0.45, 0.5, 0.55), sigma=0.1, peak=12.0, backend="auto"):
        super().__init__()
        self.config = dict(center=center, sigma=sigma, peak=peak)

    def density(self, x: Tensor) -> tuple[Tensor, Tensor]:
        squared = (x - x.new_tensor(self.config["center"])).square().sum(-1)
        return self.config["peak"] * torch.exp(-0.5 * squared / self.config["sigma"] ** 2), x

    def color(self, embedding: Tensor, direction: Tensor, ray_indices: Tensor | None = None) -> Tensor:
        direction = direction if ray_indices is None else direction[ray_indices]
        return 0.5 + 0.25 * direction + 0.25 * torch.sin(7 * embedding)


def full_grid(resolution: int = 32, cascades: int = 1, backend: str = "auto") -> OccupancyGrid:
    """All cells occupied."""
    return OccupancyGrid(resolution, cascades, Marching.for_cascades(cascades).step, backend=backend)


def model_of(
    field: Field, scale: float = 0.25, translation=(0.5, 0.5, 0.5), cascades: int = 1, num_views: int = 8
) -> Model:
    """A model whose cameras look at the middle of the box from two rings around it."""
    transform = SceneTransform(scale, tuple(translation))
    middle = transform.world_box.mean(0)
    poses = torch.cat([orbit(middle, 1.5 / scale, elevation, num_views // 2) for elevation in (0.7, -0.7)])
    cameras = [(f"view {i}", Camera(64, 64, 70.0, 70.0, 32.0, 32.0), pose) for i, pose in enumerate(poses)]
    return Model(
        field, full_grid(cascades=cascades), Marching.for_cascades(cascades), transform, cameras, dict(version="test")
    )
