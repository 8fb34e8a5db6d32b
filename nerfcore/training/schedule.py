"""Learning-rate schedules as functions of progress."""

from __future__ import annotations

import math

WARM_UP_STEPS = 20


def cosine_decay(fraction: float, step: int, first: float, last: float) -> float:
    """From ``first`` to ``last`` along half a cosine as ``fraction`` of the budget goes from 0 to 1
    (Loshchilov and Hutter 2017), after a linear warm-up over the first steps."""
    mix = 0.5 * (1 + math.cos(math.pi * min(max(fraction, 0.0), 1.0)))
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (last + (first - last) * mix)
