"""Timing by turns, in seconds: wall time, and the time that the cores were busy. Needs nothing but Python."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

SHORTEST_MEASUREMENT = 2e-4  # seconds; a faster call is repeated within one measurement
LONG_CALL = 0.5  # seconds
TASKS = Path("/proc/self/task")


@dataclass(frozen=True)
class Timing:
    """Seconds of one call. The median is what it took on this machine as busy as it was, the fastest what it takes when
    no other program interrupts it: on busy cores a short parallel call mostly waits for its own threads. busy (median)
    is what it kept the cores busy, see :func:`busy_seconds`: about the wall time on idle cores."""

    median: float
    fastest: float
    busy: float


class Turn(NamedTuple):
    """Seconds of one call, averaged over those of one turn."""

    wall: float
    busy: float


def take_turns(
    arms: dict[str, Callable[[int], Turn]], seconds: float, rounds: int = 5, turn: float = SHORTEST_MEASUREMENT
) -> dict[str, Timing]:
    """Times every arm, a function of the number of calls. They take turns, so that whatever else the machine does meets
    them alike: at least ``rounds`` turns each, more while ``seconds`` last. Each arm is called before; a turn is as
    many calls as last ``turn`` seconds."""
    calls, turns = dict.fromkeys(arms, 1), {name: [] for name in arms}
    for name, arm in arms.items():
        if arm(1).wall < LONG_CALL:  # else the first call stands for the next
            calls[name] = max(1, round(turn / max(arm(1).wall, 1e-7)))
    end = time.perf_counter() + seconds
    while len(next(iter(turns.values()))) < rounds or time.perf_counter() < end:
        for name, arm in arms.items():
            turns[name].append(arm(calls[name]))
    return {
        name: Timing(statistics.median(x.wall for x in t), min(x.wall for x in t), statistics.median(x.busy for x in t))
        for name, t in turns.items()
    }


def interleaved(
    arms: dict[str, Callable[[], object]], threads: int, seconds: float, rounds: int = 5,
    turn: float = SHORTEST_MEASUREMENT,
) -> dict[str, Timing]:
    """Times every arm in this process, on so many threads, see :func:`take_turns`."""
    return take_turns({name: partial(one_turn, arm, threads) for name, arm in arms.items()}, seconds, rounds, turn)


def one_turn(arm: Callable[[], object], threads: int, calls: int) -> Turn:
    """Calls an arm that runs on so many threads of this process."""
    before, start = thread_seconds(), time.perf_counter()
    for _ in range(calls):
        arm()
    wall, after = time.perf_counter() - start, thread_seconds()
    return Turn(wall / calls, (busy_seconds(before, after, threads) if before else wall) / calls)


def thread_seconds() -> dict[str, float]:
    """CPU time of every thread of this process by its number, and under "all" theirs together with that of threads that
    have ended. Empty where the system does not tell; then wall time stands for busy time."""
    seconds = {}
    for thread in TASKS.iterdir() if TASKS.is_dir() else ():
        with contextlib.suppress(OSError):  # it ended meanwhile
            seconds[thread.name] = int((thread / "schedstat").read_text().split()[0]) * 1e-9
    if seconds:  # the system brings the figures of threads that run up to date only when it asks the clock
        seconds[str(threading.get_native_id())] = time.thread_time()
        seconds["all"] = time.process_time()
    return seconds


def busy_seconds(before: dict[str, float], after: dict[str, float], threads: int) -> float:
    """The CPU time of the busiest thread, or all CPU time divided by the number of threads, whichever is larger.

    Other programs on the cores do not count. Threads must sleep while they wait (OMP_WAIT_POLICY=PASSIVE). A serial
    part on a thread of its own is understated.
    """
    spent = {thread: seconds - before.get(thread, 0.0) for thread, seconds in after.items()}
    together = spent.pop("all")
    return max([together / threads, *spent.values()])
