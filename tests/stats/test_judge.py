"""Model judges: their repeats, their positions, and how people correct them."""

import numpy as np
import pytest

from netgain.errors import UserError
from netgain.stats import judge

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)


def test_icc_is_the_published_one() -> None:
    answer = judge.agreement(SHROUT_FLEISS)
    assert (answer.estimate, answer.of_mean) == (pytest.approx(0.166, abs=5e-4), pytest.approx(0.443, abs=5e-4))
    assert (answer.low, answer.high) == (0.0, pytest.approx(0.723, abs=1e-3))


def test_perfect_repeats_are_all_signal_and_equal_ratings_are_none() -> None:
    assert judge.agreement(np.repeat([[1.0], [2.0], [5.0]], 3, axis=1)).estimate == 1.0
    same = judge.agreement(np.ones((4, 2)))
    assert (same.estimate, same.low, same.high) == (0, 0, 1)


def test_a_judge_that_follows_the_position_is_refused() -> None:
    answer = judge.swap_consistency(["A"] * 70 + ["tie"] * 10, ["B"] * 40 + ["A"] * 30 + ["tie"] * 10)
    assert (answer.inconsistent.estimate, answer.refused) == (0.5, True)
    assert (answer.wins_a, answer.wins_b, answer.ties) == (30, 0, 10)
    assert answer.first_position == pytest.approx(110 / 140)
    assert "cannot say" in answer.sentence()
    fair = judge.swap_consistency(["A", "B", "tie"] * 9, ["A", "B", "tie"] * 9)
    assert (fair.refused, fair.first_position) == (False, 0.5)
    with pytest.raises(UserError, match="verdict is"):
        judge.swap_consistency(["a"], ["A"])


def test_human_scores_correct_a_biased_judge() -> None:
    rng = np.random.default_rng(0)
    hits, shrunk = 0, 0
    for _ in range(400):
        quality = rng.normal(5, 1, 1100)
        human, judged = quality + rng.normal(0, 0.3, 1100), quality + 0.8 + rng.normal(0, 0.4, 1100)
        answer = judge.prediction_powered(human[:100], judged[:100], judged[100:])
        hits += answer.low <= 5 <= answer.high
        shrunk += answer.se < answer.human_only.se
    assert hits / 400 == pytest.approx(0.95, abs=0.035)
    assert shrunk == 400
    assert "worth" in answer.sentence()


def test_the_judge_is_weighted_as_published() -> None:
    rng = np.random.default_rng(2)
    quality = rng.normal(size=300)
    human, judged = quality[:60] + rng.normal(0, 0.5, 60), 2 * quality + rng.normal(0, 1, 300)
    answer = judge.prediction_powered(human, judged[:60], judged[60:])
    weight = np.cov(human, judged[:60])[0, 1] / ((1 + 60 / 240) * judged.var(ddof=1))
    rest = human - weight * judged[:60]
    assert answer.weight == pytest.approx(weight)
    assert answer.estimate == pytest.approx(weight * judged[60:].mean() + rest.mean())
    assert answer.se**2 == pytest.approx(weight**2 * judged[60:].var(ddof=1) / 240 + rest.var(ddof=1) / 60)


def test_a_judge_that_knows_nothing_is_ignored() -> None:
    rng = np.random.default_rng(1)
    answer = judge.prediction_powered(rng.normal(size=200), rng.normal(size=200), rng.normal(3, 1, 2000))
    assert answer.weight < 0.2
    assert answer.estimate == pytest.approx(answer.human_only.estimate, abs=0.1)
    constant = judge.prediction_powered(rng.normal(size=20), np.ones(20), np.ones(50))
    assert constant.weight == 0
