"""Scores of pictures."""

from nerfcore.metrics.image import psnr, ssim

__all__ = ["psnr", "ssim"]
