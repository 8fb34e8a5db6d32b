"""What the command shows: progress while it works, a short table at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from nerfcore.training.report import compact, duration

PLAIN_LINE_SECONDS = 10.0


class TrainingDisplay:
    """Shows each progress report of :func:`nerfcore.train`: a bar on a terminal, elsewhere a line every ten seconds.

    A context manager; the object is the ``on_progress`` callback. lines: what two short lines say of a report.
    """

    def __init__(self, console: Console | None = None, lines: Callable[..., tuple[str, str]] | None = None):
        self.console, self._lines = console or Console(), lines or describe
        self.last = None
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=16), TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[text]}"),
            console=self.console, disable=not self.console.is_terminal, transient=True,
        )
        self._task = self._bar.add_task("loading", total=1.0, text="")
        self._said = -math.inf

    def __enter__(self) -> TrainingDisplay:
        self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()

    def __call__(self, progress) -> None:
        """Takes a :class:`nerfcore.training.trainer.Progress`."""
        if progress.stage == "ready":
            memory = f"memory: training needs at most {progress.memory_limit / 2**30:.1f} GiB beside the program itself"
            if progress.pool_bytes:
                pool = f"{progress.pool_bytes / 2**30:.1f} GiB on disk"
                memory += f"\nphotographs: too many for memory; drawn from a pool of {pool}"
            self.console.print(memory, highlight=False)
            return
        lines = self._lines(progress) if progress.stage == "training" else ()
        self._bar.update(self._task, description=progress.stage, completed=progress.fraction, text="\n".join(lines))
        now, new_stage = time.monotonic(), self.last is None or progress.stage != self.last.stage
        if not self.console.is_terminal and (new_stage or now - self._said >= PLAIN_LINE_SECONDS):
            line = f"{progress.stage} {progress.fraction:4.0%} {' · '.join(lines)}".rstrip()
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)
            self._said = now
        self.last = progress


def describe(progress) -> tuple[str, str]:
    """Two short lines: PSNR and loss on training rays with the time left, and how fast it goes."""
    rays, samples = compact(progress.rays_per_second), compact(progress.samples_per_second)
    left = "" if math.isnan(progress.seconds_left) else f" · {duration(round(progress.seconds_left))} left"
    return (
        f"{progress.psnr:.2f} dB · loss {progress.loss:.2e}{left}",
        f"step {progress.step} · {rays} rays/s · {samples} samples/s",
    )


def words(progress) -> str:
    """The same for the viewer, as Markdown: what goes on, and how it goes."""
    if progress.stage != "training":
        return f"**{progress.stage}**"
    return "  \n".join(describe(progress))


@contextmanager
def counting(what: str):
    """A bar that counts; gives the callback ``(done, total)`` that moves it. Silent where there is no terminal."""
    console = Console()
    columns = TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def stages():
    """A bar for work in stages; gives the callback ``(stage, done, total)`` that moves it. Where there is no terminal,
    a line tells when a stage begins."""
    console = Console()
    columns = TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task, current = bar.add_task("", total=None), None

        def move(stage: str, done: int, total: int) -> None:
            nonlocal current
            if stage != current:
                current = stage
                bar.reset(task, description=stage)
                if not console.is_terminal:
                    console.print(stage, highlight=False, markup=False)
            bar.update(task, completed=done, total=total)

        yield move


def print_table(rows: list[tuple[str, str]]) -> None:
    """Two aligned columns; long values are not broken, so that paths can be copied."""
    console, width = Console(highlight=False, markup=False, soft_wrap=True), max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(f"{name:{width}}", style="dim", end="  ")
        console.print(value)


def print_findings(findings) -> None:
    """What :func:`nerfcore.check` found: each fact, and its fix below."""
    console = Console(highlight=False, markup=False)
    table = Table("", "", Column(overflow="fold"), show_header=False, box=None, padding=(0, 2, 1, 0))
    for finding in findings:
        style = dict(severe="bold red", warning="yellow", note="dim")[finding.severity]
        text = Text(f"{finding.what}.\n").append(f"{finding.why[0].upper()}{finding.why[1:]}.\n", "dim")
        table.add_row(Text(finding.severity, style), Text(finding.kind, "bold"), text.append(f"→ {finding.fix}"))
    console.print(table if findings else "Nothing is wrong with this capture.")


def score_rows(metrics: dict) -> list[tuple[str, str]]:
    """The held-out scores, for `print_table`."""
    views = f"{metrics['num_eval_images']} held-out views on {metrics['background']}"
    scores = [("PSNR", f"{metrics['psnr']:.2f} dB ({views})"), ("SSIM", f"{metrics['ssim']:.4f}")]
    return [*scores, ("floaters", f"{metrics['floaters']:.1%} of the light")]
