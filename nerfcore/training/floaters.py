"""Light from where there is no surface that photographs agree on."""

from __future__ import annotations

import torch
from torch import Tensor

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.rays import camera_rays
from nerfcore.ops.composite import composite
from nerfcore.renderer.model import MODULAR_RAYS, Model
from nerfcore.renderer.volume import place_samples, sample_positions
from nerfcore.types import Samples

SIDE = 64  # pixels of the longer side of pictures, at most: surfaces are told well enough
STRIDE = 2.0  # how many times as long as in a picture steps along a ray are: rays through fog have hundreds
MAX_WITNESSES = 64  # evenly chosen where there are more training cameras
WITNESSES = 2  # so many must see a surface
TOLERANCE = 0.1  # of the distance, and beyond the median distance of surfaces of the parallax there
SHOWS = 1e-3  # weight below which light is left out


class FloaterMeter:
    """Measures floaters: the share of the light of a picture that comes from where fewer than two training cameras,
    other than its own, see a surface.

    A camera sees one at a point if half of its light is stopped there, give or take a tenth of the distance; far away,
    where distances hardly change a picture, a tenth of the parallax at the median distance. This is the check for
    geometric consistency of multi-view stereo (Yao et al. 2018, MVSNet, section 4.2), asked of all light instead of one
    depth a pixel, so that fog counts by what it weighs. What a single photograph shows is held for a floater, too:
    nothing says where it is. What many cameras see is none, whether it is there or not.
    """

    @torch.no_grad()
    def __init__(self, model: Model):
        self.model, total = model, len(model.cameras)
        chosen = torch.linspace(0, total - 1, min(total, MAX_WITNESSES)).round().int().tolist()
        chosen = [model.cameras[i] for i in chosen]
        self.views = [(name, _small(camera), pose.to(model.device)) for name, camera, pose in chosen]
        self.nearness = [self._nearness(camera, pose) for _, camera, pose in self.views]
        met = torch.cat([nearness.flatten() for nearness in self.nearness]) if self.nearness else torch.zeros(0)
        met = met[met > 0]
        self.typical = met.median().item() if len(met) else 1.0

    @torch.no_grad()
    def __call__(self, name: str, camera: Camera, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Of a view, [h, w] with at most SIDE pixels along a side: light from floaters, and all light, from 0 to 1."""
        camera = _small(camera)
        pixel = camera.pixel_centres(self.model.device)
        covered = camera.covers(pixel)
        floating, light = torch.zeros(2, len(pixel), device=pixel.device)
        floating[covered], light[covered] = self._of_rays(name, camera, pose.to(self.model.device), pixel[covered])
        return floating.view(camera.height, camera.width), light.view(camera.height, camera.width)

    def _of_rays(self, name: str, camera: Camera, pose: Tensor, pixel: Tensor) -> tuple[Tensor, Tensor]:
        floating, light = [], []
        for part in pixel.split(MODULAR_RAYS[pixel.device.type]):
            origin, direction, samples, weights = self._light(camera, pose, part)
            ray = samples.ray_indices
            shown = torch.nonzero(weights > SHOWS).squeeze(1)
            points = sample_positions(origin, direction, samples, ray).index_select(0, shown)
            weights, ray = weights.index_select(0, shown), ray.index_select(0, shown)
            alone = weights * (self._witnesses(name, self.model.transform.to_world(points)) < WITNESSES)
            for of_rays, parts in ((floating, alone), (light, weights)):
                of_rays.append(torch.zeros(len(part), device=pixel.device).index_add(0, ray, parts))
        return torch.cat(floating), torch.cat(light)

    def _light(self, camera: Camera, pose: Tensor, pixel: Tensor) -> tuple[Tensor, Tensor, Samples, Tensor]:
        """Box rays through pixels, their samples, and the weights of these."""
        model, rays = self.model, camera_rays(camera, pose, pixel)
        origin, direction = model.transform.to_box(rays.origin), rays.direction
        lattice = model.marching.lattice(model.occupancy, STRIDE)
        samples = place_samples(model.field, origin, direction, lattice, model.backend)
        sigma = model.field.sigma(sample_positions(origin, direction, samples, samples.ray_indices))
        weights = composite(sigma, torch.zeros(len(sigma), 3).to(sigma), samples, backend=model.backend)[3]
        return origin, direction, samples, weights

    def _nearness(self, camera: Camera, pose: Tensor) -> Tensor:
        """[h, w]: one over the distance, in world units, at which half of the light is stopped; 0 where less is, NaN
        where the lens covers nothing."""
        pixel = camera.pixel_centres(self.model.device)
        covered = camera.covers(pixel)
        found = []
        for part in pixel[covered].split(MODULAR_RAYS[pixel.device.type]):
            _, _, samples, weights = self._light(camera, pose, part)
            begin, end = samples.ray_offsets[:-1], samples.ray_offsets[1:]
            stopped = torch.nn.functional.pad(weights.double().cumsum(0), (1, 0))
            median = torch.searchsorted(stopped, stopped[begin] + 0.5) - 1
            middle = torch.nn.functional.pad(samples.t_mid, (0, 1), value=1.0).index_select(0, median)
            found.append(torch.where(median < end, self.model.transform.scale / middle, 0.0))
        nearness = torch.full((len(pixel),), torch.nan, device=pixel.device)
        nearness[covered] = torch.cat(found)
        return nearness.view(camera.height, camera.width)

    def _witnesses(self, name: str, points: Tensor) -> Tensor:
        """[N]: how many cameras, up to two, of views other than the named one see a surface at world points [N, 3]."""
        count = torch.zeros(len(points), dtype=torch.int64, device=points.device)
        for (other, camera, pose), nearness in zip(self.views, self.nearness, strict=True):
            if other == name:
                continue
            left = torch.nonzero(count < WITNESSES).squeeze(1)
            local = (points.index_select(0, left) - pose[:, 3]) @ pose[:, :3]
            pixel, visible = camera.project(local)
            size = pixel.new_tensor([camera.width, camera.height])
            visible &= ((pixel >= 0) & (pixel <= size)).all(-1)
            here = 1 / camera.distance(local).clamp(min=1e-9)
            corner = (pixel.where(visible[:, None], 0) - 0.5).floor()
            agrees = torch.zeros_like(visible)
            for step in ((0, 0), (0, 1), (1, 0), (1, 1)):  # surfaces are slanted: any pixel about the point
                x, y = (corner + corner.new_tensor(step)).clamp(corner.new_zeros(2), size - 1).long().unbind(-1)
                agrees |= (nearness[y, x] - here).abs() <= TOLERANCE * here.clamp(min=self.typical)
            count.index_add_(0, left, (agrees & visible).long())
        return count


def _small(camera: Camera) -> Camera:
    """The camera of the same picture with at most SIDE pixels along its longer side."""
    scale = min(1.0, SIDE / max(camera.width, camera.height))
    return camera.resized(max(1, round(scale * camera.width)), max(1, round(scale * camera.height)))
