"""Scores against scikit-image on truth composited by hand · where held-out views are after corrections of cameras."""

import dataclasses

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import nerfcore
from nerfcore.cameras import Similarity, rotation_exp
from nerfcore.training.evaluate import evaluate
from tests.analytic import Ball, model_of

COLORS = {"white": 1.0, "black": 0.0}


@pytest.fixture(scope="module")
def views():
    """Three held-out views of the built-in scene, 50 x 50, RGBA."""
    test = nerfcore.load_scene(downscale=4).test
    return dataclasses.replace(test, frames=test.frames[:3], offsets=test.offsets[:4])


@pytest.mark.parametrize("background", COLORS)
def test_means_of_the_scores_of_each_image(views, background):
    model = model_of(Ball(radius=0.2, rgb=(0.5, 0.4, 0.3)), scale=0.33)
    result = evaluate(model, views, background)
    scores = []
    for i, frame in enumerate(views.frames):
        rgba = views.image(i).numpy().astype(np.float64)
        truth = rgba[..., :3] * rgba[..., 3:] + COLORS[background] * (1 - rgba[..., 3:])
        picture = np.clip(
            model.render_image(frame.camera, frame.pose, background)["rgb"].numpy().astype(np.float64), 0, 1
        )
        similarity = structural_similarity(
            truth,
            picture,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            channel_axis=-1,
        )
        scores.append((peak_signal_noise_ratio(truth, picture, data_range=1.0), similarity))
        name, shown_truth, prediction = result.pictures[i]
        assert name == frame.name and np.allclose(shown_truth, truth, atol=1e-6) and np.allclose(prediction, picture)
    psnr, ssim = np.mean(scores, axis=0)
    assert result.metrics["psnr"] == pytest.approx(psnr, abs=1e-3) and result.metrics["ssim"] == pytest.approx(
        ssim, abs=1e-4
    )
    assert result.metrics["num_eval_images"] == 3 and result.metrics["background"] == background
    assert [p["psnr"] for p in result.metrics["per_image"]] == pytest.approx([s[0] for s in scores], abs=1e-3)


def test_a_scene_is_scored_on_its_test_views(views):
    scene = dataclasses.replace(nerfcore.load_scene(downscale=4), test=views)
    model = model_of(Ball())
    assert evaluate(model, scene).metrics == evaluate(model, views).metrics


def test_held_out_views_follow_corrected_cameras(views):
    """Training moved all cameras by a similarity and found a longer lens: so are the held-out views' seen, and those of
    another capture are not."""
    scene = dataclasses.replace(nerfcore.load_scene(downscale=4), test=views)
    turn = rotation_exp(torch.tensor([0.1, -0.05, 0.2], dtype=torch.float64))
    moved = Similarity(1.1, turn, torch.tensor([0.3, -0.1, 0.2], dtype=torch.float64))

    def corrected(frame):
        camera = dataclasses.replace(frame.camera, fl_x=1.2 * frame.camera.fl_x, fl_y=1.2 * frame.camera.fl_y)
        return dataclasses.replace(frame, camera=camera, pose=moved.poses(frame.pose))

    model = model_of(Ball(), scale=0.33)
    model.cameras = [(f.name, f.camera, f.pose) for f in map(corrected, scene.train.frames)]
    as_given = evaluate(model, views).metrics
    assert evaluate(model, scene).metrics == as_given
    model.header = dict(config=dict(refine="cameras"))
    expected = evaluate(model, dataclasses.replace(views, frames=[corrected(f) for f in views.frames])).metrics
    assert evaluate(model, scene).metrics["psnr"] == pytest.approx(expected["psnr"], rel=1e-4)
    assert abs(expected["psnr"] - as_given["psnr"]) > 0.01
    model.cameras = [("another", camera, pose) for _, camera, pose in model.cameras]
    assert evaluate(model, scene).metrics == as_given
