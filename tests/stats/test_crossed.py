"""Seeds x items: the mean-square formula, its special cases, and two answers to two questions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgain.stats import crossed, resample
from netgain.stats.paired import difference
from netgain.stats.units import units

quick = settings(deadline=None, max_examples=40)


def gaps(rng: np.random.Generator, seeds: int, n: int, seed_sd: float = 0.1) -> np.ndarray:
    return rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, 0.3, (1, n)) + rng.normal(0, 0.3, (seeds, n))


def mean_squares(d: np.ndarray) -> tuple[float, float, float]:
    seeds, n = d.shape
    rest = d - d.mean(1, keepdims=True) - d.mean(0, keepdims=True) + d.mean()
    return (
        n * d.mean(1).var(ddof=1),
        seeds * d.mean(0).var(ddof=1),
        (rest**2).sum() / ((seeds - 1) * (n - 1)),
    )


@quick
@given(st.integers(2, 6), st.integers(3, 40), st.integers(0, 2**32))
def test_variance_and_df_are_the_mean_square_formula(seeds: int, n: int, seed: int) -> None:
    d = gaps(np.random.default_rng(seed), seeds, n)
    answer = crossed.recipe(d, np.zeros((1, n)))
    of_seeds, of_items, rest = mean_squares(d)
    total = max(of_seeds + of_items - rest, of_seeds, of_items)
    below = of_seeds**2 / (seeds - 1) + of_items**2 / (n - 1) + rest**2 / ((seeds - 1) * (n - 1))
    assert answer is not None
    assert answer.se == pytest.approx(math.sqrt(total / (seeds * n)))
    assert answer.df == pytest.approx(max(total**2 / below, 1))
    assert answer.estimate == pytest.approx(d.mean())


def test_items_alone_is_the_paired_t_of_the_seeds_mean() -> None:
    rng = np.random.default_rng(0)
    tuned, base = gaps(rng, 4, 50), rng.normal(size=(1, 50))
    here, mean = crossed.checkpoint(tuned, base), difference(tuned.mean(0), base[0])
    assert (here.low, here.high) == pytest.approx((mean.low, mean.high))


def test_a_recipe_is_a_wider_claim_than_its_checkpoints() -> None:
    rng = np.random.default_rng(1)
    tuned, base = gaps(rng, 3, 200, seed_sd=0.2), np.zeros((1, 200))
    here, there = crossed.checkpoint(tuned, base), crossed.recipe(tuned, base)
    assert there is not None
    assert there.high - there.low > 3 * (here.high - here.low)
    assert there.components is not None
    assert there.components.seeds > there.components.items


def test_one_seed_has_no_recipe_and_says_why() -> None:
    values = np.zeros((1, 30))
    assert crossed.recipe(values, values) is None
    assert "checkpoint only" in str(crossed.no_recipe(values))
    assert crossed.no_recipe(np.zeros((2, 30))) is None


@quick
@given(st.integers(2, 5), st.integers(0, 2**32))
def test_clusters_of_one_and_even_weights_change_nothing(seeds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tuned, base = gaps(rng, seeds, 20), rng.normal(size=(1, 20))
    plain = crossed.recipe(tuned, base)
    same = crossed.recipe(tuned, base, clusters=np.arange(20), weights=np.full(20, 7.0))
    assert plain is not None
    assert same is not None
    assert (plain.low, plain.high, plain.df) == pytest.approx((same.low, same.high, same.df))


def test_seeds_and_items_may_come_in_any_order() -> None:
    rng = np.random.default_rng(2)
    tuned, base = gaps(rng, 4, 30), rng.normal(size=(4, 30))
    rows, columns = rng.permutation(4), rng.permutation(30)
    for paired_seeds in (True, False):
        one = crossed.recipe(tuned, base, paired_seeds=paired_seeds)
        two = crossed.recipe(tuned[rows][:, columns], base[rows][:, columns], paired_seeds=paired_seeds)
        assert one is not None
        assert two is not None
        assert (one.low, one.high) == pytest.approx((two.low, two.high))


def test_unpaired_seeds_add_the_noise_of_both_arms() -> None:
    rng = np.random.default_rng(3)
    shift = rng.normal(0, 1, (6, 1))
    tuned, base = gaps(rng, 6, 80) + shift, gaps(rng, 6, 80) + shift
    matched, apart = crossed.recipe(tuned, base), crossed.recipe(tuned, base, paired_seeds=False)
    assert matched is not None
    assert apart is not None
    assert apart.high - apart.low > 3 * (matched.high - matched.low)
    fewer = crossed.recipe(tuned, base[:4])
    assert fewer is not None
    assert "unpaired" in fewer.method


def test_a_fixed_baseline_equals_one_repeated_for_every_seed() -> None:
    rng = np.random.default_rng(4)
    tuned, base = gaps(rng, 3, 40), rng.normal(size=(1, 40))
    once, repeated = crossed.recipe(tuned, base), crossed.recipe(tuned, np.repeat(base, 3, axis=0))
    assert once is not None
    assert repeated is not None
    assert (once.low, once.high) == pytest.approx((repeated.low, repeated.high))


def test_pigeonhole_agrees_with_the_formula_on_a_mean() -> None:
    rng = np.random.default_rng(5)
    tuned, base = gaps(rng, 8, 120), np.zeros((8, 120))
    rows = np.stack([tuned, np.ones_like(tuned)], axis=-1), np.stack([base, np.ones_like(base)], axis=-1)
    drawn = crossed.pigeonhole(*rows, resample.ratio, rng=rng, draws=2000)
    formula = crossed.recipe(tuned, base)
    assert formula is not None
    assert drawn.estimate == pytest.approx(formula.estimate)
    assert drawn.se == pytest.approx(formula.se, rel=0.25)


def test_one_arm_over_seeds_is_wider_than_over_items() -> None:
    rng = np.random.default_rng(6)
    chance = np.clip(0.7 + rng.normal(0, 0.05, (5, 1)), 0, 1)
    answer = crossed.recipe_score((rng.random((5, 200)) < chance).astype(float))
    assert answer is not None
    assert 0 <= answer.low < answer.estimate < answer.high <= 1
    assert crossed.recipe_score(np.ones((3, 50))).low < 1  # pyright: ignore[reportOptionalMemberAccess]


def test_units_keep_the_mean_of_weighted_clusters() -> None:
    rng = np.random.default_rng(7)
    values, weights, groups = rng.normal(size=(2, 30)), rng.random(30) + 0.1, rng.integers(0, 5, 30)
    evidence = units(values, weights=weights, clusters=groups)
    assert evidence.means == pytest.approx((values * weights).sum(1) / weights.sum())
    assert evidence.linearised().mean(axis=1) == pytest.approx(evidence.means)
