"""Scores of pictures: of one beside its truth, and of many beside many."""

from nerfcore.metrics.features import Classifier, inception_features, train_classifier
from nerfcore.metrics.generative import (
    bootstrap_error,
    coverage,
    density,
    frechet_distance,
    kernel_distance,
    pixel_gaussian,
    precision_recall,
)
from nerfcore.metrics.image import psnr, ssim

__all__ = [
    "Classifier",
    "bootstrap_error",
    "coverage",
    "density",
    "frechet_distance",
    "inception_features",
    "kernel_distance",
    "pixel_gaussian",
    "precision_recall",
    "psnr",
    "ssim",
    "train_classifier",
]
