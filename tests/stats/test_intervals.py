"""One arm: rates and means agree with independent implementations, and say what they rest on."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.proportion import proportion_confint

from netgain.stats import intervals
from netgain.stats.crossed import recipe_score

quick = settings(deadline=None, max_examples=60)
counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@quick
@given(counts, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_is_that_of_statsmodels(count: tuple[int, int], level: float) -> None:
    assert intervals.wilson(*count, level) == pytest.approx(
        proportion_confint(*count, alpha=1 - level, method="wilson"), abs=1e-12
    )


@quick
@given(counts)
def test_jeffreys_is_that_of_statsmodels(count: tuple[int, int]) -> None:
    assert intervals.jeffreys(*count) == pytest.approx(proportion_confint(*count, method="jeffreys"), abs=1e-9)


@quick
@given(counts)
def test_a_rate_lies_in_its_interval_and_widens_with_the_level(count: tuple[int, int]) -> None:
    narrow, wide = intervals.rate(*count, 0.8), intervals.rate(*count, 0.99)
    assert 0 <= wide.low <= narrow.low <= narrow.estimate <= narrow.high <= wide.high <= 1


@quick
@given(counts)
def test_a_rate_mirrors_its_complement(count: tuple[int, int]) -> None:
    k, n = count
    one, other = intervals.rate(k, n), intervals.rate(n - k, n)
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-9)


@pytest.mark.parametrize(
    ("k", "n", "method"),
    [(0, 500, "rule of three"), (500, 500, "rule of three"), (7, 24, "Jeffreys"), (283, 500, "Wilson")],
)
def test_the_shipped_rate_is_never_wald(k: int, n: int, method: str) -> None:
    assert intervals.rate(k, n).method == method


def test_none_in_n_leaves_three_in_n_open() -> None:
    assert intervals.rule_of_three(300) == pytest.approx(3 / 300, rel=0.01)
    assert intervals.rate(0, 1).high == pytest.approx(0.95)


def test_a_mean_has_the_t_interval() -> None:
    values = np.random.default_rng(0).normal(size=17)
    answer = intervals.mean(values)
    expected = stats.t.interval(0.95, 16, values.mean(), stats.sem(values))
    assert (answer.low, answer.high) == pytest.approx(expected)
    assert answer.at(0.8).high < answer.high


def test_equal_clusters_are_those_of_statsmodels() -> None:
    rng = np.random.default_rng(1)
    groups = rng.permutation(np.repeat(np.arange(9), 7))
    values = rng.normal(size=63) + rng.normal(size=9)[groups]
    answer = intervals.mean(values, clusters=groups)
    centred = values - values.mean()
    within = sum(centred[groups == g].sum() ** 2 for g in range(9))
    oracle = OLS(values, np.ones(63)).fit(cov_type="cluster", cov_kwds={"groups": groups})
    assert answer.se == pytest.approx(math.sqrt(9 / 8 * within) / 63)
    assert answer.se == pytest.approx(oracle.bse[0])
    assert (answer.df, answer.clusters) == (pytest.approx(8), 9)
    assert answer.design_effect == pytest.approx(answer.se**2 / (values.var(ddof=1) / 63))


def test_ragged_clusters_pay_for_their_leverage() -> None:
    groups = np.repeat(np.arange(6), [1, 1, 2, 3, 5, 28])
    values = np.random.default_rng(1).normal(size=40)
    left_out = np.array([values[groups != g].mean() for g in range(6)])
    answer = intervals.mean(values, clusters=groups)
    assert answer.se == pytest.approx(math.sqrt(5 / 6 * ((left_out - values.mean()) ** 2).sum()))
    assert answer.df == pytest.approx(max(40**2 / (np.bincount(groups) ** 2).sum() - 1, 1))


def test_clusters_of_one_change_nothing() -> None:
    values = np.random.default_rng(2).normal(size=30)
    plain, single = intervals.mean(values), intervals.mean(values, clusters=np.arange(30))
    assert (plain.low, plain.high) == pytest.approx((single.low, single.high))
    assert single.design_effect == pytest.approx(1.0)


def test_copies_of_an_item_add_no_evidence() -> None:
    values = np.random.default_rng(3).normal(size=20)
    copied = intervals.mean(np.repeat(values, 5), clusters=np.repeat(np.arange(20), 5))
    alone = intervals.mean(values)
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high))


def test_cluster_labels_may_be_words() -> None:
    values, groups = np.random.default_rng(4).normal(size=12), np.arange(12) // 3
    by_word = intervals.mean(values, clusters=[f"passage {g}" for g in groups])
    assert by_word.se == pytest.approx(intervals.mean(values, clusters=groups).se)


def test_token_weighted_mean_is_sum_over_sum() -> None:
    rng = np.random.default_rng(5)
    tokens, nll = rng.integers(1, 500, 40).astype(float), rng.normal(3, 1, 40)
    answer = intervals.mean(nll, weights=tokens)
    assert answer.estimate == pytest.approx((nll * tokens).sum() / tokens.sum())
    draws = rng.integers(0, 40, (4000, 40))
    boot = (nll * tokens)[draws].sum(1) / tokens[draws].sum(1)
    assert answer.se == pytest.approx(boot.std(), rel=0.1)


def test_no_end_of_a_share_lies_outside_0_and_1() -> None:
    """Token-weighted accuracies near 1 are no rates, and their t interval passes 1."""
    values, weights = np.array([1.0, 1.0, 0.9, 1.0, 0.6]), np.array([3.0, 4.0, 9.0, 5.0, 2.0])
    assert intervals.score(values, weights=weights).high > 1
    held = intervals.score(values, weights=weights, share=True)
    assert (held.high, held.scale) == (1.0, "share")
    assert held.low == intervals.score(values, weights=weights).low
    seeds = np.stack([values, values[::-1]])
    loose, kept = recipe_score(seeds, weights=weights), recipe_score(seeds, weights=weights, share=True)
    assert loose is not None
    assert loose.high > 1
    assert kept is not None
    assert kept.high == 1.0
    assert kept.at(0.99).high == 1.0


def test_an_item_without_tokens_is_no_item() -> None:
    answer = intervals.mean(np.array([1.0, 2.0, 9.0]), weights=np.array([1.0, 3.0, 0.0]), clusters=["a", "b", "c"])
    assert (answer.n, answer.clusters, answer.estimate) == (2, 2, 1.75)
    assert np.isfinite(answer.se)


def test_a_clustered_rate_counts_its_independent_items() -> None:
    values = np.repeat(np.random.default_rng(6).integers(0, 2, 40), 10).astype(float)
    clustered = intervals.score(values, clusters=np.repeat(np.arange(40), 10))
    assert clustered.high - clustered.low > 2.5 * (intervals.score(values).high - intervals.score(values).low)
    assert "effective n" in clustered.method


def test_missing_is_left_out_and_n_says_so() -> None:
    answer = intervals.score(np.array([1.0, np.nan, 0.0, 1.0]))
    assert (answer.n, answer.estimate) == (3, pytest.approx(2 / 3))


@pytest.mark.parametrize("values", [[], [np.nan], [0.3], [0.3, 0.3], [1.0], [0.0, 0.0]])
def test_degenerate_evidence_says_so_instead_of_pretending(values: list[float]) -> None:
    answer = intervals.score(np.array(values))
    assert answer.sentence()
    if len(values) < 2:
        assert answer.high - answer.low >= 0.9
