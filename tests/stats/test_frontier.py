"""A frontier is all that an arm's temperatures reach; arms that differ in temperature alone do not differ."""

import numpy as np
import pytest

from netgain.stats.frontier import Curve, best_difference, common, compare, envelope, hypervolume, reached


def test_the_envelope_is_what_mixing_temperatures_reaches() -> None:
    points = [(0.2, 0.9), (0.8, 0.3), (0.5, 0.4), (0.5, 0.7), (0.1, 0.5)]
    assert envelope(points) == [(0.2, 0.9), (0.5, 0.7), (0.8, 0.3)]
    assert reached(points, np.array([0.0, 0.35, 0.65, 0.8])) == pytest.approx([0.9, 0.8, 0.5, 0.3])


def test_the_hypervolume_is_the_area_above_the_reference() -> None:
    points = [(0.2, 0.9), (0.8, 0.3)]
    assert hypervolume(points) == pytest.approx(0.2 * 0.9 + 0.6 * 0.6)
    assert hypervolume(points, (0.1, 0.3)) == pytest.approx(0.1 * 0.6 + 0.6 * 0.3)
    assert hypervolume([*points, (0.3, 0.1)]) == pytest.approx(hypervolume(points))
    assert hypervolume(points, (0.9, 0.0)) == 0


def test_arms_without_a_common_quality_are_not_compared_at_one() -> None:
    assert common([(0.1, 0.9), (0.2, 0.8)], [(0.5, 0.5), (0.6, 0.4)]) is None
    assert common([(0.1, 0.9), (0.5, 0.2)], [(0.3, 0.5), (0.6, 0.4)]) == (0.3, 0.5)


def curve(rng: np.random.Generator, temperatures: list[float], lift: float = 0.0, seeds: int = 2, n: int = 60) -> Curve:
    """Quality falls and diversity rises with temperature; `lift` is diversity at every quality."""
    t = np.array(temperatures)[None, :, None]
    easy, noise = 0.1 * rng.standard_normal((1, 1, n)), lambda: 0.05 * rng.standard_normal((seeds, len(t[0]), n))
    return Curve(0.8 - 0.3 * t + easy + noise(), 0.3 * t + lift + 0.1 - easy + noise())


def test_a_hotter_arm_is_more_diverse_and_on_the_same_frontier() -> None:
    rng = np.random.default_rng(0)
    base, hot = curve(rng, [0.5, 0.8, 1.1]), curve(rng, [0.7, 1.0, 1.3])
    assert hot.diversity.mean() > base.diversity.mean() + 0.04
    found = compare(hot, base, draws=400, rng=rng)
    assert found.matched is not None
    assert abs(found.matched.estimate) < 0.02
    assert not found.matched.excludes(0)


def test_diversity_at_equal_quality_is_found() -> None:
    rng = np.random.default_rng(1)
    base, better = curve(rng, [0.5, 0.8, 1.1]), curve(rng, [0.5, 0.8, 1.1], lift=0.08)
    found = compare(better, base, draws=400, rng=rng)
    assert found.matched is not None
    assert found.matched.low < 0.08 < found.matched.high
    assert found.matched.low > 0.02
    assert found.gain.low > 0
    assert found.hypervolume.estimate - found.base.estimate == pytest.approx(found.gain.estimate)


def test_intervals_of_a_null_difference_cover_it() -> None:
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = compare(curve(rng, [0.5, 1.0], seeds=1), curve(rng, [0.5, 1.0], seeds=1), draws=200, rng=rng)
        assert found.matched is not None
        covered += not found.matched.excludes(0)
    assert covered >= 51


def test_each_arm_is_read_at_its_own_best_temperature() -> None:
    base, arm = np.zeros((1, 2, 8)), np.zeros((1, 2, 8))
    base[0, 0, :4], arm[0, 1, :6] = 1, 1
    found = best_difference(arm, base, what="difference in pass@4", draws=300, rng=np.random.default_rng(0))
    assert found.estimate == pytest.approx(0.25)
    assert found.scale == "points"
    assert found.low <= 0.25 <= found.high
