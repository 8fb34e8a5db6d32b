"""How close a rendered picture is to the photograph. Pictures are [H, W, C]; predictions are clipped to [0, 1].

ignored, bool [H, W]: pixels that do not count. The score of a picture of which nothing counts is NaN.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d

WINDOW_TAPS = 11
WINDOW_SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2


def psnr(pred: Tensor, truth: Tensor, ignored: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB for values in [0, 1], over all pixels and channels; infinite for equal pictures.

    >>> round(psnr(torch.full((8, 8, 3), 0.6), torch.full((8, 8, 3), 0.5)), 3)
    20.0
    """
    pred, truth = _pair(pred, truth)
    error = _mean((pred - truth).square(), ignored)
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(pred: Tensor, truth: Tensor, ignored: Tensor | None = None) -> float:
    """Mean structural similarity (Wang et al. 2004) for values in [0, 1]; Gaussian window, 11 x 11 taps, sigma 1.5.

    Population variances, windows that lie wholly inside the picture and hold no ignored pixel, mean over channels.
    Raises ValueError for pictures smaller than the window.
    """
    pred, truth = _pair(pred, truth)
    if min(pred.shape[:2]) < WINDOW_TAPS:
        raise ValueError(f"ssim needs pictures of at least {WINDOW_TAPS}x{WINDOW_TAPS} pixels, got {list(pred.shape)}")
    x, y = pred.movedim(-1, 0), truth.movedim(-1, 0)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = _window_means(torch.stack([x, y, x * x, y * y, x * y]))
    variance_x, variance_y, covariance = mean_xx - mean_x**2, mean_yy - mean_y**2, mean_xy - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    if ignored is not None:
        ignored = max_pool2d(ignored[None].float(), WINDOW_TAPS, stride=1)[0] > 0
    return _mean((luminance * structure).movedim(0, -1), ignored)


def _mean(values: Tensor, ignored: Tensor | None) -> float:
    """Of values [H, W, C] where pixels count."""
    return (values if ignored is None else values[~ignored]).mean().item()


def _pair(pred: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64: differences of squares cancel."""
    if pred.shape != truth.shape or pred.ndim != 3:
        raise ValueError(f"pictures must both be [H, W, C], got {list(pred.shape)} and {list(truth.shape)}")
    return pred.detach().double().clamp(0, 1), truth.detach().double()


def _window_means(maps: Tensor) -> Tensor:
    """Gaussian-weighted means over all windows inside maps [..., H, W]: [..., H - 10, W - 10]."""
    offset = torch.arange(WINDOW_TAPS, dtype=maps.dtype, device=maps.device) - WINDOW_TAPS // 2
    weight = torch.softmax(-0.5 * (offset / WINDOW_SIGMA) ** 2, dim=0)
    rows = conv2d(maps.flatten(0, -3)[:, None], weight[None, None, :, None])
    return conv2d(rows, weight[None, None, None, :]).squeeze(1).unflatten(0, maps.shape[:-2])
