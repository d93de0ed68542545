"""pass@k is unbiased, paired by problem, and never said of more tries than were drawn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgain.errors import UserError
from netgain.stats import passk
from netgain.stats.paired import difference


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_each_problem_is_one_minus_the_share_of_failing_draws(case: tuple[int, int, int]) -> None:
    n, c, k = case
    assert passk.per_problem([c], n, k)[0] == pytest.approx(1 - math.comb(n - c, k) / math.comb(n, k))


def test_five_of_ten_at_five() -> None:
    assert passk.per_problem([5, 0, 10, 1], 10, 5) == pytest.approx([251 / 252, 0, 1, 0.5])


def test_more_tries_than_samples_are_refused() -> None:
    with pytest.raises(UserError, match="at least 20"):
        passk.pass_at_k([1, 2], 10, 20)


def test_the_interval_is_over_problems_not_samples() -> None:
    rng = np.random.default_rng(0)
    correct = rng.binomial(20, rng.beta(0.5, 0.5, 50))
    one, copied = passk.pass_at_k(correct, 20, 1), passk.pass_at_k(correct * 10, 200, 1)
    assert one.estimate == pytest.approx(correct.mean() / 20)
    assert (one.low, one.high) == pytest.approx((copied.low, copied.high))
    groups = np.arange(50) // 5
    assert passk.pass_at_k(correct, 20, 1, clusters=groups).df == 9


def test_differences_are_paired_by_problem() -> None:
    rng = np.random.default_rng(1)
    chance = rng.beta(1, 1, 80)
    tuned, base = rng.binomial(20, chance), rng.binomial(10, chance)
    answer = passk.pass_at_k_difference((tuned, 20), (base, 10), 5)
    one, other = passk.pass_at_k(tuned, 20, 5), passk.pass_at_k(base, 10, 5)
    assert answer.estimate == pytest.approx(one.estimate - other.estimate)
    assert answer.se < math.hypot(one.se, other.se)
    exact = difference(passk.per_problem(tuned, 20, 5), passk.per_problem(base, 10, 5))
    assert (answer.low, answer.high) == pytest.approx((exact.low, exact.high))


def test_the_curve_rises_to_the_share_of_problems_ever_solved() -> None:
    correct = np.array([0, 1, 3, 8])
    curve = passk.coverage(correct, 8)
    assert list(curve.values) == sorted(curve.values)
    assert (curve.values[0], curve.values[-1]) == (pytest.approx(12 / 32), pytest.approx(0.75))
    assert curve.ceiling_at is None
    assert passk.coverage(np.array([6, 8]), 8).ceiling_at == 2


def test_ceiling_and_thin_samples_are_said() -> None:
    answer = passk.pass_at_k([9, 10, 10, 10], 10, 8)
    assert answer.ceiling
    assert answer.thin
    assert "nothing can be told apart" in answer.sentence()


def test_problems_that_nobody_solved_may_still_be_solved() -> None:
    """No spread among the problems seen is no certainty: 0 of 16 leaves room for one in six."""
    none, all_of_them = passk.pass_at_k([0] * 16, 8, 4), passk.pass_at_k([8] * 16, 8, 4)
    assert (none.low, none.high) == pytest.approx((0.0, 1 - 0.05 ** (1 / 16)))
    assert (all_of_them.low, all_of_them.high) == pytest.approx((0.05 ** (1 / 16), 1.0))
    some = passk.pass_at_k([0] * 15 + [1], 8, 4)
    assert "rule of three" in none.method
    assert "rule of three" not in some.method
