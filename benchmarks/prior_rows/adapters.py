"""Pipelines of diffusers as denoisers of ours, by a tiny one drawn at random, without a network: do both libraries say
the same of noisy pictures, draw the same, and does one guide pictures?"""

from __future__ import annotations

from importlib.util import find_spec

import torch

from nerfcore.errors import NerfcoreError
from nerfcore.priors.blocks.guidance import score_distillation
from nerfcore.priors.blocks.pipelines import TARGETS, PipelineDenoiser
from nerfcore.priors.blocks.samplers import ddim
from nerfcore.priors.blocks.schedule import scale_of

MODULES = "nerfcore.priors.blocks.pipelines", "nerfcore.priors.blocks.samplers", "nerfcore.priors.blocks.guidance"
TARGET = dict(picture_error=1e-4, sample_error=1e-4, guided="every value of a picture has a slope")
TIMES, STEPS = (3, 200, 600, 990), 20


def pipeline(seed: int, kind: str):
    """One unet and the DDIM scheduler of diffusers."""
    import diffusers

    torch.manual_seed(seed)
    unet = diffusers.UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(prediction_type=kind, clip_sample=False, set_alpha_to_one=False)
    return diffusers.DDPMPipeline(unet.eval(), scheduler)


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest difference, beside the largest value."""
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@torch.no_grad()
def of_pictures(seed: int, kind: str) -> float:
    """Of what both find the clean pictures to be, the worst of some levels."""
    theirs, random, found = pipeline(seed, kind), torch.Generator().manual_seed(seed), []
    ours, scheduler = PipelineDenoiser(theirs), theirs.scheduler
    scheduler.set_timesteps(len(ours.levels))
    for time in TIMES:
        level = ours.levels[time].float()
        x = level * torch.randn(4, 3, 16, 16, generator=random) + 0.2
        noisy = scale_of(level) * x
        clean = scheduler.step(theirs.unet(noisy, time).sample, time, noisy).pred_original_sample
        found.append(apart(ours(x, level).picture, clean))
    return max(found)


@torch.no_grad()
def of_samples(seed: int) -> float:
    """Of what DDIM draws. That of diffusers ends at the lowest level, ours wherever it is told to."""
    theirs, random = pipeline(seed, "epsilon"), torch.Generator().manual_seed(seed)
    ours, scheduler = PipelineDenoiser(theirs), theirs.scheduler
    scheduler.set_timesteps(STEPS)
    start = x = torch.randn(4, 3, 16, 16, generator=random)
    for time in scheduler.timesteps:
        x = scheduler.step(theirs.unet(x, time).sample, time, x).prev_sample
    levels = torch.cat((ours.levels[scheduler.timesteps], ours.levels[:1])).float()
    return apart(scale_of(levels[-1]) * ddim(ours, start / scale_of(levels[0]), levels), x)


def measure(options) -> dict:
    """The row."""
    if find_spec("diffusers") is None:
        raise NerfcoreError("this row compares with diffusers, which is not installed; pip install nerfcore[diffusers]")
    seed = options.seeds[0]
    pictures = max(of_pictures(seed, kind) for kind in TARGETS)
    samples = of_samples(seed)
    shown = torch.zeros(2, 3, 16, 16, requires_grad=True)
    guide = PipelineDenoiser(pipeline(seed, "epsilon"))
    loss = score_distillation(guide, shown, guide.levels[500].float(), torch.Generator().manual_seed(seed))
    (slope,) = torch.autograd.grad(loss, shown)
    guided = bool(slope.isfinite().all() and (slope != 0).all())
    holds = pictures < TARGET["picture_error"] and samples < TARGET["sample_error"] and guided
    return dict(holds=holds, seed=seed, picture_error=pictures, sample_error=samples, guided=guided, steps=STEPS)
