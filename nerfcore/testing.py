"""The tolerance rule that every comparison of a kernel with its reference uses."""

from __future__ import annotations

import torch
from torch import Tensor


def assert_matches(kernel: Tensor, yardstick: Tensor, truth: Tensor, floor: float = 1e-6, what: str = "result") -> None:
    """Asserts that a kernel is as accurate as plain PyTorch in the same type.

    truth: the reference in float64. yardstick: the reference in the kernel's own type. The kernel's largest error
    against the truth must be at most three times the yardstick's, plus ``floor`` times the truth's largest magnitude.
    """
    if kernel.shape != truth.shape:
        raise AssertionError(f"{what}: shape {list(kernel.shape)}, expected {list(truth.shape)}")
    if truth.numel() == 0:
        return
    if not torch.isfinite(kernel).all():
        raise AssertionError(f"{what}: not finite")
    truth = truth.double().cpu()
    error = (kernel.detach().double().cpu() - truth).abs().max().item()
    allowed = 3 * (yardstick.detach().double().cpu() - truth).abs().max().item() + floor * max(
        truth.abs().max().item(), 1e-30
    )
    if error > allowed:
        raise AssertionError(f"{what}: error {error:.3e} exceeds {allowed:.3e}")
