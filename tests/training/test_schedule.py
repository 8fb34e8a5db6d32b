"""The learning rate: ends, middle, monotone, warm-up."""

import pytest

from nerfcore.training.schedule import WARM_UP_STEPS, cosine_decay


def test_half_a_cosine():
    late = 10 * WARM_UP_STEPS
    rate = [cosine_decay(i / 100, late, 1e-2, 1e-4) for i in range(101)]
    assert (
        rate[0] == pytest.approx(1e-2)
        and rate[100] == pytest.approx(1e-4)
        and rate[50] == pytest.approx((1e-2 + 1e-4) / 2)
    )
    assert rate[25] - 1e-4 == pytest.approx((1e-2 - 1e-4) * (2 + 2**0.5) / 4)
    assert all(a > b for a, b in zip(rate, rate[1:], strict=False))
    assert cosine_decay(1.7, late, 1e-2, 1e-4) == rate[100] and cosine_decay(-1, late, 1e-2, 1e-4) == rate[0]


def test_warm_up_is_linear_and_starts_above_zero():
    rate = [cosine_decay(0, step, 1.0, 0.0) for step in range(WARM_UP_STEPS + 5)]
    assert rate[0] > 0 and rate[WARM_UP_STEPS - 1 :] == [1.0] * 6
    assert rate[:WARM_UP_STEPS] == pytest.approx([(i + 1) * rate[0] for i in range(WARM_UP_STEPS)])
