"""What is the hash grid worth?  The chair at 200 x 200 pixels: grid and small networks against γ(x) and a large one.

Fields, rays and steps apart all is the same: marching, occupancy, loss, scores. The hash grid has a twentieth of the
time. Scores are over every eighth held-out view.
"""

from __future__ import annotations

import nerfcore

from ._held_out import every_eighth

MODULES = ("nerfcore.fields.frequency",)
TARGET = dict(share_of_time=1 / 20, gain=0.0)  # dB, at least
MINUTES = 6.0
KEPT = "psnr ssim steps train_seconds rays_per_second samples_per_second num_eval_images background".split()


def measure(options) -> dict:
    """The row: the worst of the seeds of the hash grid, against one run with frequencies."""
    scene = every_eighth(nerfcore.load_scene(options.folder / "chair", downscale=2))

    def trained(field: str, share: float, seed: int) -> dict:
        minutes = options.share * share * MINUTES
        metrics = nerfcore.train(scene, field=field, minutes=minutes, seed=seed, background="white").metrics
        return {name: metrics[name] for name in KEPT}

    frequency = trained("frequency", 1.0, options.seeds[0])
    hashed = [trained("ngp", TARGET["share_of_time"], seed) for seed in options.seeds]
    gain = min(run["psnr"] for run in hashed) - frequency["psnr"]
    return dict(holds=gain >= TARGET["gain"], gain=gain, seeds=options.seeds, hash=hashed, frequency=frequency)
