"""One thread renders for all browsers: few pixels while a camera moves, more and more once it rests."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import Condition, Thread

from nerfcore.viewer.pictures import Picture, View

FRAME_SECONDS = 0.07  # a picture while the camera moves: with what else there is to do, some ten a second
STILL_SECONDS = 0.15  # since the last movement, before a picture is refined
REFINE_SECONDS = 0.6  # a picture at full size that takes longer than this has others between
FIRST_RATE = 2e5  # pixels a second, before one has been rendered
FEWEST_PIXELS = 32 * 32  # any fewer show nothing


def first_scale(pixels: int, rate: float) -> float:
    """How many times the full side lengths a picture has while the camera moves; pixels: of the full one; rate: pixels
    a second."""
    wanted = max(FRAME_SECONDS * rate, FEWEST_PIXELS)
    return min(1.0, math.sqrt(wanted / pixels))


def next_scale(scale: float, pixels: int, rate: float) -> float | None:
    """The scale after a picture of the given one, while the camera rests; None if that was the last."""
    if scale >= 1:
        return None
    return 1.0 if pixels <= REFINE_SECONDS * rate else min(1.0, 2 * scale)


@dataclass
class _Wish:
    """What one browser wants, since when, at which scale it has it already, and whether there is nothing to add."""

    view: View
    show: Callable[[Picture], None]
    since: float
    scale: float | None = None
    done: bool = False


class RenderWorker:
    """Renders what browsers want in a thread of its own.

    paint(view, outdated) gives a picture, or None once ``outdated()``; looking: a context in which it may be called.
    A new wish of a browser replaces its last one, whose refinement is given up; browsers have their turns one after
    another, first pictures before refinements. An exception of ``paint`` goes to ``failed``, and the wish is dropped.
    """

    def __init__(
        self, paint: Callable[[View, Callable[[], bool]], Picture | None],
        looking: Callable[[], AbstractContextManager] = nullcontext,
        failed: Callable[[Exception], None] = lambda error: None,
    ):
        self.paint, self.looking, self.failed = paint, looking, failed
        self._wishes: dict[int, _Wish] = {}
        self._served: dict[int, float] = {}  # when each browser last had a picture
        self._rates: dict[str, float] = {}  # pixels a second, by mode
        self._changed, self._closed = Condition(), False
        self._thread = Thread(target=self._run, name="nerfcore viewer", daemon=True)
        self._thread.start()

    def wish(self, browser: int, view: View, show: Callable[[Picture], None]) -> None:
        """What a browser wants to see from now on; ``show`` gets each picture, in the worker's thread."""
        with self._changed:
            self._wishes[browser] = _Wish(view, show, time.monotonic())
            self._changed.notify_all()

    def again(self) -> None:
        """The model has changed: what rests is rendered again, at the size it has."""
        with self._changed:
            for wish in self._wishes.values():
                wish.done = False
            self._changed.notify_all()

    def forget(self, browser: int) -> None:
        """It has gone."""
        with self._changed:
            self._wishes.pop(browser, None)
            self._served.pop(browser, None)

    def close(self) -> None:
        """Ends the thread, after the picture it is at."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(10)

    def _run(self) -> None:
        while (work := self._next()) is not None:
            browser, wish, scale = work
            picture = None
            try:
                picture = self._painted(browser, wish, scale)
                if picture is not None and browser in self._wishes:
                    wish.show(picture)
            except Exception as error:  # the thread serves other browsers too
                self.failed(error)
            with self._changed:
                if browser in self._wishes:
                    self._served[browser] = time.monotonic()
                if picture is not None:
                    wish.scale = scale
                wish.done = picture is None or self._scale_after(wish) is None

    def _painted(self, browser: int, wish: _Wish, scale: float) -> Picture | None:
        view, refines = wish.view.scaled(scale), wish.scale is not None

        def outdated() -> bool:
            return self._closed or refines and self._wishes.get(browser) is not wish

        with self.looking():
            began = time.perf_counter()
            picture = self.paint(view, outdated)
            if picture is not None:
                self._rates[view.mode] = view.width * view.height / max(time.perf_counter() - began, 1e-6)
        return picture

    def _next(self) -> tuple[int, _Wish, float] | None:
        """Waits for something to do: a browser, its wish and the scale; None once closed."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                todo = [(b, w) for b, w in self._wishes.items() if not w.done]
                ready = [(b, w) for b, w in todo if w.scale is None or now - w.since >= STILL_SECONDS]
                if ready:
                    browser, wish = min(ready, key=lambda at: (at[1].scale is not None, self._served.get(at[0], 0.0)))
                    return browser, wish, self._scale_after(wish) or 1.0
                rests = [STILL_SECONDS - (now - wish.since) for _, wish in todo]
                self._changed.wait(min(rests) if rests else None)
            return None

    def _scale_after(self, wish: _Wish) -> float | None:
        pixels, rate = wish.view.width * wish.view.height, self._rates.get(wish.view.mode, FIRST_RATE)
        return first_scale(pixels, rate) if wish.scale is None else next_scale(wish.scale, pixels, rate)
