"""How much of what photographs show lies outside a box, told by parallax."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from nerfcore.cameras.intrinsics import Camera
from nerfcore.data.scene import Scene

VIEWS, PATCHES = 8, 100  # so many views are looked at, and so many places in each
RADIUS = 2  # of a patch, pixels
LARGEST_SIDE = 200  # pixels of a photograph, which is reduced to that
BASELINE = 0.15  # of a pair of views, in distances to where the middle of the picture leaves the box: best so many
SAME_WAY = 0.85  # cosine of the angle between two views that are compared, at least
FLAT = 0.02  # standard deviation of a patch in which there is nothing to compare
ALIKE, CLEARLY = 0.8, 0.1  # correlation of patches that show the same, and by how much more than any others
NEAREST, MAX_STEPS = 5.0, 100  # the sweep begins at that fraction of that distance, and has so many distances at most
MIN_VOTES = 30


def share_beyond(scene: Scene, low: Tensor, high: Tensor) -> float | None:
    """Of places in training photographs whose distance can be told, the share that lies outside a box of the world,
    given by its corners [3], with the cameras in it; None where too few can, and of parallel rays.

    A patch is looked for in two other views at distances of every pixel of parallax, out to infinity (a plane sweep,
    Collins 1996). It counts where the best distance outside explains it clearly better than any inside, or the reverse.
    Deterministic; takes a fraction of a second.
    """
    generator, outside, inside = torch.Generator().manual_seed(0), 0, 0
    poses, photo = scene.train.poses, functools.cache(functools.partial(_small_and_grey, scene))
    for index in range(0, len(poses), max(1, len(poses) // VIEWS)):
        camera, image = photo(index)
        if not camera.lens.is_central:
            return None
        axes, origin = poses[index, :, :3].T, poses[index, :, 3]
        reach = _exit(low, high, origin, -axes[2]).item()
        others = _partners(poses, index, BASELINE * reach)
        if len(others) < 2 or min(camera.width, camera.height) <= 4 * RADIUS:
            continue
        pixel = _patches(camera, generator)
        patch = _sampled(image, camera, pixel)
        direction = camera.unproject(pixel.view(-1, 2))[1].view(*pixel.shape[:2], 3) @ axes
        # a step of the inverse distance shifts a patch by about a pixel
        step = 1 / ((poses[others, :, 3] - origin).norm(dim=1).max().item() * camera.fl_x)
        inverse = torch.arange(0, NEAREST / reach, max(step, NEAREST / reach / MAX_STEPS))
        alike = torch.stack([
            _alike(patch, *photo(other), poses[other], origin, direction, inverse) for other in others
        ]).mean(0)  # [P, W]
        leaves = 1 / _exit(low, high, origin, direction[:, direction.shape[1] // 2])[:, None]
        far = alike.masked_fill(inverse > leaves - step, -1).amax(1)
        near = alike.masked_fill(inverse < leaves, -1).amax(1)
        told = (torch.maximum(near, far) > ALIKE) & (patch.std(1) > FLAT) & (leaves[:, 0] > 3 * step)
        outside += int((told & (far > near + CLEARLY)).sum())
        inside += int((told & (near > far + CLEARLY)).sum())
    return outside / (outside + inside) if outside + inside >= MIN_VOTES else None


def _patches(camera: Camera, generator: torch.Generator) -> Tensor:
    """[P, N, 2]: the centres of the pixels of square patches somewhere in a picture."""
    room = torch.tensor([camera.width, camera.height]) - 2 * RADIUS
    corner = (torch.rand(PATCHES, 1, 2, generator=generator) * room).floor()
    return corner + torch.cartesian_prod(*[torch.arange(2.0 * RADIUS + 1)] * 2) + 0.5


def _small_and_grey(scene: Scene, index: int) -> tuple[Camera, Tensor]:
    camera, image = scene.train.frames[index].camera, scene.train.image(index)[..., :3].mean(-1)
    factor = max(1, max(camera.width, camera.height) // LARGEST_SIDE)
    return camera.downscaled(factor), avg_pool2d(image[None, None], factor)


def _partners(poses: Tensor, index: int, wanted: float) -> list[int]:
    """The two views that look about the same way from about that far away."""
    baseline = (poses[:, :, 3] - poses[index, :, 3]).norm(dim=1)
    alike = (poses[:, :, 2] @ poses[index, :, 2] > SAME_WAY) & (baseline > 0.2 * wanted)
    misfit = (baseline / wanted).log().abs().masked_fill(~alike, torch.inf)
    return [int(i) for i in misfit.argsort()[:2] if alike[i]]


def _exit(low: Tensor, high: Tensor, origin: Tensor, direction: Tensor) -> Tensor:
    """[...]: how far along rays [..., 3] from a point inside the box ends, world units."""
    faces = (torch.where(direction > 0, high, low) - origin) / direction
    return faces.amin(-1).clamp(min=1e-3 * (high - low).max())


def _sampled(image: Tensor, camera: Camera, pixel: Tensor) -> Tensor:
    """Grey values [P, N] at pixels [P, N, 2]; not a number outside."""
    grid = 2 * pixel / pixel.new_tensor([camera.width, camera.height]) - 1
    value = grid_sample(image, grid[None], align_corners=False)[0, 0]
    return value.masked_fill((grid.abs() > 1).any(-1), torch.nan)


def _alike(
    patch: Tensor, camera: Camera, image: Tensor, pose: Tensor, origin: Tensor, direction: Tensor, inverse: Tensor
) -> Tensor:
    """[P, W]: correlation of patches [P, N], seen along directions [P, N, 3], with what another view has there if they
    are at these inverse distances [W]; -1 out of its sight."""
    local = (direction[None] + inverse[:, None, None, None] * (origin - pose[:, 3])) @ pose[:, :3]
    pixel, valid = camera.project(local.view(-1, 3))
    other = _sampled(image, camera, pixel.view(-1, patch.shape[1], 2))
    other = other.masked_fill(~valid.view(other.shape), torch.nan).view(len(inverse), *patch.shape)
    a, b = (x - x.mean(-1, keepdim=True) for x in (patch, other))
    return ((a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp(min=1e-6)).nan_to_num(-1.0).T
