"""Ratios of two uncertain numbers (gap recovered, per cent gained): Fieller's interval, or "undefined".

rho is in the set when (x - rho y)^2 <= t^2 (s_xx - 2 rho s_xy + rho^2 s_yy). That set is an interval only when the
denominator differs from zero, y^2 > t^2 s_yy; otherwise no interval bounds the ratio, and no ratio is printed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netgain.stats.distributions import t_quantile
from netgain.stats.result import Floats, say_level
from netgain.stats.units import units


@dataclass(frozen=True, slots=True)
class Ratio:
    """numerator / denominator; `estimate` and ends are None when the denominator may be zero."""

    what: str
    estimate: float | None
    low: float | None
    high: float | None
    level: float
    n: int
    numerator: float
    denominator: float
    denominator_low: float
    denominator_high: float
    method: str = "Fieller"

    @property
    def defined(self) -> bool:
        return self.estimate is not None

    def sentence(self) -> str:
        if self.estimate is None or self.low is None or self.high is None:
            return (
                f"{self.what} is undefined: the denominator may be zero ({self.denominator:+.3g}, "
                f"{say_level(self.level)} interval {self.denominator_low:+.3g} to {self.denominator_high:+.3g}; "
                f"n = {self.n})."
            )
        return (
            f"{self.what} {100 * self.estimate:.0f} % ({say_level(self.level)} interval {100 * self.low:.0f} to "
            f"{100 * self.high:.0f} %; {self.method}; n = {self.n})."
        )


def fieller(
    x: float,
    y: float,
    *,
    var_x: float,
    var_y: float,
    covariance: float,
    df: float,
    n: int,
    level: float = 0.95,
    what: str = "ratio",
) -> Ratio:
    """Roots of rho^2 (y^2 - t^2 s_yy) - 2 rho (x y - t^2 s_xy) + (x^2 - t^2 s_xx) = 0."""
    t = t_quantile(0.5 + level / 2, df)
    half = t * math.sqrt(var_y)
    a = y * y - t * t * var_y
    if a <= 0:
        return Ratio(what, None, None, None, level, n, x, y, y - half, y + half)
    b, c = x * y - t * t * covariance, x * x - t * t * var_x
    root = math.sqrt(max(b * b - a * c, 0.0))
    return Ratio(what, x / y, (b - root) / a, (b + root) / a, level, n, x, y, y - half, y + half)


def ratio_of_means(
    numerator: Floats,
    denominator: Floats,
    *,
    clusters: Sequence[object] | np.ndarray | None = None,
    level: float = 0.95,
    what: str = "ratio",
) -> Ratio:
    """mean(numerator) / mean(denominator) over the same items (n,), their covariance included."""
    both = units(np.stack([numerator, denominator]), clusters=clusters)
    x, y = (float(mean) for mean in both.means)
    count = both.count
    if count < 2:
        return Ratio(what, None, None, None, level, both.n, x, y, -math.inf, math.inf)
    residual = both.totals - both.means[:, None] * both.sizes
    spread = count / (count - 1) * (residual @ residual.T) / both.sizes.sum() ** 2
    return fieller(
        x, y, var_x=float(spread[0, 0]), var_y=float(spread[1, 1]), covariance=float(spread[0, 1]),
        df=count - 1.0, n=both.n, level=level, what=what,
    )  # fmt: skip


def gap_recovered(
    base: Floats,
    arm: Floats,
    oracle: Floats,
    *,
    clusters: Sequence[object] | np.ndarray | None = None,
    level: float = 0.95,
) -> Ratio:
    """(arm - base) / (oracle - base), items shared: undefined unless the oracle beats the base for certain."""
    return ratio_of_means(arm - base, oracle - base, clusters=clusters, level=level, what="gap recovered")


def relative_gain(
    tuned: Floats, base: Floats, *, clusters: Sequence[object] | np.ndarray | None = None, level: float = 0.95
) -> Ratio:
    """(tuned - base) / base, items shared."""
    return ratio_of_means(tuned - base, base, clusters=clusters, level=level, what="relative gain")
