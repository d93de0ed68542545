"""The best of several arms: family-wise p, no reward for copies, the winner's curse undone, sets instead of winners."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgain.errors import UserError
from netgain.stats import ranking, selection, units

quick = settings(deadline=None, max_examples=25)


def null_field(rng: np.random.Generator, arms: int = 8, n: int = 200, **kwargs: object) -> selection.Field:
    tuned = {f"arm {k}": rng.normal(size=n) for k in range(arms)}
    return selection.line_up(tuned, rng.normal(size=n), **kwargs)  # pyright: ignore[reportArgumentType]


@quick
@given(st.integers(1, 6), st.integers(0, 2**32))
def test_adjusted_p_lies_between_raw_and_bonferroni(arms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    field = null_field(rng, arms, 60)
    answer = selection.simultaneous(field, draws=2000, rng=rng)
    for name, own in zip(field.names, field.answers, strict=True):
        noise = 4 * math.sqrt(0.25 / 2000)
        assert own.p() - noise <= answer.p[name] <= min(1, arms * own.p()) + noise
        assert answer.arms[name].high - answer.arms[name].low >= (own.high - own.low) * 0.95


def test_copies_of_an_arm_cost_nothing_and_independent_arms_do() -> None:
    rng = np.random.default_rng(0)
    base, arm = rng.normal(size=300), rng.normal(0.12, 1, 300)
    alone = selection.simultaneous(selection.line_up({"a": arm}, base), draws=20_000, rng=rng)
    copies = selection.simultaneous(selection.line_up(dict.fromkeys("abcdefgh", arm), base), draws=20_000, rng=rng)
    others = {k: rng.normal(0, 1, 300) for k in "bcdefgh"}
    family = selection.simultaneous(selection.line_up({"a": arm, **others}, base), draws=20_000, rng=rng)
    assert copies.p["a"] == pytest.approx(alone.p["a"], abs=0.01)
    assert family.p["a"] > 2 * alone.p["a"]
    assert family.family == 8
    assert "adjusted p" in family.sentence()


def test_simultaneous_intervals_are_as_wide_as_their_p_values_say() -> None:
    rng = np.random.default_rng(14)
    field = null_field(rng, 8, 200)
    answer = selection.simultaneous(field, draws=4000, rng=rng)
    for name, own in zip(field.names, field.answers, strict=True):
        arm = answer.arms[name]
        assert 1.2 < (arm.high - arm.low) / (own.high - own.low) < 1.45
        assert arm.excludes() == (answer.p[name] <= 0.05)


def test_max_t_is_the_textbook_one_on_plain_items() -> None:
    rng = np.random.default_rng(1)
    field = null_field(rng, 4, 40)
    d = field.totals
    t = d.mean(0) / (d.std(0, ddof=1) / math.sqrt(40))
    signs = rng.choice([-1.0, 1.0], (20_000, 40))
    flipped = signs @ d / 40
    spread = np.sqrt(((d**2).mean(0) - flipped**2) / 39)
    highest = np.abs(flipped / spread).max(1)
    answer = selection.simultaneous(field, draws=20_000, rng=rng)
    for k, name in enumerate(field.names):
        assert answer.p[name] == pytest.approx((highest >= abs(t[k])).mean(), abs=0.015)


def test_clusters_of_copies_count_once() -> None:
    rng = np.random.default_rng(2)
    tuned, base = {k: rng.normal(0.2, 1, 40) for k in "abc"}, rng.normal(size=40)
    alone = selection.simultaneous(selection.line_up(tuned, base), draws=10_000, rng=rng)
    repeated = {k: np.repeat(v, 5) for k, v in tuned.items()}
    field = selection.line_up(repeated, np.repeat(base, 5), clusters=np.repeat(np.arange(40), 5))
    together = selection.simultaneous(field, draws=10_000, rng=rng)
    for name in "abc":
        assert together.p[name] == pytest.approx(alone.p[name], abs=0.02)


def test_a_true_gain_is_found_by_all_three_answers() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(size=400)
    tuned = {str(k): base + rng.normal(0.5 if k == 3 else 0.0, 1, 400) for k in range(6)}
    answer = selection.select_best(selection.line_up(tuned, base), rng=rng)
    assert (answer.best, answer.gain) == ("3", True)
    assert answer.held_out is not None
    assert answer.held_out.chosen["3"] == pytest.approx(1.0)
    assert answer.held_out.low < 0.5 < answer.held_out.high
    assert answer.optimism.bias == pytest.approx(0, abs=0.01)


def test_the_winners_curse_is_taken_off() -> None:
    rng = np.random.default_rng(4)
    shown, halves, corrected = [], [], []
    for _ in range(60):
        field = null_field(rng, 8, 150)
        shown.append(field.means.max())
        halves.append(selection.held_out(field, splits=20, draws=20, rng=rng).estimate)
        corrected.append(selection.optimism(field, draws=200, rng=rng).corrected)
    assert np.mean(shown) > 0.1
    assert abs(np.mean(halves)) < 0.03
    assert np.mean(corrected) < 0.6 * np.mean(shown)


def test_lower_is_better_turns_the_field() -> None:
    rng = np.random.default_rng(5)
    base = rng.normal(3, 1, 100)
    tuned = {"good": base - 0.5 + rng.normal(0, 0.1, 100), "bad": base + 0.5}
    field = selection.line_up(tuned, base, higher_is_better=False)
    assert field.names[field.winner] == "good"
    assert field.answers[0].low > 0 > field.answers[1].high
    assert "turned" in selection.select_best(field, draws=200, rng=rng).sentence()


def test_seeds_widen_the_claim() -> None:
    rng = np.random.default_rng(6)
    base = rng.normal(size=(1, 200))
    shift = np.array([[-0.3], [0.0], [0.4]])
    tuned = {k: base + 0.15 + shift + rng.normal(0, 0.3, (3, 200)) for k in "abc"}
    answer = selection.select_best(selection.line_up(tuned, base), draws=1000, rng=rng)
    assert not answer.gain
    averaged = selection.line_up({k: v.mean(0) for k, v in tuned.items()}, base[0])
    assert selection.select_best(averaged, draws=1000, rng=rng).gain
    assert answer.held_out is not None
    assert not answer.held_out.excludes()


def test_missing_items_leave_every_arm() -> None:
    rng = np.random.default_rng(7)
    arm = rng.normal(size=50)
    arm[:10] = np.nan
    field = selection.line_up({"a": arm, "b": rng.normal(size=50)}, rng.normal(size=50))
    assert field.answers[1].n == 40
    with pytest.raises(UserError, match="align"):
        selection.line_up({"a": np.zeros(3)}, np.zeros(4))


def test_arms_that_never_differ_are_no_gain() -> None:
    rng = np.random.default_rng(8)
    field = selection.line_up({"a": np.ones(30), "b": np.ones(30)}, np.ones(30))
    answer = selection.select_best(field, draws=200, rng=rng)
    assert (answer.gain, answer.simultaneous.p["a"]) == (False, 1.0)
    assert selection.held_out(field, rng=rng).estimate == 0


def test_one_item_selects_nothing() -> None:
    rng = np.random.default_rng(13)
    for right in (1.0, 0.7):
        field = selection.line_up({"a": np.array([right]), "b": np.array([0.0])}, np.array([0.0]))
        answer = selection.select_best(field, draws=100, rng=rng)
        assert (answer.gain, answer.held_out, answer.simultaneous.p["a"]) == (False, None, 1.0)
        assert ranking.best_set(field, rng=rng).members == ("a", "b")


def test_many_units_are_merged_without_moving_the_answer() -> None:
    rng = np.random.default_rng(9)
    totals = rng.normal(size=(30_000, 3))
    bins = units.merged(totals, rng)
    assert len(bins) == units.BINS
    assert bins.sum(0) == pytest.approx(totals.sum(0))
    assert (bins**2).sum(0) == pytest.approx((totals**2).sum(0), rel=0.1)


def test_the_set_of_winners_keeps_ties_and_drops_the_beaten() -> None:
    rng = np.random.default_rng(10)
    base = rng.normal(size=400)
    tuned = {"a": base + 0.5, "b": base + 0.5 + rng.normal(0, 0.3, 400), "c": base + rng.normal(0, 0.3, 400)}
    answer = ranking.best_set(selection.line_up(tuned, base), rng=rng)
    assert (answer.members, answer.excluded) == (("a", "b"), ("c",))
    assert answer.best in answer.members


def test_the_set_of_winners_holds_the_best_arm_under_the_null() -> None:
    rng = np.random.default_rng(11)
    lost = sum(bool(ranking.best_set(null_field(rng, 4, 80), draws=300, rng=rng).excluded) for _ in range(150))
    assert lost / 150 < 0.12


@pytest.mark.parametrize(("shape", "slope", "bend"), [("line", 1, 0), ("hill", 0, 1), ("flat", 0, 0)])
def test_a_trend_is_told_from_a_peak(shape: str, slope: int, bend: int) -> None:
    rng = np.random.default_rng(12)
    axis = [0.01, 0.03, 0.1, 0.3, 1.0]
    heights = {"line": np.linspace(0, 1, 5), "hill": np.array([0, 0.7, 1, 0.7, 0]), "flat": np.zeros(5)}[shape]
    base = rng.normal(size=300)
    tuned = {str(a): base + h + rng.normal(0, 1, 300) for a, h in zip(axis, heights, strict=True)}
    answer = ranking.trend(selection.line_up(tuned, base), axis, draws=1000, rng=rng)
    assert (answer.p_slope < 0.01) == bool(slope)
    assert (answer.p_curvature < 0.01) == bool(bend)
    assert answer.axis == "log"
    if slope:
        assert (answer.slope, answer.spearman) == (pytest.approx(1, abs=0.2), pytest.approx(1))
    if bend:
        assert answer.curvature > 0.5


def test_trend_contrasts_are_orthogonal_and_in_the_arms_units() -> None:
    straight, curved, name = ranking.polynomials([0, 0.1, 0.5, 1.0])
    assert name == "rank"
    assert (straight.sum(), curved.sum(), straight @ curved) == pytest.approx((0, 0, 0), abs=1e-12)
    assert straight @ np.arange(4) == pytest.approx(3)
    with pytest.raises(UserError, match="rising"):
        ranking.polynomials([1, 0.5, 0.1])


@quick
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6))
def test_expected_best_of_k_is_the_mean_over_all_draws(values: list[float]) -> None:
    answer = ranking.best_of_k(np.array(values))
    for k in answer.k:
        without = [max(c) for c in itertools.combinations(values, k)]
        assert answer.unbiased[k - 1] == pytest.approx(np.mean(without), abs=1e-9)
        if len(values) ** k <= 1300:
            drawn = [max(c) for c in itertools.product(values, repeat=k)]
            assert answer.dodge[k - 1] == pytest.approx(np.mean(drawn), abs=1e-9)


def test_expected_best_turns_with_the_direction() -> None:
    losses = np.array([3.0, 1.0, 2.0])
    assert ranking.best_of_k(losses, higher_is_better=False).unbiased == pytest.approx((2.0, 4 / 3, 1.0))
