"""A library in a process of its own, which does its turns when it is told to through a pipe.

So the thread pools of two libraries never meet, and each counts its own CPU time. All threads sleep while they wait,
and all processes keep the memory that they have freed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import subprocess
import sys
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from timing import Turn, one_turn

PACKAGES = {
    "nerfcore": "nerfcore", "torch": "torch", "numba": "numba", "taichi": "taichi", "drjit": "drjit", "vtk": "vtk",
    "skimage": "scikit-image", "mcubes": "PyMCubes",
}
"""The package that holds each library, by the name that it is imported by."""
CALLS_TO_SETTLE = 30  # the first calls find no memory of the right alignment that earlier ones have freed
SETTLING = 2.0  # seconds that they may take together
KEPT = 2**40  # bytes; what a process has freed mostly stays with it, so that few calls pay for new pages
PATIENCE = 120  # seconds that a library may take to prepare, or for one turn


class PeerError(Exception):
    """A library cannot take part; the message is one sentence that says why."""

    def __init__(self, library: str, sentence: str):
        super().__init__(sentence)
        self.library = library


def absence(library: str) -> str:
    """Why a library cannot take part, in one sentence; empty where it is installed."""
    if importlib.util.find_spec(library) is None:
        return f"{PACKAGES[library]} is not installed (pip install {PACKAGES[library]})"
    return ""


class Worker:
    """One library on so many threads, which its environment says; arms whose library needs it say it again."""

    def __init__(self, library: str, threads: int):
        if reason := absence(library):
            raise PeerError(library, reason)
        self.library = library
        self.pipe, other = Pipe()
        fixed = {
            name: str(threads)
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VTK_SMP_MAX_THREADS")
        }
        fixed |= {
            "OMP_WAIT_POLICY": "PASSIVE",
            "GLIBC_TUNABLES": f"glibc.malloc.mmap_threshold={KEPT}:glibc.malloc.trim_threshold={KEPT}",
        }
        words = [sys.executable, __file__, str(other.fileno()), str(threads)]
        self.process = subprocess.Popen(
            words, env=os.environ | fixed, pass_fds=[other.fileno()], stdout=subprocess.DEVNULL
        )
        other.close()

    def prepare(self, op: str, work: object, name: str = "") -> None:
        """Makes ready for the work of ``arms/OP.py``, and does it once. Works under several names stay side by side."""
        self._ask("prepare", name, op, self.library, work)

    def settle(self, name: str = "") -> None:
        """Does it a few times more."""
        self._ask("settle", name)

    def result(self, name: str = "") -> dict[str, np.ndarray]:
        """Of the last call."""
        return self._ask("result", name)

    def turn(self, calls: int, name: str = "") -> Turn:
        return self._ask("turn", name, calls)

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
                raise PeerError(self.library, f"{self.library} took longer than {PATIENCE} s")
            succeeded, answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise PeerError(self.library, f"the process of {self.library} ended") from error
        if not succeeded:
            raise PeerError(self.library, f"{self.library} raised {answer}")
        return answer


def serve(pipe: Connection, threads: int) -> None:
    """Answers until the other end closes."""
    arms = {}

    def prepare(name, op, library, work):
        arms.pop(name, None)  # gives back its memory
        arms[name] = importlib.import_module(f"arms.{op}").ARMS[library](work, threads)
        arms[name].step()

    def settle(name):
        end = time.perf_counter() + SETTLING
        for _ in range(CALLS_TO_SETTLE):
            arms[name].step()
            if time.perf_counter() > end:
                break

    answers = {
        "prepare": prepare,
        "settle": settle,
        "result": lambda name: arms[name].result(),
        "turn": lambda name, calls: one_turn(arms[name].step, threads, calls),
        "rest": arms.clear,
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
