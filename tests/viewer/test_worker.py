"""The thread that renders: its sizes as plain functions, and what it does for several browsers."""

import threading
import time

import numpy as np
import pytest
import torch

from nerfcore.viewer.pictures import Picture, View
from nerfcore.viewer.worker import FRAME_SECONDS, REFINE_SECONDS, RenderWorker, first_scale, next_scale

VIEW = View(torch.eye(3, 4), 50.0, 160, 100)


def blank(view, outdated=None):
    return Picture(np.zeros((view.height, view.width, 3), np.uint8), np.zeros((view.height, view.width), np.float32))


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_moving_picture_has_as_many_pixels_as_there_is_time_for():
    for rate in (3e5, 1e6, 1e7):
        scale = first_scale(1024 * 640, rate)
        assert scale == 1 or scale**2 * 1024 * 640 == pytest.approx(FRAME_SECONDS * rate)
    assert first_scale(1024 * 640, 1e9) == 1
    assert first_scale(1024 * 640, 1.0) == pytest.approx(32 / np.sqrt(1024 * 640))  # something can be seen


@pytest.mark.parametrize("rate", [1e4, 3e5, 1e7])
def test_refinements_grow_up_to_the_full_size(rate):
    pixels, scale, scales = 1024 * 640, first_scale(1024 * 640, rate), []
    while scale is not None:
        scales.append(scale)
        scale = next_scale(scale, pixels, rate)
    assert scales == sorted(set(scales)) and scales[-1] == 1 and len(scales) <= 6
    if pixels < REFINE_SECONDS * rate:
        assert len(scales) <= 2


def test_a_view_at_rest_is_refined_and_then_nothing_is_done():
    shown, painted = [], []

    def paint(view, outdated):
        painted.append(view)
        time.sleep(1e-5 * view.width * view.height)
        return blank(view)

    worker = RenderWorker(paint)
    worker.wish(1, VIEW, shown.append)
    until(lambda: shown and shown[-1].rgb.shape[:2] == (100, 160))
    widths = [picture.rgb.shape[1] for picture in shown]
    assert len(widths) >= 2 and widths == sorted(widths)
    count = len(painted)
    time.sleep(0.3)
    assert len(painted) == count
    worker.again()
    until(lambda: len(painted) > count)
    assert painted[-1].width == 160
    worker.close()


def test_outdated_refinements_are_given_up_and_moves_are_always_shown():
    started, given_up, shown = threading.Event(), [], []

    def paint(view, outdated):
        if view.width < VIEW.width:
            return blank(view)
        started.set()
        until(outdated)
        given_up.append(view.mode)

    worker = RenderWorker(paint)
    worker._rates["rgb"] = worker._rates["distance"] = 2e4
    worker.wish(1, VIEW, lambda picture: shown.append("rgb"))
    assert started.wait(20)
    started.clear()
    worker.wish(1, View(VIEW.pose, 50.0, 160, 100, "distance"), lambda picture: shown.append("distance"))
    assert started.wait(20)
    assert given_up == ["rgb"] and set(shown) == {"rgb", "distance"} and shown[-1] == "distance"
    worker.close()
    assert not worker._thread.is_alive()


def test_browsers_have_their_turns():
    """While one moves all the time, others are served as well; what has gone is forgotten."""
    shown = {1: 0, 2: 0}

    def paint(view, outdated):
        time.sleep(0.002)
        return blank(view)

    worker = RenderWorker(paint)
    for _ in range(60):
        for browser in (1, 2):
            worker.wish(browser, VIEW, lambda picture, b=browser: shown.__setitem__(b, shown[b] + 1))
        time.sleep(0.005)
    assert min(shown.values()) > 5 and max(shown.values()) < 2 * min(shown.values())
    worker.forget(1)
    worker.forget(2)
    time.sleep(0.05)
    before = dict(shown)
    worker.again()
    time.sleep(0.3)
    assert shown == before
    worker.close()


def test_an_error_is_told_and_the_thread_goes_on():
    failed, shown = [], []

    def paint(view, outdated):
        if view.mode == "error":
            raise ValueError("bad luck")
        return blank(view)

    worker = RenderWorker(paint, failed=failed.append)
    worker.wish(1, View(VIEW.pose, 50.0, 8, 8, "error"), shown.append)
    until(lambda: failed)
    worker.wish(1, VIEW, shown.append)
    until(lambda: shown)
    time.sleep(0.3)
    assert [str(error) for error in failed] == ["bad luck"]
    worker.close()
