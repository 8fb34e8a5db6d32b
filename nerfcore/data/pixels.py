"""Random training rays with the colours that they should have."""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor

from nerfcore.data.scene import SceneTransform, Split, to_unit
from nerfcore.types import Rays


class PixelSampler:
    """Draws pixels uniformly, with replacement, from all images of a split, but none that its ignore_mask names.

    Directions are looked up: one table [H * W, 3] (camera axes) for each distinct camera, end to end; and origins too
    where they are not all at the camera's centre. The generator of `sample` must live on the sampler's device.
    transform: rays begin in box coordinates, not in those of the world.
    """

    def __init__(self, split: Split, device: torch.device | str = "cpu", transform: SceneTransform | None = None):
        self.pixel_type = split.pixels.dtype
        self.pixel_bytes = split.pixels.view(torch.uint8).to(device)  # not every gather of PyTorch takes uint16
        self.drawn = None if split.ignore_mask is None else torch.nonzero(~split.ignore_mask).squeeze(1).to(device)
        self.offsets, poses = split.offsets.to(device), split.poses.to(device)
        transform = transform or SceneTransform(1.0, (0.0, 0.0, 0.0))
        self.rotations, self.centres = poses[:, :, :3], transform.to_box(poses[:, :, 3])
        cameras = list(dict.fromkeys(frame.camera for frame in split.frames))
        ends = list(accumulate(camera.width * camera.height for camera in cameras))
        starts = dict(zip(cameras, [0, *ends], strict=False))
        self.directions = torch.empty(ends[-1], 3, device=device)
        is_central = all(camera.lens.is_central for camera in cameras)
        self.origins = None if is_central else torch.empty_like(self.directions)
        for camera, start in starts.items():
            pixel = camera.pixel_centres()
            covered = start + torch.nonzero(camera.covers(pixel)).squeeze(1)
            origin, direction = camera.unproject(pixel[covered - start])
            self.directions[covered] = direction.to(device)
            if self.origins is not None:
                self.origins[covered] = transform.scale * origin.to(device)
        table_starts = torch.tensor([starts[frame.camera] for frame in split.frames], device=device)
        self.pixel_to_direction = table_starts - self.offsets[:-1]

    def sample(self, num_rays: int, generator: torch.Generator) -> tuple[Rays, Tensor, Tensor]:
        """Rays, their pixels [R, C], float32 in [0, 1] (C = 4: straight alpha last), and the images [R] that they are
        of. The host does not wait for a GPU."""
        device = self.pixel_bytes.device
        among = self.pixel_bytes if self.drawn is None else self.drawn
        pixel = torch.randint(len(among), (num_rays,), generator=generator, device=device)
        if self.drawn is not None:
            pixel = self.drawn[pixel]
        image = torch.searchsorted(self.offsets, pixel, right=True) - 1
        entry, rotation = pixel + self.pixel_to_direction[image], self.rotations[image]
        local, origin = self.directions[entry], self.centres[image]
        direction = (rotation @ local[:, :, None]).squeeze(-1)
        if self.origins is not None:
            origin = origin + (rotation @ self.origins[entry][:, :, None]).squeeze(-1)
        colour = to_unit(self.pixel_bytes[pixel].view(self.pixel_type))
        return Rays(origin, direction, -local[:, 2]), colour, image

    @property
    def nbytes(self) -> int:
        """Memory of the pixels and the tables."""
        tensors = self.pixel_bytes, self.drawn, self.directions, self.origins
        return sum(t.nbytes for t in tensors if t is not None)
