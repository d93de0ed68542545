"""A score over an ordered axis: does it rise, does it bend, how much does it move, and which levels are as good as any?

y_l (S, n) are the values of level l = 1..L at position x_l. Every question is about a linear function of the levels, so
that seeds, clusters and items enter it as they enter a paired difference:
    slope   fitted change of the straight line from the lowest to the highest position
    bend    fitted height of both ends above the middle, from the part of x^2 that no straight line explains
    effect  R = max f - min f of the smooth curve f = H m (least squares, degree 2) through the levels' means m
As max - min is a seminorm, |R - R_true| <= max - min of H (m - m_true), whose quantile makes R's interval.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netgain.stats.crossed import checkpoint, recipe
from netgain.stats.distributions import normal_quantile, t_quantile
from netgain.stats.resample import bootstrap_weights
from netgain.stats.result import Estimate, Floats, Pivot, pivot, say, say_level, say_p, say_range
from netgain.stats.selection import Simultaneous, line_up, simultaneous
from netgain.stats.units import merged, units

THRESHOLD = 0.01
"""Below this the axis of a weight is linear, above it logarithmic."""


def symlog(value: float, threshold: float = THRESHOLD) -> float:
    """v / t up to the threshold t, then 1 + log10(v / t): 0, 0.01, 0.1, 1 are 0, 1, 2, 3."""
    size = abs(value) / threshold
    return math.copysign(size if size <= 1 else 1 + math.log10(size), value)


@dataclass(frozen=True, slots=True)
class Levels:
    """Values (L, S, n) of all levels on the same seeds and items, none missing, larger being better."""

    names: tuple[str, ...]
    x: Floats
    values: Floats
    weights: Floats | None = None
    clusters: np.ndarray | None = None
    level: float = 0.95

    @property
    def means(self) -> Floats:
        """(L,) seed-averaged scores."""
        return self.values.mean(axis=1) @ self._shares

    @property
    def _shares(self) -> Floats:
        n = self.values.shape[2]
        return np.full(n, 1 / n) if self.weights is None else self.weights / self.weights.sum()

    def combined(self, coefficients: Floats) -> Pivot:
        """sum_l c_l y_l (sum_l c_l = 0) with its interval: the recipe's where there are seeds, else the checkpoints'.

        Levels that answer every item alike give the interval of any two of them: equal so far is not equal for ever.
        """
        values: Floats = np.tensordot(coefficients, self.values - self.values[0], axes=1).astype(np.float64)
        nothing = np.zeros((1, values.shape[1]))
        if not values.any():
            values, nothing = self.values[-1], self.values[0]
        asked = {"weights": self.weights, "clusters": self.clusters, "binary": False, "level": self.level}
        return recipe(values, nothing, **asked) or checkpoint(values, nothing, **asked)


def slope_weights(x: Floats) -> Floats:
    """c with sum_l c_l y_l = the least-squares line's change over the whole axis."""
    centred = x - x.mean()
    return centred / (centred @ centred) * np.ptp(x)


def bend_weights(x: Floats) -> Floats:
    """c with sum_l c_l y_l = a of a u^2 + b u + c fitted to positions u in [-1, 1]."""
    u = 2 * (x - x.min()) / np.ptp(x) - 1
    line = np.stack([np.ones_like(u), u], axis=1)
    rest = u**2 - line @ np.linalg.lstsq(line, u**2, rcond=None)[0]
    return rest / (rest @ rest)


def smoother(x: Floats) -> Floats:
    """H (L, L) of the least-squares curve of degree 2 through levels at x."""
    u = 2 * (x - x.min()) / np.ptp(x) - 1
    powers = np.vander(u, min(3, len(x)))
    return powers @ np.linalg.pinv(powers)


@dataclass(frozen=True, slots=True)
class Trend:
    """Whether the score changes along the axis at all: p = min(1, 2 min(p_slope, p_bend))."""

    slope: Pivot
    bend: Pivot | None
    p: float

    @property
    def word(self) -> str:
        if self.p >= 1 - self.slope.level:
            return "no trend seen"
        if self.bend is not None and self.bend.p() < self.slope.p():
            return "bends up at the ends" if self.bend.estimate > 0 else "peaks inside"
        return "rises" if self.slope.estimate > 0 else "falls"

    def sentence(self) -> str:
        line = self.slope
        return (
            f"{self.word}: fitted change from the lowest to the highest level {say(line.estimate, 'change')} "
            f"({say_level(line.level)} interval {say_range(line.low, line.high, 'change')}; slope and bend together "
            f"{say_p(self.p)}; {line.method}; {line.basis})."
        )


