"""Seeds x items: "these checkpoints" (items only) and "this recipe" (seeds and items), two answers to two questions.

D (S, n) is the matrix of paired differences. With mean squares of seeds, items and the rest (formula 6)
    Var(Dbar) = (MS_s + MS_i - MS_e) / (S n), floored at max(MS_s, MS_i) / (S n),
    df = Var^2 / (V_s^2/(S-1) + V_i^2/(n-1) + V_e^2/((S-1)(n-1))),     V_x = MS_x / (S n)   (Satterthwaite).
Clusters and weights enter through `units`: V_i is its squared error, n - 1 its df. Unpaired seeds: each arm brings
its own V_s and V_e.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from netgain.stats.paired import bonett_price, from_units, score_range
from netgain.stats.resample import BootstrapEstimate, bootstrap_weights, cluster_sums, interval_of
from netgain.stats.result import Components, Floats, Pivot, Scale, pivot
from netgain.stats.units import Units, codes, is_binary, merged, squared_error, units


@dataclass(frozen=True, slots=True)
class SeedPart:
    """What one arm's seeds add: V_s = var_s(means)/S and V_e, the share of it that is only item noise."""

    spread: float
    residual: float
    seeds: int


def seed_part(z: Floats) -> SeedPart:
    """V_s and V_e of one arm from its linearised units Z (S, C)."""
    seeds, count = z.shape
    if seeds < 2:
        return SeedPart(0.0, 0.0, seeds)
    means = z.mean(axis=1)
    rest = z - means[:, None] - z.mean(axis=0)[None, :] + z.mean()
    residual = float((rest * rest).sum()) / ((seeds - 1) * (count - 1)) / (seeds * count)
    return SeedPart(float(means.var(ddof=1)) / seeds, residual, seeds)


def variance_of(parts: Sequence[SeedPart], item_variance: float, item_df: float) -> tuple[float, float, Components]:
    """(Var, df, components) of a mean that crosses the given seed parts with shared units."""
    spread = sum(part.spread for part in parts)
    residual = sum(part.residual for part in parts)
    total = max(spread + item_variance - residual, spread, item_variance)
    weight = item_variance**2 / item_df
    for part in parts:
        if part.seeds > 1:
            weight += (part.spread**2 + part.residual**2 / item_df) / (part.seeds - 1)
    df = max(total**2 / weight, 1.0) if weight > 0 else item_df
    components = Components(
        seeds=max(spread - residual, 0.0), items=max(item_variance - residual, 0.0), residual=residual
    )
    return total, df, components


def crossed(
    tuned: Units,
    base: Units | None = None,
    *,
    level: float = 0.95,
    scale: Scale = "change",
    what: str = "difference",
    pseudo: Sequence[float] = (),
    names: str = "",
) -> Pivot:
    """Crossed-variance interval of paired differences, or of one arm's scores.

    With `base` the two arms' seeds are independent and only the units are shared. `pseudo` are the values of
    pseudo-units, as in `from_units`.
    """
    extended = tuned.with_pseudo(pseudo) if pseudo else tuned
    z = extended.linearised()
    if base is None:
        mean, centre, residuals, parts = tuned.mean, extended.mean, extended.residuals(), [seed_part(z)]
    else:
        against = base.with_pseudo((0.0,) * len(pseudo)) if pseudo else base
        against = Units(against.totals, extended.sizes, base.n, base.clustered, base.item_variance)
        mean, centre = tuned.mean - base.mean, extended.mean - against.mean
        residuals, parts = extended.residuals() - against.residuals(), [seed_part(z), seed_part(against.linearised())]
    total, df, components = variance_of(parts, squared_error(residuals, extended.sizes), tuned.df)
    return pivot(
        what,
        mean,
        centre=centre,
        se=math.sqrt(total),
        df=df,
        level=level,
        method=f"{names}crossed seeds x {'clusters' if tuned.clustered else 'items'}, Satterthwaite t",
        n=tuned.n,
        scale=scale,
        clusters=tuned.count if tuned.clustered else None,
        seeds=tuned.seeds,
        components=components,
    )


def checkpoint(
    tuned: Floats,
    base: Floats,
    *,
    weights: Floats | None = None,
    clusters: Sequence[object] | np.ndarray | None = None,
    binary: bool | None = None,
    level: float = 0.95,
) -> Pivot:
    """ "These checkpoints": tuned (S, n) and base (R, n) averaged over their seeds, uncertainty from the items only."""
    both_binary = is_binary(tuned, base) if binary is None else binary
    if both_binary and weights is None and clusters is None and tuned.shape[0] == base.shape[0] == 1:
        gained = int(((base == 0) & (tuned == 1)).sum())
        return bonett_price(gained, int(((base == 1) & (tuned == 0)).sum()), tuned.shape[1], level)
    matched = tuned.shape[0] == base.shape[0] or base.shape[0] == 1
    gaps = tuned - base if matched else tuned.mean(axis=0) - base.mean(axis=0)
    return from_units(
        units(gaps, weights=weights, clusters=clusters),
        level=level,
        scale="points" if both_binary else "change",
        binary=both_binary,
        spread=score_range(tuned, base),
        weighted=weights is not None,
    )


NO_RECIPE = "One seed: the answer is about this checkpoint only; a recipe needs at least two seeds, better five."


ONE_UNIT = "All evidence lies in one item or cluster, so nothing can be said about others."


