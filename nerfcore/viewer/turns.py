"""Training and looking take turns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition

SHARE = 0.3
"""Of the time, at most, that a training gives away to be looked at."""


class Turns:
    """Lets one thread look at a field between the steps of the thread that trains it, never during one, for a share of
    the time. Without a training, or while it is paused or over, whoever looks need not wait.

    The trainer calls :meth:`between_steps` before each step, and :meth:`finish` after the last; others look inside
    ``with looking():``.
    """

    def __init__(self, share: float = SHARE, clock: Callable[[], float] = time.perf_counter):
        self.share, self.clock = share, clock
        self.paused = False
        self._changed = Condition()
        self._training = self._granted = False
        self._waiting = self._looking = 0
        self._next_grant = -math.inf

    def between_steps(self) -> float:
        """Lets one look happen if it is due, or all while paused; returns the seconds spent in pause."""
        with self._changed:
            self._training, began = True, self.clock()
            self._changed.wait_for(lambda: not self.paused and not self._looking)
            now = self.clock()
            if self._waiting and now >= self._next_grant:
                self._granted = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._granted and not self._looking)
                given = self.clock() - now
                self._next_grant = now + given / self.share
            return now - began

    def finish(self) -> None:
        """There is no step after this."""
        with self._changed:
            self._training = self.paused = False
            self._changed.notify_all()

    def pause(self, paused: bool) -> None:
        """Stops the training before its next step, or lets it go on."""
        with self._changed:
            self.paused = paused
            self._changed.notify_all()

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Waits for a turn; inside, no step is made."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: self._granted or self.paused or not self._training)
            self._waiting -= 1
            self._granted = False
            self._looking += 1
        try:
            yield
        finally:
            with self._changed:
                self._looking -= 1
                self._changed.notify_all()