def trend(levels: Levels) -> Trend:
    """Slope and bend; two levels have no bend."""
    slope = levels.combined(slope_weights(levels.x))
    if len(levels.x) < 3:
        return Trend(slope, None, slope.p())
    bend = levels.combined(bend_weights(levels.x))
    return Trend(slope, bend, min(1.0, 2 * min(slope.p(), bend.p())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity(Estimate):
    """How far the smooth curve moves over the axis, and how far it would seem to move by noise alone."""

    noise: float
    """Expected range of the fitted curve when nothing moves."""

    @property
    def word(self) -> str:
        return "sensitive" if self.low > 0 else "cannot be told from flat"

    def sentence(self) -> str:
        return (
            f"{self.word}: the smooth curve moves by {self.estimate:.3g} over the axis "
            f"({say_level(self.level)} interval {say_range(self.low, self.high, 'raw')}; noise alone would move it by "
            f"{self.noise:.3g}; {self.method}; {self.basis})."
        )


def sensitivity(levels: Levels, *, draws: int = 2_000, rng: np.random.Generator) -> Sensitivity:
    """R -+ q, q the quantile of max - min of H (m* - m), widened from the normal to the slope's t.

    m* - m = units drawn anew, plus seeds' own deviations d_ls by normal multipliers: sum_s g_s d_ls / sqrt(S (S - 1)).
    """
    hat = smoother(levels.x)
    parts = [units(each, weights=levels.weights, clusters=levels.clusters) for each in levels.values]
    of_seeds = np.stack([part.means for part in parts])
    means, seeds = of_seeds.mean(axis=1), of_seeds.shape[1]
    table = np.column_stack([*(part.totals.mean(axis=0) for part in parts), parts[0].sizes])
    table = merged(table, rng)
    found: list[Floats] = []
    for weights in bootstrap_weights(len(table), draws, rng):
        sums = weights @ table
        shift = sums[:, :-1] / sums[:, -1:] - means
        if seeds > 1:
            pulls = rng.standard_normal((len(shift), seeds)) / math.sqrt(seeds * (seeds - 1))
            shift = shift + pulls @ (of_seeds - means[:, None]).T
        found.append(np.ptp(shift @ hat.T, axis=1))
    moved = np.concatenate(found)
    slope, tail = levels.combined(slope_weights(levels.x)), 0.5 + levels.level / 2
    half = float(np.quantile(moved, levels.level)) * t_quantile(tail, slope.df) / normal_quantile(tail)
    half = max(half, (slope.high - slope.low) / 2)
    range_ = float(np.ptp(hat @ (means - means[0])))
    return Sensitivity(
        "range of the smooth curve",
        range_,
        max(0.0, range_ - half),
        range_ + half,
        levels.level,
        f"degree-2 fit, bootstrap of {'clusters' if parts[0].clustered else 'items'}"
        + (" and seeds" if seeds > 1 else ""),
        parts[0].n,
        "raw",
        parts[0].count if parts[0].clustered else None,
        seeds if seeds > 1 else None,
        noise=float(moved.mean()),
    )


@dataclass(frozen=True, slots=True)
class Winners:
    """Every level that no other level is surely better than, over all pairs at once."""

    names: tuple[str, ...]
    pairs: Simultaneous

    def sentence(self) -> str:
        return (
            f"As good as any: {', '.join(self.names)}; no other level is surely better "
            f"({self.pairs.family} pairs at once, {say_level(self.pairs.level)}; {self.pairs.method})."
        )


def winners(levels: Levels, *, draws: int = 5_000, rng: np.random.Generator) -> Winners:
    """Level k is out when some y_j - y_k lies above 0 by its max-T interval in the family of all pairs."""
    pairs = list(itertools.combinations(range(len(levels.names)), 2))
    gaps = {f"{levels.names[j]} - {levels.names[k]}": levels.values[j] - levels.values[k] for j, k in pairs}
    nothing = np.zeros((1, levels.values.shape[2]))
    field = line_up(gaps, nothing, weights=levels.weights, clusters=levels.clusters, level=levels.level)
    together = simultaneous(field, draws=draws, rng=rng)
    beaten: set[int] = set()
    for (j, k), gap in zip(pairs, together.arms.values(), strict=True):
        if gap.low > 0:
            beaten.add(k)
        elif gap.high < 0:
            beaten.add(j)
    return Winners(tuple(name for i, name in enumerate(levels.names) if i not in beaten), together)


def macro(parts: Sequence[Pivot], *, apart: bool, what: str = "macro average") -> Pivot:
    """The plain mean of several tasks' answers. `apart`: they come from different runs and items, so variances add;
    otherwise standard errors do, which is the most that shared runs can make of them."""
    count = len(parts)
    variances = np.array([each.se**2 for each in parts])
    se = math.sqrt(float(variances.sum())) / count if apart else sum(each.se for each in parts) / count
    shares = float((variances**2 / np.array([each.df for each in parts])).sum())
    df = float(variances.sum()) ** 2 / shares if apart and shares > 0 else min(each.df for each in parts)
    seeds = [each.seeds for each in parts if each.seeds is not None]
    return pivot(
        what,
        float(np.mean([each.estimate for each in parts])),
        centre=float(np.mean([each.centre for each in parts])),
        se=se,
        df=df,
        level=parts[0].level,
        method=f"mean of {count} tasks, {'Welch-Satterthwaite t' if apart else 'summed standard errors'}",
        n=sum(each.n for each in parts),
        scale=parts[0].scale if len({each.scale for each in parts}) == 1 else "change",
        seeds=min(seeds) if len(seeds) == count else None,
    )
