"""Picture scores against closed forms and scikit-image."""

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from nerfcore.metrics import psnr, ssim


def pictures(height=37, width=52, noise=0.1):
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.linspace(0, 6, height)[:, None, None], torch.linspace(0, 9, width)[None, :, None]
    truth = 0.5 + 0.5 * torch.sin(rows + columns * torch.tensor([1.0, 0.5, 2.0]))
    return (truth + noise * torch.randn(truth.shape, generator=generator)).clamp(0, 1), truth


def test_psnr_of_a_constant_error():
    assert psnr(torch.full((4, 5, 3), 0.3), torch.full((4, 5, 3), 0.2)) == pytest.approx(20.0, abs=1e-5)
    assert psnr(torch.zeros(2, 2, 3), torch.ones(2, 2, 3)) == 0.0


def test_psnr_is_that_of_scikit_image():
    pred, truth = pictures()
    expected = peak_signal_noise_ratio(truth.double().numpy(), pred.double().numpy(), data_range=1)
    assert psnr(pred, truth) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1, 0.5])
def test_ssim_is_that_of_scikit_image(noise):
    pred, truth = pictures(noise=noise)
    expected = structural_similarity(
        truth.double().numpy(), pred.double().numpy(), channel_axis=2, data_range=1,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )
    assert ssim(pred, truth) == pytest.approx(expected, abs=1e-9)


def test_equal_pictures():
    _, truth = pictures()
    assert psnr(truth, truth) == math.inf
    assert ssim(truth, truth) == pytest.approx(1.0, abs=1e-12)


def test_ssim_of_flat_pictures_has_a_closed_form():
    a, b = 0.25, 0.75
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    assert ssim(torch.full((11, 11, 3), a), torch.full((11, 11, 3), b)) == pytest.approx(expected, abs=1e-9)


def test_predictions_are_clipped():
    pred, truth = pictures()
    wild = torch.where(pred > 0.9, 5.0, pred)
    assert psnr(wild, truth) == psnr(wild.clamp(0, 1), truth)
    assert ssim(wild, truth) == ssim(wild.clamp(0, 1), truth)


def test_nan_is_not_hidden():
    pred, truth = pictures()
    pred[0, 0, 0] = math.nan
    assert math.isnan(psnr(pred, truth)) and math.isnan(ssim(pred, truth))


@pytest.mark.parametrize(
    ("pred", "truth", "words"),
    [
        (torch.zeros(12, 12, 3), torch.zeros(12, 12, 4), r"\[H, W, C\]"),
        (torch.zeros(1, 12, 12, 3), torch.zeros(1, 12, 12, 3), r"\[H, W, C\]"),
        (torch.zeros(10, 12, 3), torch.zeros(10, 12, 3), "at least 11x11"),
    ],
)
def test_errors_in_words(pred, truth, words):
    with pytest.raises(ValueError, match=words):
        ssim(pred, truth)


def test_ignored_pixels_do_not_count():
    pred, truth = pictures()
    ignored = torch.zeros(37, 52, dtype=torch.bool)
    ignored[3:9, 30:] = True
    wrong = torch.where(ignored[..., None], 1 - truth, pred)
    assert psnr(wrong, truth, ignored) == psnr(pred, truth, ignored)
    assert ssim(wrong, truth, ignored) == ssim(pred, truth, ignored)
    error = (pred - truth).double().square()[~ignored].mean().item()
    assert psnr(pred, truth, ignored) == pytest.approx(-10 * math.log10(error), abs=1e-9)


def test_ssim_is_over_windows_without_an_ignored_pixel():
    pred, truth = pictures()
    ignored = torch.zeros(37, 52, dtype=torch.bool)
    ignored[:, 20] = True
    parts = [ssim(pred[:, part], truth[:, part]) for part in (slice(0, 20), slice(21, 52))]
    assert ssim(pred, truth, ignored) == pytest.approx((10 * parts[0] + 21 * parts[1]) / 31, abs=1e-9)


def test_scores_of_nothing_are_nan():
    pred, truth = pictures()
    ignored = torch.ones(37, 52, dtype=torch.bool)
    assert math.isnan(psnr(pred, truth, ignored)) and math.isnan(ssim(pred, truth, ignored))
