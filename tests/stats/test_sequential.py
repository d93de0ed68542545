"""Peeking is paid for: the truth stays inside at every look at once."""

import numpy as np
import pytest

from netgain.errors import UserError
from netgain.stats import sequential


@pytest.mark.parametrize("drift", [0.0, -0.15])
def test_the_truth_is_inside_at_every_look(drift: float) -> None:
    rng = np.random.default_rng(0)
    missed = peeked = 0
    for _ in range(120):
        flips = rng.random(250)
        d = np.where(flips < 0.1, 1.0, np.where(flips > 0.9 + drift, -1.0, 0.0))
        answer = sequential.confidence_sequence(d)
        missed += bool(((answer.low > drift) | (answer.high < drift)).any())
        t = np.arange(1, 251)
        means = np.cumsum(d) / t
        se = np.sqrt(np.maximum(np.cumsum(d * d) / t - means**2, 1e-12) / t)
        peeked += bool((np.abs(means - drift)[20:] > 1.96 * se[20:]).any())
    assert missed / 120 <= 0.05
    assert peeked / 120 > 0.15


def test_a_bet_never_sees_its_own_outcome() -> None:
    x = np.random.default_rng(4).random(50)
    other = x.copy()
    other[20:] = 1 - other[20:]
    before, after = sequential.bets(x, 0.05), sequential.bets(other, 0.05)
    assert (before[:21] == after[:21]).all()
    assert before[21] != after[21]


def test_it_narrows_holds_its_estimate_and_never_reopens() -> None:
    rng = np.random.default_rng(1)
    answer = sequential.confidence_sequence(rng.choice([-1.0, 0.0, 1.0], 2000, p=[0.05, 0.9, 0.05]))
    assert (np.diff(answer.low) >= 0).all()
    assert (np.diff(answer.high) <= 0).all()
    assert answer.low[-1] <= answer.estimate <= answer.high[-1]
    assert answer.high[-1] - answer.low[-1] < 0.08
    assert (answer.low[0], answer.high[0]) == pytest.approx((-1, 1), abs=0.05)


def test_stopping_rules_fire_where_the_truth_lies() -> None:
    rng = np.random.default_rng(2)
    worse = sequential.confidence_sequence(rng.choice([-1.0, 0.0], 1500, p=[0.2, 0.8]))
    assert worse.first_below(-0.02) is not None
    assert worse.first_below(-0.02) < 300  # pyright: ignore[reportOptionalOperand]
    assert worse.first_above(-0.02) is None
    kept = sequential.confidence_sequence(np.zeros(1500))
    assert kept.first_above(-0.02) is not None
    assert kept.first_below(-0.02) is None


def test_blocks_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    d = np.random.default_rng(3).uniform(-1, 1, 300)
    whole = sequential.confidence_sequence(d)
    monkeypatch.setattr(sequential, "BLOCK", 37 * sequential.GRID)
    parts = sequential.confidence_sequence(d)
    assert np.allclose(whole.low, parts.low)
    assert np.allclose(whole.high, parts.high)


@pytest.mark.parametrize("bad", [[], [0.0, np.nan], [1.5]])
def test_only_bounded_complete_differences_are_taken(bad: list[float]) -> None:
    with pytest.raises(UserError):
        sequential.confidence_sequence(np.array(bad))


def runs(loss: float, looks: int, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """One run's looks at the same n items by a model that drifts: each item's own difference persists in part."""
    lasting = rng.random(n)
    found = []
    for _ in range(looks):
        mixed = np.where(rng.random(n) < 0.7, lasting, rng.random(n))
        found.append(np.where(mixed < 0.1, 1.0, np.where(mixed > 0.9 - loss, -1.0, 0.0)))
    return found


def test_a_run_at_its_margin_is_stopped_no_more_often_than_alpha() -> None:
    """Exactly the margin is lost at every look, over the same items: the hardest null there is."""
    rng, margin, looks = np.random.default_rng(5), 0.05, 8
    stopped = peeked = 0
    for _ in range(300):
        every = runs(margin, looks, 200, rng)
        stopped += any(sequential.look(d, margin, looks=looks).word == "forgotten" for d in every)
        peeked += any(d.mean() + 1.645 * d.std(ddof=1) / np.sqrt(d.size) < -margin for d in every)
    assert stopped / 300 <= 0.05
    assert peeked / 300 > 0.10


def test_a_run_that_forgets_is_stopped_and_one_that_keeps_is_said_to() -> None:
    rng, looks = np.random.default_rng(6), 8
    caught = sum(
        any(sequential.look(d, 0.02, looks=looks).word == "forgotten" for d in runs(0.3, looks, 200, rng))
        for _ in range(40)
    )
    assert caught >= 38
    same = sequential.look(np.zeros(400), 0.05, looks=looks)
    assert same.word == "retained"
    assert same.needed is not None
    assert sequential.look(np.zeros(5), 0.05).word == "cannot tell"


def test_the_level_is_shared_out_over_the_looks() -> None:
    d = np.where(np.arange(100) % 5 == 0, -1.0, 0.0)
    once, often = (sequential.look(d, 0.05, looks=k) for k in (1, 1000))
    assert once.word == "forgotten"
    assert often.word == "cannot tell"
    with pytest.raises(UserError):
        sequential.look(np.array([0.0, 1.2]), 0.05)
