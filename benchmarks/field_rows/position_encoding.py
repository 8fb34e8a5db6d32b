"""Is the sinusoidal position encoding what transformers rely on?

Over 2,048 places at widths that transformers have: how far a shift is from one rotation for all places, how far the dot
product of two places is from a function of their offset alone, whether it falls over the first half turn of the
quickest pair and, on average, over the turns after it, and the largest number of any encoding.
"""

from __future__ import annotations

import math

import torch

from nerfcore.blocks.encoding import position_encoding, position_turn

MODULES = ("nerfcore.blocks.encoding",)
PLACES, WIDTHS, SHIFTS = 2048, (64, 128, 512), (1, 5, 100)
TARGET = {"rotation_error": 1e-9, "offset_error": 1e-9, "largest": 1.0}  # at most; and the product falls
FALLING_TURNS = 4


def of_width(width: int) -> dict:
    """Of encodings of one width, in float64; the largest number in float32."""
    place = torch.arange(PLACES, dtype=torch.float64)
    encoded = position_encoding(place, width)
    rotation_error = 0.0
    for shift in SHIFTS:
        turn = shift * position_turn(width)
        blocks = torch.stack((turn.cos(), turn.sin(), -turn.sin(), turn.cos()), -1).view(-1, 2, 2)
        moved = encoded @ torch.block_diag(*blocks).T
        rotation_error = max(rotation_error, (moved - position_encoding(place + shift, width)).abs().max().item())
    gram = encoded @ encoded.T
    by_offset = [gram.diagonal(offset) for offset in range(PLACES)]
    offset_error = max((d.max() - d.min()).item() for d in by_offset) / gram[0, 0].item()
    half_turn = position_encoding(torch.linspace(0, math.pi, 50, dtype=torch.float64), width)
    first_half = half_turn @ half_turn[0]
    turns = position_encoding(torch.linspace(0, 2 * math.pi * FALLING_TURNS, 1000 * FALLING_TURNS).double(), width)
    turns = (turns @ turns[0]).view(FALLING_TURNS, -1).mean(1)
    return {
        "width": width,
        "rotation_error": rotation_error,
        "offset_error": offset_error,
        "falls": bool((first_half.diff() < 0).all() and (turns.diff() < 0).all()),
        "by_turn": (turns / gram[0, 0]).tolist(),
        "largest": position_encoding(torch.arange(PLACES), width).abs().max().item(),
    }


def measure(options) -> dict:
    """The row: the worst figures over the widths."""
    found = [of_width(width) for width in WIDTHS]
    worst = {name: max(w[name] for w in found) for name in TARGET}
    falls = all(w["falls"] for w in found)
    holds = falls and all(worst[name] <= most for name, most in TARGET.items())
    return dict(holds=holds, **worst, falls=falls, widths=found)
