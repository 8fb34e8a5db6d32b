"""Numbers as colours, in pictures for people."""

from __future__ import annotations

import torch
from torch import Tensor

RAMP = ((0, 0, 4), (66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164))  # "inferno"
ERROR_FULL_SCALE = 0.2  # mean absolute error of a pixel that gets the last colour


def ramp(values: Tensor) -> Tensor:
    """Colours [..., 3] in [0, 1] of values [...], from dark at 0 to bright at 1."""
    stops = torch.tensor(RAMP, dtype=torch.float32, device=values.device) / 255
    at = values.clamp(0, 1) * (len(RAMP) - 1)
    below = at.floor().clamp(max=len(RAMP) - 2).long()
    return torch.lerp(stops[below], stops[below + 1], (at - below)[..., None])


def error_colours(difference: Tensor) -> Tensor:
    """Colours [..., 3] of mean absolute errors [...] of pixels."""
    return ramp(difference / ERROR_FULL_SCALE)
