"""Metrics that are no means: resamples of sums equal resamples of items, in blocks of bounded memory."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from netgain.stats import resample
from netgain.stats.paired import difference, sign_flip


def with_ones(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones_like(values)], axis=1)


def test_on_a_mean_the_bootstrap_is_the_t_interval() -> None:
    rng = np.random.default_rng(0)
    base, tuned = rng.random(300), rng.random(300) + 0.05
    drawn = resample.paired_bootstrap(with_ones(tuned), with_ones(base), resample.ratio, rng=rng)
    exact = difference(tuned, base)
    assert drawn.estimate == pytest.approx(exact.estimate)
    assert (drawn.low, drawn.high) == pytest.approx((exact.low, exact.high), abs=0.1 * exact.se)
    assert drawn.draws == 10_000


def test_bca_is_that_of_scipy_on_a_skewed_ratio() -> None:
    rng = np.random.default_rng(1)
    nll, tokens = rng.exponential(50, 40), rng.integers(5, 60, 40).astype(float)
    rows, zeros = np.stack([nll, tokens], axis=1), np.stack([np.zeros(40), tokens], axis=1)
    ours = resample.paired_bootstrap(rows, zeros, resample.ratio, draws=20_000, rng=rng)
    oracle = stats.bootstrap(
        (nll, tokens), lambda a, b, axis: a.sum(axis) / b.sum(axis), paired=True, vectorized=True, n_resamples=20_000,
        method="BCa", rng=rng,
    ).confidence_interval  # fmt: skip
    assert ours.method.endswith("BCa")
    assert (ours.low, ours.high) == pytest.approx((oracle.low, oracle.high), rel=0.02)


def test_a_constant_baseline_cancels() -> None:
    rng = np.random.default_rng(2)
    rows = np.stack([rng.random(50), np.ones(50)], axis=1)
    same = resample.paired_bootstrap(rows, rows, resample.ratio, draws=200, rng=rng)
    assert (same.estimate, same.low, same.high) == (0, 0, 0)
    assert "no spread" in same.sentence()
    assert resample.swap_test(rows, rows, resample.ratio, draws=200, rng=rng).p == 1.0


def test_one_unit_shows_no_spread_and_claims_none() -> None:
    rows = np.array([[3.0, 4.0], [1.0, 4.0]])
    for groups, n in ((None, 1), ([0, 0], 2)):
        answer = resample.paired_bootstrap(
            rows[:n], rows[:n] / 2 + 1, resample.ratio, clusters=groups, draws=20, rng=np.random.default_rng(0)
        )
        assert (answer.low, answer.high) == (-math.inf, math.inf)
        assert "no interval" in answer.sentence()


def test_whole_clusters_are_drawn() -> None:
    rng = np.random.default_rng(3)
    tuned, base = rng.random(30), rng.random(30)
    groups = np.repeat(np.arange(30), 8)
    alone = resample.paired_bootstrap(with_ones(tuned), with_ones(base), resample.ratio, rng=rng)
    copied = resample.paired_bootstrap(
        with_ones(np.repeat(tuned, 8)), with_ones(np.repeat(base, 8)), resample.ratio, clusters=groups, rng=rng
    )
    assert copied.se == pytest.approx(alone.se, rel=0.05)
    assert (copied.n, copied.clusters) == (240, 30)


@pytest.mark.parametrize("units", [1, 7, 5000])
def test_weights_are_multinomial_counts_whatever_the_blocks(units: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "BLOCK", 20_000)
    blocks = list(resample.bootstrap_weights(units, 50, np.random.default_rng(4)))
    assert sum(len(block) for block in blocks) == 50
    assert all(block.size <= 20_000 for block in blocks)
    assert all((block.sum(axis=1) == units).all() for block in blocks)


def test_swapping_agrees_with_sign_flips_on_a_mean() -> None:
    rng = np.random.default_rng(5)
    tuned, base = rng.normal(0.25, 1, 80), rng.normal(size=80)
    swapped = resample.swap_test(with_ones(tuned), with_ones(base), resample.ratio, rng=rng)
    assert swapped.p == pytest.approx(sign_flip(tuned - base, rng=rng).p, abs=0.02)
    assert swapped.p == pytest.approx(stats.ttest_rel(tuned, base).pvalue, abs=0.02)


def test_f1_is_that_of_sklearn() -> None:
    rng = np.random.default_rng(6)
    truth, found = rng.random(200) < 0.4, rng.random(200) < 0.5
    sums = np.array([(truth & found).sum(), (~truth & found).sum(), (truth & ~found).sum()], dtype=float)
    assert resample.f1(sums) == pytest.approx(f1_score(truth, found))
    assert resample.f1(np.zeros(3)) == 0


def test_bleu_and_perplexity_are_their_formulae() -> None:
    sums = np.array([8.0, 5, 3, 2, 10, 9, 8, 7, 10, 12])
    expected = math.exp(np.mean(np.log([8 / 10, 5 / 9, 3 / 8, 2 / 7])) + 1 - 12 / 10)
    assert resample.bleu(sums) == pytest.approx(expected)
    assert resample.bleu(np.array([8.0, 5, 3, 0, 10, 9, 8, 7, 10, 12])) == 0
    assert resample.perplexity(np.array([200.0, 100.0])) == pytest.approx(math.exp(2))
