"""A ratio is printed only when its denominator is surely not zero."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgain.stats import ratios


@settings(deadline=None, max_examples=60)
@given(st.floats(-3, 3), st.floats(0.5, 3), st.floats(0.01, 0.2), st.floats(0.01, 0.2), st.floats(-0.9, 0.9))
def test_both_ends_solve_fiellers_equation(x: float, y: float, sx: float, sy: float, rho: float) -> None:
    covariance = rho * sx * sy
    answer = ratios.fieller(x, y, var_x=sx**2, var_y=sy**2, covariance=covariance, df=np.inf, n=9)
    if not answer.defined:
        assert y <= 1.96 * sy + 1e-6
        return
    assert answer.low is not None
    assert answer.high is not None
    assert answer.low <= x / y <= answer.high
    for end in (answer.low, answer.high):
        variance = sx**2 - 2 * end * covariance + end**2 * sy**2
        assert (x - end * y) ** 2 == pytest.approx(1.959964**2 * variance, abs=1e-9, rel=1e-4)


def test_an_oracle_that_barely_beats_the_base_recovers_nothing() -> None:
    base, oracle, arm = np.zeros(300), np.zeros(300), np.zeros(300)
    base[:17], oracle[:22], arm[:20] = 1, 1, 1
    oracle[22:40], oracle[:18] = 1, 0
    answer = ratios.gap_recovered(base, arm, oracle)
    assert not answer.defined
    assert "undefined: the denominator may be zero" in answer.sentence()


def test_a_clear_gap_is_recovered_in_part() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=500)
    oracle = base + rng.normal(1, 0.5, 500)
    answer = ratios.gap_recovered(base, base + 0.6 * (oracle - base) + rng.normal(0, 0.3, 500), oracle)
    assert answer.low is not None
    assert answer.high is not None
    assert answer.low < 0.6 < answer.high
    assert answer.high - answer.low < 0.12
    assert "%" in answer.sentence()


def test_sharing_items_sharpens_the_ratio() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(10, 3, 200)
    tuned = base * 1.1 + rng.normal(0, 0.1, 200)
    answer = ratios.relative_gain(tuned, base)
    assert answer.estimate == pytest.approx(0.1, abs=0.01)
    assert answer.high is not None
    assert answer.low is not None
    assert answer.high - answer.low < 0.02


def test_one_item_has_no_ratio() -> None:
    assert not ratios.ratio_of_means(np.array([1.0]), np.array([2.0])).defined
