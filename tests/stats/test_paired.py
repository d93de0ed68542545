"""Differences on the same items: parity with closed forms and statsmodels; symmetric, order-free, honest when tiny."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as oracle_mcnemar

from netgain.stats import paired
from netgain.stats.flips import flips

quick = settings(deadline=None, max_examples=60)
tables = st.tuples(*[st.integers(0, 40)] * 4).filter(lambda t: sum(t) > 0)


def arms(table: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(tuned, base) with the given numbers of 11, 10, 01, 00."""
    tuned = np.repeat([1.0, 1.0, 0.0, 0.0], table)
    return tuned, np.repeat([1.0, 0.0, 1.0, 0.0], table)


def ends(answer: paired.Pivot) -> tuple[float, float]:
    return answer.low, answer.high


@quick
@given(tables)
def test_bonett_price_is_its_formula(table: tuple[int, int, int, int]) -> None:
    tuned, base = arms(table)
    n, up, down = tuned.size, (table[1] + 1) / (tuned.size + 2), (table[2] + 1) / (tuned.size + 2)
    half = stats.norm.ppf(0.975) * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    answer = paired.difference(tuned, base)
    assert answer.method == "Bonett-Price"
    assert answer.estimate == pytest.approx((table[1] - table[2]) / n)
    assert ends(answer) == pytest.approx((max(up - down - half, -1), min(up - down + half, 1)))


@quick
@given(tables, st.sampled_from([0.8, 0.95]))
def test_swapping_the_arms_flips_the_sign(table: tuple[int, int, int, int], level: float) -> None:
    tuned, base = arms(table)
    one, other = paired.difference(tuned, base, level=level), paired.difference(base, tuned, level=level)
    assert (one.estimate, *ends(one)) == pytest.approx((-other.estimate, -other.high, -other.low))
    assert one.p() == pytest.approx(other.p())


@quick
@given(st.integers(2, 60), st.integers(0, 2**32), st.booleans())
def test_the_order_of_items_is_immaterial(n: int, seed: int, clustered: bool) -> None:
    rng = np.random.default_rng(seed)
    tuned, base, order = rng.normal(size=n), rng.normal(size=n), rng.permutation(n)
    groups = rng.integers(0, 4, n) if clustered else None
    one = paired.difference(tuned, base, clusters=groups)
    other = paired.difference(tuned[order], base[order], clusters=None if groups is None else groups[order])
    assert ends(one) == pytest.approx(ends(other), rel=1e-9)


@quick
@given(tables)
def test_intervals_widen_with_the_level_and_agree_with_p(table: tuple[int, int, int, int]) -> None:
    answer = paired.difference(*arms(table))
    widths = [answer.at(level).high - answer.at(level).low for level in (0.5, 0.8, 0.9, 0.95, 0.99)]
    assert widths == sorted(widths)
    assert (answer.p() < 0.05) == answer.excludes()


def test_continuous_differences_get_the_paired_t() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=25)
    tuned = base + rng.normal(0.1, 0.3, 25)
    answer, oracle = paired.difference(tuned, base), stats.ttest_rel(tuned, base)
    assert answer.p() == pytest.approx(oracle.pvalue)
    assert ends(answer) == pytest.approx(tuple(oracle.confidence_interval()))


@quick
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_that_of_statsmodels(gained: int, lost: int) -> None:
    answer = paired.mcnemar(gained, lost, 500)
    oracle = oracle_mcnemar([[200, gained], [lost, 100]], exact=True).pvalue if gained + lost else 1.0
    assert answer.p == pytest.approx(oracle)
    assert answer.mid_p <= answer.p


def test_mid_p_takes_half_of_the_observed_outcome_off() -> None:
    law = stats.binom(11, 0.5)
    assert paired.mcnemar(9, 2, 50).mid_p == pytest.approx(2 * (law.cdf(1) + 0.5 * law.pmf(2)))


@pytest.mark.parametrize("flips", range(1, 9))
def test_m_flips_one_way_cannot_go_below_two_to_one_minus_m(flips: int) -> None:
    answer = paired.mcnemar(flips, 0, 100)
    assert answer.p == pytest.approx(2.0 ** (1 - flips))
    assert answer.smallest_p == answer.p
    assert (answer.p < 0.05) == (flips >= 6)
    differences = np.concatenate([np.ones(flips), np.zeros(20)])
    flipped = paired.sign_flip(differences, rng=np.random.default_rng(0))
    assert (flipped.p, flipped.exact) == (pytest.approx(answer.p), True)
    assert ("could give less" in flipped.sentence()) == (flips < 6)


def test_drawn_sign_flips_agree_with_the_exact_binomial() -> None:
    differences = np.concatenate([np.ones(30), -np.ones(14), np.zeros(56)])
    answer = paired.sign_flip(differences, rng=np.random.default_rng(1), draws=20_000)
    assert not answer.exact
    assert answer.p == pytest.approx(paired.mcnemar(30, 14, 100).p, abs=0.004)


def test_sign_flips_move_whole_clusters() -> None:
    rng = np.random.default_rng(2)
    differences = np.repeat(rng.normal(0.3, 1, 10), 20)
    alone = paired.sign_flip(differences[::20], rng=rng)
    together = paired.sign_flip(differences, clusters=np.repeat(np.arange(10), 20), rng=rng)
    assert together.p == alone.p > paired.sign_flip(differences, rng=rng).p


def test_clustered_flips_are_weaker_evidence() -> None:
    base = np.zeros(200)
    tuned = np.repeat(np.random.default_rng(3).random(20) < 0.4, 10).astype(float)
    groups = np.repeat(np.arange(20), 10)
    plain, clustered = paired.difference(tuned, base), paired.difference(tuned, base, clusters=groups)
    alone = paired.difference(tuned[::10], base[::10])
    width = clustered.high - clustered.low
    assert plain.high - plain.low < width
    assert width == pytest.approx(alone.high - alone.low, rel=0.15)


@pytest.mark.parametrize("n", [2, 8, 500])
def test_identical_differences_still_leave_something_open(n: int) -> None:
    base = np.linspace(1, 7, n)
    answer = paired.difference(base.copy(), base)
    assert answer.low < 0 < answer.high
    assert answer.high == pytest.approx(6 * math.sqrt(2) / (n + 2) * stats.t.ppf(0.975, n - 1), rel=0.3)
    assert "same" in answer.sentence()


def test_one_item_has_no_interval() -> None:
    answer = paired.difference(np.array([0.7]), np.array([0.5]))
    assert (answer.low, answer.high, answer.p()) == (-math.inf, math.inf, 1.0)
    assert "no interval" in answer.sentence()


def test_a_net_of_zero_is_not_stillness() -> None:
    tuned, base = arms((100, 30, 30, 40))
    answer = flips(tuned, base, rerun=base)
    assert (answer.net, answer.churn, answer.churn_floor) == (pytest.approx(0), pytest.approx(0.3), 0.0)
    assert answer.gained.low < 0.15 < answer.gained.high
    assert "churn 30.0 %" in answer.sentence()


def test_flips_over_seeds_count_items_not_seeds() -> None:
    rng = np.random.default_rng(4)
    base = (rng.random((1, 300)) < 0.5).astype(float)
    once = np.where(rng.random((1, 300)) < 0.1, 1 - base, base)
    one, copied = flips(once, base), flips(np.repeat(once, 5, axis=0), base)
    assert copied.gained.estimate == pytest.approx(one.gained.estimate)
    assert copied.gained.high == pytest.approx(one.gained.high, abs=0.01)
    assert copied.test is None
