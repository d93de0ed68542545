"""Micro F1 enters verdicts as a mean would, with the spread that a paired cluster bootstrap finds."""

import numpy as np
import pytest

from netgain.stats.linearised import linearised, linearised_f1, linearised_mcc
from netgain.stats.resample import f1, paired_bootstrap
from netgain.stats.verdict import contrast


def counts(rng: np.random.Generator, gold: np.ndarray, skill: float) -> np.ndarray:
    """(n, 3) of tp, fp, fn for sentences with so many gold spans."""
    found = rng.binomial(gold, skill)
    return np.stack([found, rng.poisson(0.4, gold.size), gold - found], axis=1).astype(float)


def test_the_mean_is_the_ratio_itself() -> None:
    parts, wholes = np.array([[2.0, 0.0, 4.0]]), np.array([[3.0, 1.0, 4.0]])
    assert linearised(parts, wholes).mean() == pytest.approx(6 / 8)
    assert linearised_f1(*np.array([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 2.0]]])).mean() == pytest.approx(2 / 5)


def test_a_missing_item_stays_missing_and_spoils_no_other() -> None:
    z = linearised(np.array([[2.0, np.nan, 1.0]]), np.array([[2.0, 5.0, 2.0]]))
    assert np.isnan(z[0, 1])
    assert np.nanmean(z) == pytest.approx(3 / 4)


def test_without_any_span_there_is_no_f1() -> None:
    assert np.isnan(linearised(np.zeros((1, 3)), np.zeros((1, 3)))).all()


@pytest.mark.parametrize("clustered", [False, True])
def test_the_interval_agrees_with_the_paired_cluster_bootstrap(clustered: bool) -> None:
    rng = np.random.default_rng(3)
    gold = rng.poisson(1.5, 400)
    tuned, base = counts(rng, gold, 0.7), counts(rng, gold, 0.6)
    clusters = np.arange(400) // 4 if clustered else None
    found = contrast(linearised_f1(*tuned.T[:, None]), linearised_f1(*base.T[:, None]), clusters=clusters)
    drawn = paired_bootstrap(tuned, base, f1, clusters=clusters, draws=4000, rng=rng)
    assert found.estimate == pytest.approx(drawn.estimate)
    assert found.answer.se == pytest.approx(drawn.se, rel=0.06)
    assert found.answer.low == pytest.approx(drawn.low, abs=0.25 * drawn.se)
    assert found.answer.high == pytest.approx(drawn.high, abs=0.25 * drawn.se)


def test_the_mean_is_matthews_correlation_and_its_spread_the_jackknifes() -> None:
    rng = np.random.default_rng(5)
    truth = (rng.random(300) < 0.3).astype(float)
    said = np.where(rng.random((2, 300)) < 0.8, truth, 1 - truth)
    z = linearised_mcc(said, truth)
    assert z.mean(axis=1) == pytest.approx([np.corrcoef(row, truth)[0, 1] for row in said])
    left_out = [np.corrcoef(np.delete(said[0], i), np.delete(truth, i))[0, 1] for i in range(300)]
    jackknife = np.sqrt(299 / 300 * ((left_out - np.mean(left_out)) ** 2).sum())
    assert z[0].std(ddof=1) / np.sqrt(300) == pytest.approx(jackknife, rel=0.03)


def test_a_constant_prediction_has_a_correlation_of_zero() -> None:
    assert (linearised_mcc(np.ones((1, 4)), np.array([0.0, 1.0, 1.0, 0.0])) == 0).all()
