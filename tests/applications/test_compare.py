"""Fields side by side on a tiny scene."""

import json

import imageio.v3 as iio
import numpy as np
import pytest

import nerfcore
from nerfcore.applications.compare import compare, side_by_side
from nerfcore.errors import NerfcoreError

TINY = dict(steps=3, samples_per_step=2048, min_rays=32, occupancy_resolution=32, preset="fast", device="cpu")


def test_a_row_a_column_and_a_run_folder_for_each_field(tmp_path):
    scene = nerfcore.load_scene(downscale=8)
    begun = []
    rows = compare(scene, ["ngp", "nerf"], tmp_path, on_progress=lambda name: begun.append(name), **TINY)
    assert [row["field"] for row in rows] == begun == ["ngp", "nerf"]
    assert json.loads((tmp_path / "comparison.json").read_text())["rows"] == rows
    lines = (tmp_path / "comparison.md").read_text().splitlines()
    assert lines[2].startswith(f"| ngp | {rows[0]['psnr']:.2f} dB |") and len(lines) == 4
    picture = iio.imread(tmp_path / "comparison.png")
    height, width = scene.test.image(0).shape[:2]
    larger = -(-120 // width)
    width, height = larger * width, larger * height
    assert picture.shape == (24 + 6 * height, 3 * width, 3)
    for name in begun:
        again = nerfcore.load(tmp_path / name, device="cpu")
        alone = side_by_side(scene, {name: again}, "white")
        assert alone.shape[1] == 2 * width
        column = picture[24:, begun.index(name) * width + width :][:, :width]
        assert np.array_equal(alone[24:, width:], column)


def test_unknown_fields_are_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(NerfcoreError, match="there is no field 'ngq'"):
        compare(None, ["ngp", "ngq"], tmp_path / "out", **TINY)
    assert not (tmp_path / "out").exists()
