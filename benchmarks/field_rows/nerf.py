"""NeRF in small: the chair at 100 x 100 pixels, and what its coarse network is worth.

``quality``: four layers of 128 neurons, 32 stratified samples a ray and 32 that the coarse network places, for 12
minutes of the 20 that are asked for. ``hierarchical`` and ``uniform`` ask their networks equally often, 48 times a ray:
the former the coarse one 16 times and the fine one 32 times, the latter its only one. As many rays and steps for both,
each seed. 48 samples are few enough to miss what is thin; at 96 the two do not differ by more than seeds do, for a
pixel of so small a picture is no finer than that. Scores are over every eighth held-out view.
"""

from __future__ import annotations

from statistics import mean

import nerfcore

from ._held_out import every_eighth

MODULES = ("nerfcore.fields.nerf",)
TARGET = dict(psnr=24.0, hierarchical_gains=0.0)  # dB
MINUTES, STEPS, RAYS = 12.0, 2500, 170
ARMS = {"hierarchical": (16, 16), "uniform": (48, 0)}
KEPT = "psnr ssim steps train_seconds rays_per_second num_eval_images background".split()


def measure(options) -> dict:
    """The row: hierarchical sampling is better for every seed."""
    scene = every_eighth(nerfcore.load_scene(options.folder / "chair", downscale=4))
    settings = dict(field="nerf", preset="fast", background="white")
    quality = nerfcore.train(scene, minutes=options.share * MINUTES, seed=options.seeds[0], **settings).metrics
    arms = {name: [] for name in ARMS}
    for seed in options.seeds:
        for name, num_samples in ARMS.items():
            run = nerfcore.train(
                scene, steps=max(round(options.share * STEPS), 1), seed=seed, samples_per_step=RAYS * sum(num_samples),
                min_rays=RAYS, field_config=dict(num_samples=num_samples), **settings,
            )
            arms[name].append(run.metrics["psnr"])
    gains = [h - u for h, u in zip(arms["hierarchical"], arms["uniform"], strict=True)]
    return dict(
        holds=quality["psnr"] >= TARGET["psnr"] and min(gains) > TARGET["hierarchical_gains"],
        quality={name: quality[name] for name in KEPT}, seeds=options.seeds, steps=STEPS, rays_per_step=RAYS,
        hierarchical=arms["hierarchical"], uniform=arms["uniform"], hierarchical_gains=mean(gains),
    )
