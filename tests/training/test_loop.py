"""Training as a loop, with a clock that the test turns."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from nerfcore.errors import NerfcoreError
from nerfcore.training import loop
from nerfcore.training.schedule import minutes_or_steps


@pytest.fixture
def clock(monkeypatch):
    """A list with the time; a step takes a quarter of a second."""
    now = [100.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    return now


class Counting(loop.Training):
    def __init__(self, clock, **budget):
        super().__init__(SimpleNamespace(**{"minutes": None, "steps": None, "seed": 0} | budget), "cpu")
        self.clock, self.module, self.rays = clock, torch.nn.Linear(2, 2), 0

    @property
    def trained(self):
        return self.module

    def counts(self):
        return {"rays_per_second": self.rays}

    def step(self):
        self.clock[0] += 0.25
        self.steps += 1
        self.rays += 10 * self.steps
        self.loss = torch.tensor(1 / self.steps)


def test_steps_end_and_rates_are_of_what_came_since_the_last_report(clock):
    training, told, history = Counting(clock, steps=7), [], []
    loop.fit(training, history, told.append)
    assert training.steps == 7
    assert [p.step for p in told] == [3, 6] == [record["step"] for record in history]
    assert [p.rays_per_second for p in told] == pytest.approx([(10 + 20 + 30) / 0.75, (40 + 50 + 60) / 0.75])
    assert [p.loss for p in told] == pytest.approx([1 / 3, 1 / 6])
    assert told[0].seconds_left == pytest.approx(0.75 * 4 / 3)
    assert "psnr" not in history[0] and "stage" not in history[0]


def test_minutes_end_and_those_before_count(clock):
    training = Counting(clock, minutes=0.1)
    training.seconds_used = 4.0
    loop.fit(training, [], lambda progress: None)
    assert training.steps == 8 and training.seconds == pytest.approx(6.0)


def test_it_saves_every_minute(clock):
    training, saved = Counting(clock, minutes=2.5), []
    loop.fit(training, [], lambda progress: None, save=lambda: saved.append(training.seconds))
    assert saved == pytest.approx([60.25, 120.5])


def test_what_is_not_finite_stops_it_and_has_a_name(clock):
    training = Counting(clock, steps=100)

    def spoil():
        if training.steps == 4:
            training.module.weight.data[0, 1] = float("nan")

    with pytest.raises(NerfcoreError, match="weight is not finite at step 6; lower the learning rate"):
        loop.fit(training, [], lambda progress: None, before_step=spoil)


@pytest.mark.parametrize("minutes, steps, found", [(None, None, 5.0), (2.0, None, 2.0), (None, 3, None)])
def test_budgets(minutes, steps, found):
    assert minutes_or_steps(minutes, steps, 5.0) == found


@pytest.mark.parametrize("minutes, steps", [(1.0, 1), (0.0, None), (float("nan"), None), (None, 0)])
def test_budgets_that_are_none(minutes, steps):
    with pytest.raises(NerfcoreError, match="minutes"):
        minutes_or_steps(minutes, steps, 5.0)
