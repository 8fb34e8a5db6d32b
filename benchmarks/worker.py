"""A library in a process of its own, which does its turns when it is told to through a pipe: so the thread pools of two
libraries never meet, and each counts its own CPU time."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import numpy as np

PACKAGES = {
    "nerfcore": "nerfcore", "torch": "torch", "numba": "numba", "taichi": "taichi", "drjit": "drjit", "vtk": "vtk",
    "skimage": "scikit-image", "mcubes": "PyMCubes",
}
"""The package that holds each library, by the name that it is imported by."""
PATIENCE = 120  # seconds that a library may take to prepare, or for one turn


class PeerError(Exception):
    """A library cannot take part; the message is one sentence that says why."""


def absence(library: str) -> str:
    """Why a library cannot take part, in one sentence; empty where it is installed."""
    if importlib.util.find_spec(library) is None:
        return f"{PACKAGES[library]} is not installed (pip install {PACKAGES[library]})"
    return ""


class Worker:
    """One library on so many threads. ``prepare`` chooses what the calls after it are about."""

    def __init__(self, library: str, threads: int):
        if reason := absence(library):
            raise PeerError(reason)
        self.library = library
        self.pipe, other = Pipe()
        fixed = {
            name: str(threads)
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VTK_SMP_MAX_THREADS")
        }
        fixed |= {"OMP_WAIT_POLICY": "PASSIVE", "ENABLE_TAICHI_HEADER_PRINT": "0"}
        words = [sys.executable, __file__, str(other.fileno()), str(threads)]
        self.process = subprocess.Popen(
            words, env=os.environ | fixed, pass_fds=[other.fileno()], stdout=subprocess.DEVNULL
        )
        other.close()

    def prepare(self, op: str, work: object) -> None:
        """Makes ready for the work of ``arms/OP.py``, and does it once."""
        self._ask("prepare", op, self.library, work)

    def result(self) -> dict[str, np.ndarray]:
        """Of the last call."""
        return self._ask("result")

    def turn(self, calls: int):
        """A :class:`timing.Turn` of so many calls."""
        return self._ask("turn", calls)

    def rest(self) -> None:
        """Gives back the memory of what was prepared."""
        self._ask("rest")

    def close(self) -> None:
        self.pipe.close()
        self.process.wait()

    def _ask(self, *question):
        try:
            self.pipe.send(question)
            if not self.pipe.poll(PATIENCE):
                self.process.kill()
                raise PeerError(f"{self.library} took longer than {PATIENCE} s")
            succeeded, answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise PeerError(f"the process of {self.library} ended") from error
        if not succeeded:
            raise PeerError(answer)
        return answer


def serve(pipe: Connection, threads: int) -> None:
    """Answers until the other end closes."""
    from timing import one_turn

    arm = None

    def prepare(op, library, work):
        nonlocal arm
        arm = None  # gives back the memory
        arm = importlib.import_module(f"arms.{op}").ARMS[library](work, threads)
        arm.step()

    def rest():
        nonlocal arm
        arm = None

    answers = {
        "prepare": prepare, "result": lambda: arm.result(), "turn": lambda calls: one_turn(arm.step, threads, calls),
        "rest": rest,
    }
    with contextlib.suppress(EOFError):
        while True:
            what, *arguments = pipe.recv()
            try:
                answer = (True, answers[what](*arguments))
            except Exception as error:  # whatever a library raises is the finding
                lines = str(error).strip().splitlines()
                answer = (False, f"{type(error).__name__}: {lines[0][:200] if lines else ''}")
            pipe.send(answer)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])), int(sys.argv[2]))
