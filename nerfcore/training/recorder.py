"""Training steps as CUDA graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

RECORD_AFTER = 16
"""Runs of a step before it is recorded, which takes as long as tens of runs; some steps soon make way for others."""


class StepRecorder:
    """Runs training steps; where it ``records``, those that come often are recorded, each as a CUDA graph, and
    repeated: the host hands over a step in one call, not in a hundred launches that the GPU would wait for.

    A step must be recordable: it launches the same work on the same memory every time, reads what changes from tensors,
    leaves its results in tensors that were there before, draws random numbers from ``generator`` alone, and never lets
    the host wait. changed: tensors that a step changes, whose version counters must show that.
    """

    def __init__(self, records: bool, generator: torch.Generator, changed: Iterable[Tensor]):
        self.records, self.generator, self.changed = records, generator, list(changed)
        self.runs: Counter[Hashable] = Counter()
        self.graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        if records:
            self.stream, self.pool = torch.cuda.Stream(generator.device), torch.cuda.graph_pool_handle()

    def run(self, key: Hashable, step: Callable[[], None]) -> None:
        """Runs a step once. key: all that decides which work it launches; steps of equal keys are the same step."""
        if not self.records:
            step()
        elif self.runs[key] < RECORD_AFTER:
            self.runs[key] += 1
            self._beside(step)
        else:
            if key not in self.graphs:
                self.graphs[key] = self._record(step)
            self.graphs[key].replay()
            self._show_change()

    def _record(self, step: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """Nothing is computed here. Graphs share memory, because one runs after the other."""
        self._show_change()  # so that what follows a parameter, such as a copy in half precision, is renewed every time
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            step()
        return graph

    def _beside(self, step: Callable[[], None]) -> None:
        """On the stream of the records, where libraries prepare at first use what they cannot while recording."""
        current = torch.cuda.current_stream(self.generator.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            step()
        current.wait_stream(self.stream)

    def _show_change(self) -> None:
        for tensor in self.changed:
            increment_version(tensor)
