"""Random training rays with the colours that they should have."""

from __future__ import annotations

import torch
from torch import Tensor

from nerfcore.data.scene import SceneTransform, Split, to_unit
from nerfcore.types import Rays


class PixelSampler:
    """Draws pixels uniformly, with replacement, from all images of a split.

    Directions are looked up: one table [H * W, 3] (camera axes, z = -1, not unit) for each distinct camera, end to end.
    The generator of `sample` must live on the sampler's device. transform: rays begin in box coordinates, not in those
    of the world.
    """

    def __init__(self, split: Split, device: torch.device | str = "cpu", transform: SceneTransform | None = None):
        self.pixel_type = split.pixels.dtype
        self.pixel_bytes = split.pixels.view(torch.uint8).to(device)  # not every gather of PyTorch takes uint16
        self.offsets, poses = split.offsets.to(device), split.poses.to(device)
        self.rotations, centres = poses[:, :, :3], poses[:, :, 3]
        self.origins = centres if transform is None else transform.to_box(centres)
        cameras = list(dict.fromkeys(frame.camera for frame in split.frames))
        tables = [camera.unproject(camera.pixel_centres()) for camera in cameras]
        starts = dict(zip(cameras, torch.tensor([0, *map(len, tables)]).cumsum(0).tolist(), strict=False))
        self.directions = torch.cat(tables).to(device)
        table_starts = torch.tensor([starts[frame.camera] for frame in split.frames], device=device)
        self.pixel_to_direction = table_starts - self.offsets[:-1]

    def sample(self, num_rays: int, generator: torch.Generator) -> tuple[Rays, Tensor]:
        """Rays and their pixels [R, C], float32 in [0, 1] (C = 4: straight alpha last). The host does not wait for a
        GPU."""
        device = self.pixel_bytes.device
        pixel = torch.randint(len(self.pixel_bytes), (num_rays,), generator=generator, device=device)
        image = torch.searchsorted(self.offsets, pixel, right=True) - 1
        local = self.directions[pixel + self.pixel_to_direction[image]]
        z_scale = 1 / local.norm(dim=-1)
        direction = (self.rotations[image] @ local[:, :, None]).squeeze(-1) * z_scale[:, None]
        return Rays(self.origins[image], direction, z_scale), to_unit(self.pixel_bytes[pixel].view(self.pixel_type))