def no_recipe(tuned: Floats, clusters: Sequence[object] | np.ndarray | None = None) -> str | None:
    """The sentence that stands where a recipe's answer would, or None when seeds and units suffice for one."""
    if tuned.shape[0] < 2:
        return NO_RECIPE
    count = tuned.shape[1] if clusters is None else codes(clusters)[1]
    return ONE_UNIT if count < 2 else None


def recipe(
    tuned: Floats,
    base: Floats,
    *,
    weights: Floats | None = None,
    clusters: Sequence[object] | np.ndarray | None = None,
    binary: bool | None = None,
    paired_seeds: bool = True,
    level: float = 0.95,
) -> Pivot | None:
    """ "This recipe": tuned (S, n) against base (R, n), seeds and items both random; None where `no_recipe` says why.

    R = 1 is a fixed baseline. R = S pairs seed by seed unless `paired_seeds` is off; other R are independent seeds.
    """
    if no_recipe(tuned, clusters):
        return None
    both_binary = is_binary(tuned, base) if binary is None else binary
    scale: Scale = "points" if both_binary else "change"
    height = tuned.shape[0] ** -0.25
    pseudo: tuple[float, ...] = (height, -height) if both_binary else ()
    names = ("weighted " if weights is not None else "") + ("Bonett-Price pseudo-items, " if both_binary else "")
    if base.shape[0] == 1 or (paired_seeds and base.shape[0] == tuned.shape[0]):
        gaps = units(tuned - base, weights=weights, clusters=clusters)
        spread = score_range(tuned, base)
        if not pseudo and gaps.steady(spread) and np.ptp(gaps.means) <= 1e-12 * spread:
            pseudo = (spread, -spread)
        return crossed(gaps, level=level, scale=scale, pseudo=pseudo, names=names)
    return crossed(
        units(tuned, weights=weights, clusters=clusters),
        units(base, weights=weights, clusters=clusters),
        level=level,
        scale=scale,
        pseudo=pseudo,
        names=names + "unpaired seeds, ",
    )


def recipe_score(
    values: Floats,
    *,
    weights: Floats | None = None,
    clusters: Sequence[object] | np.ndarray | None = None,
    level: float = 0.95,
    what: str = "score",
    share: bool = False,
) -> Pivot | None:
    """One arm's mean over seeds x items, (S, n); a rate gets two pseudo-items of 1 and two of 0 ("plus four").

    `share` says that no value can lie outside 0 and 1, so that no end of an interval does.
    """
    if no_recipe(values, clusters):
        return None
    rate = is_binary(values) and weights is None
    return crossed(
        units(values, weights=weights, clusters=clusters),
        level=level,
        scale="percent" if rate else "share" if share else "raw",
        what=what,
        pseudo=(1.0, 1.0, 0.0, 0.0) if rate else (),
        names="plus-four, " if rate else "",
    )


def pigeonhole(
    tuned: Floats,
    base: Floats,
    statistic: Callable[[Floats], Floats],
    *,
    clusters: Sequence[object] | np.ndarray | None = None,
    paired_seeds: bool = True,
    level: float = 0.95,
    draws: int = 10_000,
    rng: np.random.Generator,
) -> BootstrapEstimate:
    """Seeds x items for metrics that are no means: seeds and units resampled independently (Owen 2007).

    tuned (S, n, K) and base (R, n, K) are rows of sums; `statistic` maps summed rows (..., K) to the metric (...).
    A seed's metric is computed from its own sums, then averaged over seeds. One base seed is a fixed baseline.
    """
    left, right = unit_sums(tuned, clusters), unit_sums(base, clusters)
    count, seeds = left.shape[1], left.shape[0]
    same = paired_seeds and seeds == right.shape[0]
    observed = float(statistic(left.sum(axis=1)).mean() - statistic(right.sum(axis=1)).mean())
    left, right = merged_together(left, right, rng)
    drawn = []
    for weights in bootstrap_weights(left.shape[1], draws, rng):
        of_seeds = np.concatenate(list(bootstrap_weights(seeds, weights.shape[0], rng)))
        other = of_seeds if same else np.concatenate(list(bootstrap_weights(right.shape[0], weights.shape[0], rng)))
        up = statistic(np.einsum("bc,sck->bsk", weights, left, optimize=True))
        down = statistic(np.einsum("bc,sck->bsk", weights, right, optimize=True))
        drawn.append((up * of_seeds).sum(1) / seeds - (down * other).sum(1) / right.shape[0])
    return interval_of(
        np.concatenate(drawn),
        observed,
        level=level,
        method="pigeonhole bootstrap, percentile",
        n=tuned.shape[1],
        clusters=count if clusters is not None else None,
        seeds=seeds,
        alone=count < 2 or seeds < 2,
    )


def merged_together(left: Floats, right: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(S, C, K) and (R, C, K) with their units in the same, boundedly many, random bins."""
    both = np.concatenate([left, right])
    rows, count, width = both.shape
    flat = merged(both.transpose(1, 0, 2).reshape(count, rows * width), rng)
    back = flat.reshape(len(flat), rows, width).transpose(1, 0, 2)
    return back[: len(left)], back[len(left) :]


def unit_sums(rows: Floats, clusters: Sequence[object] | np.ndarray | None) -> Floats:
    """(S, n, K) rows of sums to (S, C, K) sums a cluster."""
    return np.stack([cluster_sums(seed, clusters) for seed in rows])
