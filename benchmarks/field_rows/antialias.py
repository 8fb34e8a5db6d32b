"""Do pictures at lower resolutions than those of training flicker?  The chair, trained at 400 x 400 pixels.

The same field with and without widths of pixels, for as many steps, then scored at all resolutions against box means of
the held-out photographs.
"""

from __future__ import annotations

from statistics import mean

import nerfcore

MODULES = ("nerfcore.training.run",)
TARGET = dict(gain_at_an_eighth=2.0)  # dB
STEPS, FACTORS = 2500, (1, 2, 4, 8)


def measure(options) -> dict:
    """The row: means over the seeds."""
    scenes = {factor: nerfcore.load_scene(options.folder / "chair", downscale=factor) for factor in FACTORS}
    psnr: dict[str, dict[int, list[float]]] = {}
    for name, antialias in (("points", False), ("pixels", True)):
        psnr[name] = {factor: [] for factor in FACTORS}
        for seed in options.seeds:
            steps = max(round(options.share * STEPS), 1)
            config = dict(antialias=antialias)
            run = nerfcore.train(scenes[1], steps=steps, seed=seed, background="white", field_config=config)
            for factor, scene in scenes.items():
                psnr[name][factor].append(nerfcore.evaluate(run.model, scene).metrics["psnr"])
    means = {name: {factor: mean(values) for factor, values in of.items()} for name, of in psnr.items()}
    gains = {factor: means["pixels"][factor] - means["points"][factor] for factor in FACTORS}
    holds = gains[8] >= TARGET["gain_at_an_eighth"]
    return dict(holds=holds, steps=STEPS, seeds=options.seeds, psnr=means, gains=gains, runs=psnr)
