"""Budgets, and learning-rate schedules as functions of how much of one is spent."""

from __future__ import annotations

import math

from nerfcore.errors import NerfcoreError

WARM_UP_STEPS = 20


def cosine_decay(fraction: float, step: int, first: float, last: float) -> float:
    """From ``first`` to ``last`` along half a cosine as ``fraction`` of the budget goes from 0 to 1
    (Loshchilov and Hutter 2017), after a linear warm-up over the first steps."""
    mix = 0.5 * (1 + math.cos(math.pi * min(max(fraction, 0.0), 1.0)))
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (last + (first - last) * mix)


def minutes_or_steps(minutes: float | None, steps: int | None, default: float) -> float | None:
    """The minutes of a budget, ``default`` where neither is given. Raises NerfcoreError where both are, or none is
    left."""
    if minutes is not None and steps is not None:
        raise NerfcoreError(f"give minutes or steps, not both: got minutes={minutes}, steps={steps}")
    if minutes is not None and not minutes > 0 or steps is not None and steps < 1:
        raise NerfcoreError(f"the budget must be positive, got minutes={minutes}, steps={steps}")
    return default if minutes is None and steps is None else minutes
