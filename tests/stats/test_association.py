"""A rank correlation is scipy's, and its interval holds the truth as often as it says."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from netgain.errors import UserError
from netgain.stats.association import association


def test_the_estimate_is_scipys_with_ties_too() -> None:
    rng = np.random.default_rng(0)
    for n in (5, 12, 60):
        x = rng.integers(0, 6, n).astype(float)
        y = x + rng.integers(0, 4, n)
        assert association(x, y).estimate == pytest.approx(float(spearmanr(x, y).statistic))


@pytest.mark.parametrize(("rho", "n"), [(0.0, 6), (0.6, 8), (0.6, 20), (-0.8, 20)])
def test_the_interval_holds_the_truth(rho: float, n: int) -> None:
    """Spearman's rho of a bivariate normal is 6/pi asin(r/2)."""
    rng, truth, inside = np.random.default_rng(1), 6 / np.pi * np.arcsin(rho / 2), 0
    for _ in range(600):
        x = rng.normal(size=n)
        found = association(x, rho * x + np.sqrt(1 - rho**2) * rng.normal(size=n))
        inside += found.low <= truth <= found.high
    assert inside / 600 > 0.93


def test_few_points_and_constant_sides_say_nothing() -> None:
    for x, y in (([1.0, 2, 3], [1.0, 2, 3]), ([1.0] * 9, range(9)), ([], [])):
        found = association(np.array(x, dtype=float), np.array(list(y), dtype=float))
        assert (found.low, found.high) == (-1, 1)
    perfect = association(np.arange(6.0), np.arange(6.0))
    assert (perfect.estimate, perfect.high) == (1, 1)
    assert perfect.low < 0.5, "six points in order are no proof"


def test_gaps_and_unequal_lists_are_refused() -> None:
    with pytest.raises(UserError, match="missing"):
        association(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
    with pytest.raises(UserError, match="equally long"):
        association(np.arange(3.0), np.arange(4.0))
