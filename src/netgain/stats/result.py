"""The shapes every answer comes in: a number with its interval, level, method and n, that can say itself.

`Estimate` is any number with an interval. `Pivot` is one whose interval is centre +- quantile * se, so the same
evidence can be read at another level (`at`) or against another value (`p`).
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from netgain.stats.distributions import t_quantile, t_tail

Floats = NDArray[np.float64]
Scale = Literal["percent", "points", "raw", "share", "change"]
"""percent: a rate, 0.566 is "56.6 %"; points: a difference of rates; raw: as it is; share: as it is, within
0 and 1; change: a signed raw difference."""


def say(value: float, scale: Scale) -> str:
    """0.024 in points is "+2.4 points"; raw numbers carry three significant digits."""
    if math.isnan(value):
        return "no value"
    if scale == "percent":
        return f"{100 * value:.1f} %"
    if scale == "points":
        return f"{100 * value:+.1f} points"
    return f"{value:+.3g}" if scale == "change" else f"{value:.4g}"


def say_range(low: float, high: float, scale: Scale) -> str:
    """Both ends of an interval, with the unit said once."""
    if scale in ("percent", "points"):
        sign = "+" if scale == "points" else ""
        unit = "%" if scale == "percent" else "points"
        return f"{100 * low:{sign}.1f} to {100 * high:{sign}.1f} {unit}"
    return f"{say(low, scale)} to {say(high, scale)}"


def say_p(p: float) -> str:
    """A p-value as people print it."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def say_level(level: float) -> str:
    """0.95 is "95 %"."""
    return f"{100 * level:g} %"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, its interval, and what both rest on."""

    what: str
    estimate: float
    low: float
    high: float
    level: float
    method: str
    n: int
    scale: Scale = "raw"
    clusters: int | None = None
    seeds: int | None = None
    note: str = ""

    def excludes(self, value: float = 0.0) -> bool:
        """Is `value` outside the interval?"""
        return not self.low <= value <= self.high

    @property
    def basis(self) -> str:
        """`n = 500 in 50 clusters, 3 seeds`."""
        clusters = f" in {self.clusters} clusters" if self.clusters is not None else ""
        seeds = f", {self.seeds} seed{'s' if self.seeds > 1 else ''}" if self.seeds is not None else ""
        return f"n = {self.n}{clusters}{seeds}"

    def sentence(self) -> str:
        """`difference +2.4 points (95 % interval +0.3 to +4.5 points; Bonett-Price; n = 500).`"""
        note = f" {self.note}" if self.note else ""
        if self.n == 0:
            return f"{self.what}: no item has a value, so there is nothing to estimate."
        if math.isinf(self.low) and math.isinf(self.high):
            return f"{self.what} {say(self.estimate, self.scale)}, with no interval ({self.basis}).{note}"
        interval = f"{say_level(self.level)} interval {say_range(self.low, self.high, self.scale)}"
        return f"{self.what} {say(self.estimate, self.scale)} ({interval}; {self.method}; {self.basis}).{note}"


@dataclass(frozen=True, slots=True)
class Components:
    """Where the variance of a mean over S seeds and n items comes from; each is a share of se^2, never negative."""

    seeds: float
    items: float
    residual: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pivot(Estimate):
    """An estimate whose interval is centre +- t_{df} * se (df infinite: the normal)."""

    centre: float
    se: float
    df: float
    design_effect: float | None = None
    components: Components | None = None

    def at(self, level: float) -> "Pivot":
        """The same evidence, read at another level."""
        low, high = ends(self.centre, self.se, self.df, level, self.scale)
        return replace(self, low=low, high=high, level=level)

    def p_below(self, value: float = 0.0) -> float:
        """One-sided p for "the truth is below `value`": small when the estimate lies far under it."""
        if math.isinf(self.se) or math.isnan(self.se):
            return 1.0
        if self.se == 0:
            return 0.0 if self.centre < value else 1.0
        return t_tail((value - self.centre) / self.se, self.df)

    def p_above(self, value: float = 0.0) -> float:
        """One-sided p for "the truth is above `value`"."""
        if math.isinf(self.se) or math.isnan(self.se):
            return 1.0
        if self.se == 0:
            return 0.0 if self.centre > value else 1.0
        return t_tail((self.centre - value) / self.se, self.df)

    def p(self, value: float = 0.0) -> float:
        """Two-sided p against `value`; below 0.05 exactly when the 95 % interval excludes it."""
        return min(1.0, 2.0 * min(self.p_below(value), self.p_above(value)))


LIMITS: dict[Scale, tuple[float, float]] = {"percent": (0.0, 1.0), "share": (0.0, 1.0), "points": (-1.0, 1.0)}


def ends(centre: float, se: float, df: float, level: float, scale: Scale) -> tuple[float, float]:
    """centre -+ t_{df, (1+level)/2} * se within what the scale can hold; everything when the spread is unknown."""
    if math.isinf(se) or math.isnan(se):
        return -math.inf, math.inf
    half = t_quantile(0.5 + level / 2, df) * se if se > 0 else 0.0
    least, most = LIMITS.get(scale, (-math.inf, math.inf))
    return max(centre - half, least), min(centre + half, most)


def pivot(
    what: str,
    estimate: float,
    *,
    se: float,
    df: float,
    level: float,
    method: str,
    n: int,
    scale: Scale,
    centre: float | None = None,
    clusters: int | None = None,
    seeds: int | None = None,
    note: str = "",
    design_effect: float | None = None,
    components: Components | None = None,
) -> Pivot:
    """A `Pivot` with its ends computed; `centre` differs from the estimate only for shrunken intervals."""
    middle = estimate if centre is None else centre
    low, high = ends(middle, se, df, level, scale)
    return Pivot(
        what,
        estimate,
        low,
        high,
        level,
        method,
        n,
        scale,
        clusters,
        seeds,
        note,
        centre=middle,
        se=se,
        df=df,
        design_effect=design_effect,
        components=components,
    )
