"""What each library offers for an operation, one module per operation, all with the same names:

``Work``         what is to be done, a frozen dataclass of numbers and words; ``small()`` is the same with less data
``inputs(work)`` its data, the same in every process: NumPy arrays by name
``truth(work)``  the results in float64, by the reference of nerfcore: NumPy arrays by name, gradients as ``grad_...``
``ARMS``         by library, a function (work, threads) -> :class:`Arm`
``cost(work)``   the :class:`Cost` that no implementation can avoid

ngp has only arms. An arm imports its library when it is called, so that a process holds only what it times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from limits import Limits


class Arm(NamedTuple):
    """``step()`` does the work once. ``result()``: what the last step computed, by the names of the truth."""

    step: Callable[[], object]
    result: Callable[[], dict[str, np.ndarray]]


class Cost(NamedTuple):
    """What the work needs at least: bytes from and to memory, flops, and accesses at random places; and the seconds of
    it on a machine with given limits, with the words that say how they are counted."""

    bytes: float
    flops: float
    random_accesses: float
    seconds: Callable[[Limits], float]
    counted: str
