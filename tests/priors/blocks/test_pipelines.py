"""Pipelines of diffusers, tiny and drawn at random: that what we make of them is what diffusers makes of them."""

from types import SimpleNamespace

import pytest
import torch

from nerfcore.errors import NerfcoreError
from nerfcore.priors.blocks.guidance import classifier_free
from nerfcore.priors.blocks.pipelines import PipelineDenoiser
from nerfcore.priors.blocks.samplers import ddim
from nerfcore.priors.blocks.schedule import scale_of

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed: pip install nerfcore[diffusers]")
SMALL = dict(sample_size=8, layers_per_block=1, block_out_channels=(8, 8), norm_num_groups=4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pixels(kind="epsilon", channels=2):
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        in_channels=channels, out_channels=channels, down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2, **SMALL,
    ).eval()  # fmt: skip
    scheduler = diffusers.DDIMScheduler(prediction_type=kind, clip_sample=False, set_alpha_to_one=False)
    return diffusers.DDPMPipeline(unet, scheduler)


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
@torch.no_grad()
def test_clean_pictures_are_those_that_its_scheduler_finds(kind):
    pipeline = pixels(kind)
    denoiser, scheduler = PipelineDenoiser(pipeline), pipeline.scheduler
    scheduler.set_timesteps(1000)
    for time in (3, 400, 990):
        level = denoiser.levels[time]
        x = level * torch.randn(2, 2, 8, 8, generator=generator()).double() + 0.3
        theirs = (scale_of(level) * x).float()
        expected = scheduler.step(pipeline.unet(theirs, time).sample, time, theirs).pred_original_sample
        found = denoiser(x.float(), level).picture
        assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@torch.no_grad()
def test_ddim_is_that_of_diffusers():
    pipeline = pixels()
    denoiser, scheduler = PipelineDenoiser(pipeline), pipeline.scheduler
    scheduler.set_timesteps(10)
    x = torch.randn(2, 2, 8, 8, generator=generator())
    theirs = x
    for time in scheduler.timesteps:
        theirs = scheduler.step(pipeline.unet(theirs, time).sample, time, theirs).prev_sample
    levels = torch.cat((denoiser.levels[scheduler.timesteps], denoiser.levels[:1]))  # it ends at the lowest level, not at 0
    ours = ddim(denoiser, x / scale_of(levels[0]).float(), levels) * scale_of(levels[-1]).float()
    assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_levels_between_two_are_told_as_between_their_numbers():
    denoiser, told = PipelineDenoiser(pixels()), []
    denoiser.network.unet.forward = lambda x, time: told.append(time) or SimpleNamespace(sample=x)
    between = (denoiser.levels[10] * denoiser.levels[11]).sqrt()
    levels = torch.stack((denoiser.levels[7], between, denoiser.levels[-1], denoiser.levels[0] / 10, denoiser.levels[-1] * 10))
    denoiser(torch.zeros(5, 2, 8, 8), levels)
    assert torch.allclose(told[0], torch.tensor([7.0, 10.5, 999.0, 0.0, 999.0]), atol=1e-3)


@torch.no_grad()
def test_it_is_told_prompts_and_diffuses_codes():
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        in_channels=4, out_channels=4, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=6, attention_head_dim=4, **SMALL,
    ).eval()  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(4, 8), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4, latent_channels=4,
    ).eval()  # fmt: skip
    words = {"": 0.0, "a cube": 1.0}
    pipeline = SimpleNamespace(
        unet=unet, vae=vae, scheduler=diffusers.DDPMScheduler(),
        encode_prompt=lambda prompts, device, count, guidance: (torch.tensor([words[p] for p in prompts]).view(-1, 1, 1).expand(-1, 3, 6), None),
    )  # fmt: skip
    denoiser, level = PipelineDenoiser(pipeline), torch.tensor(2.0)
    pictures = torch.rand(2, 3, 16, 16, generator=generator()) * 2 - 1
    codes = denoiser.encode(pictures)
    assert torch.allclose(codes, vae.encode(pictures).latent_dist.mean * vae.config.scaling_factor)
    assert torch.allclose(denoiser.decode(codes), vae.decode(vae.encode(pictures).latent_dist.mean).sample, atol=1e-5)
    told, untold = denoiser.said(["a cube"] * 2), denoiser.said([""] * 2)
    guided = classifier_free(lambda x, at: denoiser(x, at, **told), lambda x, at: denoiser(x, at, **untold), 3.0)
    here, nowhere = denoiser(codes, level, **told).picture, denoiser(codes, level, **untold).picture
    assert not torch.allclose(here, nowhere, atol=1e-4)
    assert torch.allclose(guided(codes, level).picture, nowhere + 3 * (here - nowhere), atol=1e-4)


def test_what_is_no_such_pipeline_is_refused():
    with pytest.raises(NerfcoreError, match="alphas_cumprod"):
        PipelineDenoiser(SimpleNamespace(scheduler=None))
    pipeline = pixels()
    pipeline.scheduler.register_to_config(prediction_type="flow")
    with pytest.raises(NerfcoreError, match="flow"):
        PipelineDenoiser(pipeline)
