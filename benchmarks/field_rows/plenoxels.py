"""The sparse grid of voxels, on the chair: its quality, how few voxels it needs, and what its smoothness is worth.

Trains with and without total variation, each with the whole budget, then leaves out voxels of the first once more and
scores it again. The share that stays is of all corners of the finest grid.
"""

from __future__ import annotations

import torch

import nerfcore
from nerfcore.cameras.rays import camera_rays
from nerfcore.ops.composite import composite
from nerfcore.renderer.volume import place_samples, sample_positions

from ._chair import TARGET as PSNR
from ._chair import figures, train

MODULES = ("nerfcore.fields.plenoxels",)
RAYS_AT_ONCE, EVERY = 1 << 14, 4  # of the training rays one in four looks at the voxels that stay
TARGET = dict(psnr=PSNR, share_kept=0.2, lost_by_pruning=0.1)  # dB; of all corners of the finest grid; dB


def measure(options) -> dict:
    """The row."""
    trained = train(options, "plenoxels")
    field, found = trained.model.field, figures(trained)
    scene = nerfcore.load_scene(options.folder / "chair")
    voxels = field.num_voxels
    field.prune(lambda: seen(trained.model))
    lost = found["psnr"] - nerfcore.evaluate(trained.model, scene).metrics["psnr"]
    kept = field.num_voxels / field.config["resolution"] ** 3
    rough = figures(train(options, "plenoxels", field_config=dict(smooth_density=0.0, smooth_color=0.0)))
    good = found["psnr"] >= TARGET["psnr"] and found["psnr"] > rough["psnr"]
    return dict(
        holds=good and kept <= TARGET["share_kept"] and lost <= TARGET["lost_by_pruning"], seed=options.seeds[0],
        **found, voxels_before_pruning=voxels, voxels_kept=field.num_voxels, share_kept=kept, lost_by_pruning=lost,
        without_smoothness=rough,
    )


@torch.no_grad()
def seen(model):
    """Positions and weights of the samples of training rays: of every view, one pixel in EVERY."""
    lattice = model.marching.lattice(model.occupancy)
    for _, camera, pose in model.cameras:
        rays = camera_rays(camera, pose, camera.pixel_centres(pose.device)[::EVERY])
        origin = model.transform.to_box(rays.origin)
        for o, d in zip(origin.split(RAYS_AT_ONCE), rays.direction.split(RAYS_AT_ONCE), strict=True):
            samples = place_samples(model.field, o, d, lattice)
            x = sample_positions(o, d, samples, samples.ray_indices)
            yield x, composite(model.field.sigma(x), torch.zeros_like(x), samples)[3]
