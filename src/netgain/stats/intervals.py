"""Intervals for one arm: Wilson, Jeffreys or the rule of three for rates (never Wald), t for means, clusters, weights.

`score` picks the shipped default. Clustered: SE = sqrt(C/(C-1) * sum_g (sum_{i in g} (y_i - ybar))^2) / n, df = C - 1,
corrected for clusters of unequal size (`units`). Token-weighted (NLL by document): sum w y / sum w, likewise.
"""

import math
from collections.abc import Sequence

import numpy as np

from netgain.stats.distributions import beta_quantile, normal_quantile
from netgain.stats.result import Estimate, Floats, Pivot, Scale, pivot
from netgain.stats.units import is_binary, units

SMALL = 100
"""Below this many items a rate gets the Jeffreys interval."""


def wilson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """(p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n); counts may be effective ones."""
    z = normal_quantile(0.5 + level / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def jeffreys(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Quantiles of Beta(k + 1/2, n - k + 1/2)."""
    a, b = successes + 0.5, n - successes + 0.5
    return beta_quantile(0.5 - level / 2, a, b), beta_quantile(0.5 + level / 2, a, b)


def rule_of_three(n: float, level: float = 0.95) -> float:
    """1 - (1 - level)^(1/n), about 3/n: what a rate may still be when none was seen in n."""
    return 1.0 - (1.0 - level) ** (1.0 / n)


def rate(
    successes: int, n: int, level: float = 0.95, *, what: str = "rate", effective_n: float | None = None
) -> Estimate:
    """k of n: rule of three at k = 0 and k = n, Jeffreys below 100 items, Wilson above.

    `effective_n` (n over the design effect) widens the interval for clustered items.
    """
    if n == 0:
        return Estimate(what, math.nan, 0.0, 1.0, level, "none", 0, "percent")
    size = float(n) if effective_n is None else effective_n
    p = successes / n
    if successes == 0:
        low, high, method = 0.0, rule_of_three(size, level), "rule of three"
    elif successes == n:
        low, high, method = 1.0 - rule_of_three(size, level), 1.0, "rule of three"
    elif size < SMALL:
        low, high = jeffreys(p * size, size, level)
        method = "Jeffreys"
    else:
        low, high = wilson(p * size, size, level)
        method = "Wilson"
    method += "" if effective_n is None else f" on an effective n of {size:.0f}"
    return Estimate(what, p, low, high, level, method, n, "percent")


def mean(
    values: Floats,
    *,
    weights: Floats | None = None,
    clusters: Sequence[object] | np.ndarray | None = None,
    level: float = 0.95,
    what: str = "mean",
    scale: Scale = "raw",
) -> Pivot:
    """ybar -+ t_df * SE over values (n,), clustered and weighted when asked."""
    evidence = units(np.asarray(values, dtype=np.float64)[None, :], weights=weights, clusters=clusters)
    names = ["weighted"] if weights is not None else []
    names += ["clustered"] if clusters is not None else []
    note = "One unit only: its spread is unknown." if evidence.count < 2 else ""
    return pivot(
        what,
        evidence.mean,
        se=math.sqrt(evidence.variance()),
        df=evidence.df,
        level=level,
        method=" ".join([*names, "t"]),
        n=evidence.n,
        scale=scale,
        clusters=evidence.count if evidence.clustered else None,
        note=note,
        design_effect=evidence.design_effect(),
    )


def score(
    values: Floats,
    *,
    weights: Floats | None = None,
    clusters: Sequence[object] | np.ndarray | None = None,
    level: float = 0.95,
    what: str = "score",
    share: bool = False,
) -> Estimate:
    """The shipped interval of one arm's values (n,), missing entries (NaN) left out and n saying so.

    `share` says that no value can lie outside 0 and 1, so that no end of an interval does.
    """
    table = np.asarray(values, dtype=np.float64)
    seen = ~np.isnan(table)
    present = table[seen]
    if present.size == 0:
        return Estimate(what, math.nan, -math.inf, math.inf, level, "none", 0)
    kept = None if weights is None else np.asarray(weights, dtype=np.float64)[seen]
    groups = None if clusters is None else np.asarray(clusters, dtype=object)[seen]
    if kept is not None or not is_binary(present):
        scale: Scale = "share" if share else "raw"
        return mean(present, weights=kept, clusters=groups, level=level, what=what, scale=scale)
    successes = int(present.sum())
    if groups is None:
        return rate(successes, present.size, level, what=what)
    evidence = units(present, clusters=groups)
    effect = evidence.design_effect()
    # All alike: nothing tells members of a cluster apart from copies, so a cluster counts as one item.
    effective = evidence.count if effect is None else min(present.size / effect, present.size)
    return rate(successes, present.size, level, what=what, effective_n=max(float(effective), 1.0))
