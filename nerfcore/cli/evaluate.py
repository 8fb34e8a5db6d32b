"""`nerfcore eval`"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from nerfcore.cli.options import Background, Hardware, ScenePath, UsesModel, scene_of_run


@dataclass
class Eval(Hardware, UsesModel):
    """Scores a model on the held-out views of a scene."""

    scene: Positional[ScenePath] = None
    """Scene folder; default: the scene of the run."""
    downscale: int | None = None
    """Size of the photos, one K-th; default: as in training."""
    background: Background | None = None
    """What RGBA photos and the model are composited on; default: as in training, white if that was random."""
    settle: bool = False
    """First move held-out cameras to where the model explains their photographs best."""
    json: Path | None = None
    """Also write the scores, image by image, to this file."""

    def run(self) -> int:
        import nerfcore
        from nerfcore.cli.console import print_table, score_rows
        from nerfcore.files import write_file

        model = nerfcore.load(self.model, self.device, self.backend)
        downscale = self.downscale or model.header["config"]["downscale"]
        scene = nerfcore.load_scene(self.scene or scene_of_run(self.folder()), downscale)
        metrics = nerfcore.evaluate(model, scene, self.background, self.settle).metrics
        for image in metrics["per_image"]:
            print(f"{image['psnr']:6.2f} dB  {image['ssim']:.4f}  {image['name']}")
        print_table(score_rows(metrics))
        if self.json:
            write_file(self.json, json.dumps(dict(schema=1, **metrics), indent=1))
        return 0
