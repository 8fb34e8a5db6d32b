"""What training is, whatever is trained: steps within a budget, told of and saved now and then."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import nn

from nerfcore import _extension
from nerfcore.errors import NerfcoreError

REPORT_SECONDS = 0.5
CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Progress:
    """Where a run stands. stage: loading, ready, training, evaluating or saving; rates are over the time since the last
    report. memory_limit: bytes that training can need at most; pool_bytes: of the file that photographs are drawn from,
    if memory does not hold them."""

    stage: str
    step: int = 0
    fraction: float = 0.0
    seconds: float = 0.0
    seconds_left: float = math.nan
    loss: float = math.nan
    psnr: float = math.nan
    rays_per_second: float = 0.0
    samples_per_second: float = 0.0
    num_rays: int = 0
    memory_limit: int = 0
    pool_bytes: int = 0

    def record(self) -> dict:
        """What the history of a run keeps; there ``psnr`` is of held-out views, in the record of an evaluation."""
        return {"train_psnr" if k == "psnr" else k: v for k, v in asdict(self).items() if k != "stage"}


Tell = Callable[[Progress], None]


def pick_device(device: str) -> str:
    """ "auto" is the GPU where torch has one, else the CPU."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def begin(config, on_progress: Tell | None) -> tuple[str, Tell, float]:
    """The device of a run, what tells of it and when it began; says that it loads. config: has device and backend."""
    device = pick_device(config.device)
    if config.backend != "reference":
        _extension.unavailable(device)  # compiles now if need be: the budget is for training
    tell = on_progress or (lambda progress: None)
    started = time.perf_counter()
    tell(Progress("loading"))
    return device, tell, started


class Training:
    """One run's state. Subclasses say in ``step()`` what training is, and count ``steps``.

    config: has minutes, steps and seed. trained: what has the parameters. ``started``: when this sitting began.
    """

    advice = "lower the learning rate"

    def __init__(self, config, device: str):
        self.config, self.device = config, device
        self.generator = torch.Generator(device).manual_seed(config.seed)
        self.steps, self.seconds_used, self.started = 0, 0.0, time.perf_counter()
        self.loss = torch.zeros((), device=device)

    @property
    def trained(self) -> nn.Module:
        raise NotImplementedError

    def step(self) -> None:
        raise NotImplementedError

    @property
    def seconds(self) -> float:
        """Wall time so far, earlier sittings included."""
        return self.seconds_used + time.perf_counter() - self.started

    @property
    def fraction(self) -> float:
        """Share of the budget spent: of the steps if they are given, else of the minutes."""
        return self.steps / self.config.steps if self.config.steps else self.seconds / (60 * self.config.minutes)

    def counts(self) -> dict[str, int]:
        """What was met so far, under the names that :class:`Progress` has for its rates."""
        return {}

    def shown(self) -> dict:
        """What else :class:`Progress` says of the last step."""
        return {}

    def progress(self, rates: dict[str, float]) -> Progress:
        """Where the run stands. rates: how fast :meth:`counts` grew since the last report."""
        seconds, fraction = self.seconds, self.fraction
        left = seconds / fraction - seconds
        return Progress(
            "training", self.steps, fraction, seconds, left, loss=self.loss.item(), **rates, **self.shown()
        )

    def check_finite(self) -> None:
        """Names the first tensor that went bad."""
        for name, tensor in [("the loss", self.loss), *self.trained.named_parameters()]:
            if not torch.isfinite(tensor).all():
                raise self.not_finite(f"{name} is not finite")

    def not_finite(self, what: object) -> NerfcoreError:
        """What to raise."""
        return NerfcoreError(f"{what} at step {self.steps}; {self.advice}")


def fit(
    training: Training,
    history: list[dict],
    tell: Tell,
    save: Callable[[], None] | None = None,
    before_step: Callable[[], None] | None = None,
) -> None:
    """Steps until the budget is spent. What ``tell`` is told, about twice a second, history remembers; ``save`` is
    called every minute."""
    reported = saved = time.perf_counter()
    counts = training.counts()
    while training.fraction < 1:
        if before_step is not None:
            before_step()
        training.step()
        now = time.perf_counter()
        if now - reported > REPORT_SECONDS:
            training.check_finite()
            met = training.counts()
            progress = training.progress({name: (met[name] - counts[name]) / (now - reported) for name in met})
            history.append(progress.record())
            tell(progress)
            reported, counts = now, met
        if save is not None and now - saved > CHECKPOINT_SECONDS:
            save()
            saved = time.perf_counter()


def decibels(loss: torch.Tensor) -> float:
    """PSNR of a mean squared error."""
    return -10 * math.log10(max(loss.item(), 1e-20))
