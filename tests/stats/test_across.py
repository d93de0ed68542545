"""Across tasks and runs: the middle half, and the chance that one run beats another."""

import numpy as np
import pytest
from scipy import stats

from netgain.errors import UserError
from netgain.stats import across


def test_iqm_is_the_trimmed_mean_and_shrugs_off_outliers() -> None:
    values = np.random.default_rng(0).normal(size=40)
    assert across.iqm(values) == pytest.approx(stats.trim_mean(values, 0.25))
    assert across.iqm(np.array([1.0, 2.0, 3.0, 1e9])) == pytest.approx(2.5)
    assert across.iqm(np.array([5.0])) == 5.0


def test_iqm_interval_redraws_runs_within_tasks() -> None:
    rng = np.random.default_rng(1)
    scores = np.array([0.1, 0.5, 0.9]) + rng.normal(0, 0.01, (6, 3))
    answer = across.interquartile_mean(scores, rng=rng, draws=500)
    assert answer.low <= answer.estimate <= answer.high
    assert answer.high - answer.low < 0.05


def test_probability_of_improvement_is_mann_whitney() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.5, 1, (7, 4)), rng.normal(0, 1, (9, 4))
    expected = np.mean([stats.mannwhitneyu(a[:, t], b[:, t]).statistic / 63 for t in range(4)])
    answer = across.probability_of_improvement(a, b, rng=rng, draws=600)
    assert answer.estimate == pytest.approx(expected)
    assert across.probability_of_improvement(a, a, rng=rng, draws=200).estimate == 0.5


def test_better_takes_certainty_and_size() -> None:
    rng = np.random.default_rng(3)
    clear = across.probability_of_improvement(rng.normal(3, 1, (8, 5)), rng.normal(0, 1, (8, 5)), rng=rng, draws=400)
    slight = across.probability_of_improvement(
        rng.normal(0.5, 1, (40, 6)), rng.normal(0, 1, (40, 6)), rng=rng, draws=400
    )
    assert clear.better
    assert slight.low > 0.5
    assert not slight.better
    with pytest.raises(UserError, match="tasks"):
        across.probability_of_improvement(np.ones((2, 3)), np.ones((2, 4)), rng=rng)
