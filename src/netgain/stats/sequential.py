"""Looking before the end: a confidence sequence for the mean difference that stays valid at every look.

Hedged betting (Waudby-Smith & Ramdas): for each candidate mean m of x = (d + 1)/2 in [0, 1], two gamblers bet on "the
mean is above / below m"; a fair m makes neither rich, so
    { m : max(K+_t(m), K-_t(m)) / 2 < 1 / alpha },   K+-_t(m) = prod_i (1 +- lambda_i(m) (x_i - m))
holds the truth at all t at once with probability 1 - alpha (Ville). lambda_i depends only on x_1..x_{i-1}.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from netgain.errors import UserError
from netgain.stats.result import Floats, say_level, say_range

GRID = 401
"""Candidate means; intervals are rounded outwards to this grid of 0.5 points."""
BLOCK = 4_000_000


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """low[t], high[t] bound the mean difference after t + 1 items, for all t together."""

    low: Floats
    high: Floats
    estimate: float
    level: float
    n: int
    method: str = "betting confidence sequence"

    def first_below(self, value: float) -> int | None:
        """Items after which the mean is below `value` for certain (forgotten, at value = -margin); None if never."""
        hits = np.flatnonzero(self.high < value)
        return int(hits[0]) + 1 if hits.size else None

    def first_above(self, value: float) -> int | None:
        """Items after which the mean is above `value` for certain (retained, at value = -margin); None if never."""
        hits = np.flatnonzero(self.low > value)
        return int(hits[0]) + 1 if hits.size else None

    def sentence(self) -> str:
        return (
            f"After {self.n} items, at any time one cares to look: mean difference {100 * self.estimate:+.1f} points "
            f"({say_level(self.level)} {self.method} {say_range(float(self.low[-1]), float(self.high[-1]), 'points')})."
        )


def bets(x: Floats, alpha: float) -> Floats:
    """lambda_t = sqrt(2 ln(2/alpha) / (s2_{t-1} t ln(1 + t))) from the running mean and variance of the past."""
    t = np.arange(1, x.size + 1)
    means = (0.5 + np.cumsum(x)) / (t + 1)
    variances = (0.25 + np.cumsum((x - means) ** 2)) / (t + 1)
    past = np.concatenate([[0.25], variances[:-1]])
    return np.sqrt(2 * math.log(2 / alpha) / (past * t * np.log1p(t)))


def confidence_sequence(differences: Floats, *, level: float = 0.95) -> ConfidenceSequence:
    """Differences d (n,) in [-1, 1], in the order in which they are looked at."""
    d = np.asarray(differences, dtype=np.float64)
    if d.size == 0:
        raise UserError("No difference to look at; a confidence sequence starts with the first item.")
    if np.isnan(d).any() or np.abs(d).max() > 1:
        raise UserError("A confidence sequence takes differences between -1 and 1 without gaps; rescale the metric.")
    alpha, x = 1 - level, (d + 1) / 2
    stakes, grid = bets(x, alpha), np.linspace(0, 1, GRID)
    up_cap, down_cap = 0.5 / np.maximum(grid, 1e-12), 0.5 / np.maximum(1 - grid, 1e-12)
    capital = np.zeros((2, GRID))
    low, high = np.empty(d.size), np.empty(d.size)
    step = max(1, BLOCK // GRID)
    for start in range(0, d.size, step):
        part, stake = x[start : start + step, None], stakes[start : start + step, None]
        up = np.cumsum(np.log1p(np.minimum(stake, up_cap) * (part - grid)), axis=0) + capital[0]
        down = np.cumsum(np.log1p(-np.minimum(stake, down_cap) * (part - grid)), axis=0) + capital[1]
        capital = np.stack([up[-1], down[-1]])
        fair = np.maximum(up, down) < math.log(2 / alpha)
        found = fair.any(axis=1)
        low[start : start + step] = np.where(found, grid[fair.argmax(axis=1)], np.nan)
        high[start : start + step] = np.where(found, grid[GRID - 1 - fair[:, ::-1].argmax(axis=1)], np.nan)
    cell = 1 / (GRID - 1)
    # A truth between two grid points is at most one cell away from a point that is still fair.
    lows, highs = np.maximum(low - cell, 0), np.minimum(high + cell, 1)
    lows, highs = np.maximum.accumulate(fill(lows, 0.0)), np.minimum.accumulate(fill(highs, 1.0))
    return ConfidenceSequence(2 * lows - 1, 2 * highs - 1, float(d.mean()), level, d.size)


def fill(values: Floats, start: float) -> Floats:
    """The last known value where the grid held no fair point (the truth lies between two points)."""
    out = values.copy()
    known = start
    for i in np.flatnonzero(np.isnan(values)):
        known = out[i - 1] if i else start
        out[i] = known
    return out


@dataclass(frozen=True, slots=True)
class Look:
    """One of several planned looks at whether more than a margin was lost. The level is shared out over the looks."""

    word: Literal["forgotten", "retained", "cannot tell"]
    estimate: float
    p_forgotten: float
    """Anytime p-value against "lost at most the margin"; forgotten when it is at most alpha / looks."""
    p_retained: float
    """Anytime p-value against "lost at least the margin"."""
    needed: int | None
    """Items after which the word was certain."""
    margin: float
    alpha: float
    looks: int
    n: int

    def sentence(self) -> str:
        return (
            f"{self.word}: mean difference {self.estimate:+.3g} of {self.n} units against a margin of "
            f"{-self.margin:+.3g}, p {self.p_forgotten:.2g} that so much was lost by chance alone, one of {self.looks} "
            f"looks at {self.alpha:g} together."
        )


def look(differences: Floats, margin: float, *, looks: int = 1, alpha: float = 0.05) -> Look:
    """Differences d (n,) in [-1, 1], + is better; forgotten when mean d < -margin for certain.

    Two bettors against m = (1 - margin)/2, each with the capital K+-_t = prod (1 +- lambda_i (x_i - m)) of x = (d+1)/2.
    While the loss is at most the margin, K- is a supermartingale, so P(sup_t K-_t >= looks/alpha) <= alpha/looks
    (Ville), and the chance that any of the looks says forgotten is at most alpha, whatever the looks share (the same
    items, a model that goes on learning).
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.size == 0:
        raise UserError("No difference to look at; a look takes at least one item.")
    if np.isnan(d).any() or np.abs(d).max() > 1:
        raise UserError("A look takes differences between -1 and 1 without gaps; rescale the metric.")
    if looks < 1 or margin <= 0:
        raise UserError("A look is one of at least one, against a margin above 0.")
    share, m = alpha / looks, max((1 - margin) / 2, 0.0)
    x = (d + 1) / 2
    stakes = bets(x, 2 * share)
    lost = np.cumsum(np.log1p(-np.minimum(stakes, 0.5 / (1 - m)) * (x - m)))
    kept = np.cumsum(np.log1p(np.minimum(stakes, 0.5 / max(m, 1e-12)) * (x - m)))
    p_lost, p_kept = (math.exp(-max(float(capital.max()), 0.0)) for capital in (lost, kept))
    word = "forgotten" if p_lost <= share else "retained" if p_kept <= share else "cannot tell"
    capital = {"forgotten": lost, "retained": kept}.get(word)
    needed = None if capital is None else int(np.argmax(capital >= -math.log(share))) + 1
    return Look(word, float(d.mean()), p_lost, p_kept, needed, margin, alpha, looks, d.size)
