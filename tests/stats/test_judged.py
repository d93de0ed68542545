"""Judged scores: the base is the yardstick, wins are chances, and every noise has its own name."""

import numpy as np
import pytest

from netgain.errors import UserError
from netgain.stats.calibration import calibration
from netgain.stats.judged import parts, win_rate, yardstick


def test_the_yardstick_is_the_spread_of_the_bases_own_scores() -> None:
    base = np.random.default_rng(0).normal(-3, 2, 200)
    assert yardstick(np.append(base, np.nan)) == pytest.approx(float(base.std(ddof=1)))
    assert yardstick(base - 7) == pytest.approx(yardstick(base))
    assert yardstick(np.zeros(200)) is None
    assert yardstick(np.array([1.0])) is None


def test_a_win_rate_is_the_mean_chance_that_the_tuned_answer_wins() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(0, 3, (1, 300))
    same = win_rate(base, base)
    assert same.estimate == 0.5
    odds = win_rate(base + np.log(4), base)
    assert odds.estimate == pytest.approx(0.8)
    noisy = win_rate(base + rng.normal(0.5, 1, (3, 300)), base)
    assert noisy.low > 0.5
    gaps = base.copy()
    gaps[0, :290] = np.nan
    assert win_rate(base, gaps).n == 10
    assert win_rate(base + 2000, base).estimate == pytest.approx(1.0)


def test_the_three_noises_are_told_apart() -> None:
    rng = np.random.default_rng(2)
    truth = {"question": 4.0, "answer": 1.0, "repeat": 0.25}
    ratings = rng.normal(0, 2, (600, 1, 1)) + rng.normal(0, 1, (600, 4, 1)) + rng.normal(0, 0.5, (600, 4, 3))
    found = parts(ratings)
    assert found.question == pytest.approx(truth["question"], rel=0.2)
    assert found.answer == pytest.approx(truth["answer"], rel=0.1)
    assert found.repeat == pytest.approx(truth["repeat"], rel=0.1)
    once = parts(ratings[:, :, :1])
    assert once.repeat is None
    assert once.answer == pytest.approx(1.25, rel=0.1)
    assert found.of_mean() == pytest.approx(ratings.mean(axis=(1, 2)).var(ddof=1) / 600, rel=0.02)
    with pytest.raises(UserError, match="two questions"):
        parts(ratings[:, :1])


def test_a_judge_that_keeps_its_word_is_calibrated_and_a_boaster_is_not() -> None:
    rng = np.random.default_rng(3)
    chance = rng.uniform(0.5, 1, 4000)
    honest = np.where(rng.random(4000) < chance, chance, 1 - chance)
    found = calibration(honest)
    assert found.ece < 0.03
    assert found.accuracy.low < 0.75 < found.accuracy.high
    boaster = calibration(np.where(rng.random(4000) < 0.6, 0.99, 0.01))
    assert boaster.ece == pytest.approx(0.39, abs=0.03)
    assert boaster.log_loss > np.log(2) > found.log_loss
    coin = calibration(np.full(50, 0.5))
    assert coin.accuracy.estimate == 0, "a tie is not right"
    assert coin.log_loss == pytest.approx(np.log(2))
    assert sum(each.n for each in found.bins) == 4000
    with pytest.raises(UserError):
        calibration(np.array([1.2]))
