"""A trainer and somebody who looks, in two threads."""

import threading
import time

import pytest

from nerfcore.viewer.turns import Turns


class Training(threading.Thread):
    """Steps of some milliseconds, during which ``stepping`` is set, until told to stop."""

    def __init__(self, turns, step=0.002):
        super().__init__(daemon=True)
        self.turns, self.step = turns, step
        self.stepping, self.steps, self.paused, self.over = False, 0, 0.0, False

    def run(self):
        while not self.over:
            self.paused += self.turns.between_steps()
            self.stepping = True
            time.sleep(self.step)
            self.steps += 1
            self.stepping = False
        self.turns.finish()


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def training():
    thread = Training(Turns(share=0.5))
    thread.start()
    until(lambda: thread.steps > 2)
    yield thread
    thread.turns.pause(False)
    thread.over = True
    thread.join(10)
    assert not thread.is_alive()


def test_nobody_looks_during_a_step(training):
    for _ in range(20):
        with training.turns.looking():
            assert not training.stepping
            before = training.steps
            time.sleep(0.002)
            assert training.steps == before and not training.stepping


def test_training_keeps_its_share():
    """By a clock of the test's own: a look of 3 s at a share of 0.25 is followed by 9 s without one."""
    now = [0.0]
    turns = Turns(share=0.25, clock=lambda: now[0])
    looks = []

    def look():
        for _ in range(2):
            with turns.looking():
                looks.append(now[0])
                now[0] += 3.0

    turns.between_steps()
    looker = threading.Thread(target=look, daemon=True)
    looker.start()
    while looker.is_alive() and now[0] < 100:
        until(lambda: turns._waiting or not looker.is_alive())
        turns.between_steps()
        now[0] += 1.0
    looker.join(10)
    assert looks[1] - looks[0] == pytest.approx(12.0, abs=1.0)


def test_pause_holds_steps_and_lets_look(training):
    training.turns.pause(True)
    with training.turns.looking():
        pass
    time.sleep(0.02)
    before = training.steps
    for _ in range(3):
        with training.turns.looking():
            time.sleep(0.01)
    assert training.steps - before <= 1
    training.turns.pause(False)
    until(lambda: training.steps > before + 3)
    assert training.paused >= 0.03


def test_looks_need_not_wait_where_nothing_trains(training):
    with Turns().looking():
        pass
    training.over = True
    training.join(10)
    with training.turns.looking():
        pass
