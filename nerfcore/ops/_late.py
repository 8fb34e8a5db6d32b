"""Numbers that a device computes and the host reads."""

from __future__ import annotations

import torch
from torch import Tensor


class LateNumber:
    """A number that is read again and again; on a GPU as it was at the reading before, so that the host need not wait
    until the device has come to the present one. Only the first reading waits."""

    def __init__(self):
        self._copy: Tensor | None = None
        self._copied: torch.cuda.Event | None = None

    def read(self, number: Tensor) -> float:
        """number []: as it will be once all that was asked of the device is done."""
        if not number.is_cuda:
            return number.item()
        if self._copy is None:
            self._copy, self._copied = torch.empty_like(number, device="cpu").pin_memory(), torch.cuda.Event()
            self._copy.copy_(number)
        self._copied.synchronize()  # done long ago, unless the host is ahead of the device by as much
        before = self._copy.item()
        self._copy.copy_(number, non_blocking=True)
        self._copied.record(torch.cuda.current_stream(number.device))
        return before
