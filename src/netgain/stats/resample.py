"""Paired cluster bootstrap and swap randomisation on sufficient statistics, for metrics that are no means.

An item is a row of K sums (tp, fp, fn; nll, tokens; n-gram matches and totals); a metric is a function of summed rows.
So a resample is one row of a weight matrix times the rows: draws are matrix products in blocks of bounded memory.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from netgain.stats.distributions import normal_quantile
from netgain.stats.result import Estimate, Floats, Scale, say_p
from netgain.stats.signs import flipped_sums
from netgain.stats.units import codes, merged, sums_by

BLOCK = 4_000_000
"""Entries of the largest weight matrix held at once (float64: 32 MB)."""

Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapEstimate(Estimate):
    """An estimate whose interval comes from `draws` resamples with standard deviation `se`."""

    se: float
    draws: int


def ratio(sums: Floats) -> Floats:
    """(..., 2) -> numerator / denominator; 0 where the denominator is 0."""
    return np.divide(sums[..., 0], sums[..., 1], out=np.zeros(sums.shape[:-1]), where=sums[..., 1] > 0)


def f1(sums: Floats) -> Floats:
    """(..., 3) of tp, fp, fn -> 2 tp / (2 tp + fp + fn); 0 where nothing was there and nothing found."""
    return ratio(np.stack([2 * sums[..., 0], 2 * sums[..., 0] + sums[..., 1] + sums[..., 2]], axis=-1))


def perplexity(sums: Floats) -> Floats:
    """(..., 2) of summed nll and tokens -> exp(nll / tokens)."""
    return np.exp(ratio(sums))


def bleu(sums: Floats) -> Floats:
    """(..., 2N + 2) of N matches, N totals, hypothesis and reference length -> corpus BLEU, unsmoothed, in 0..1."""
    orders = (sums.shape[-1] - 2) // 2
    matches, totals = sums[..., :orders], sums[..., orders : 2 * orders]
    precision = np.divide(matches, totals, out=np.zeros_like(matches), where=totals > 0)
    logs = np.log(np.maximum(precision, 1e-300)).mean(axis=-1)
    brevity = np.minimum(0.0, 1.0 - np.divide(sums[..., -1], np.maximum(sums[..., -2], 1e-300)))
    return np.where((precision > 0).all(axis=-1), np.exp(logs + brevity), 0.0)


def cluster_sums(rows: Floats, clusters: Sequence[object] | np.ndarray | None) -> Floats:
    """Rows (n, K) summed within clusters, (C, K)."""
    table = np.asarray(rows, dtype=np.float64)
    if clusters is None:
        return table
    index, count = codes(clusters)
    return np.stack([sums_by(index, column, count) for column in table.T], axis=1)


def bootstrap_weights(units: int, draws: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Blocks (B, units) of multinomial counts: how often each unit was drawn in each resample."""
    step = max(1, min(draws, BLOCK // units))
    for start in range(0, draws, step):
        size = min(step, draws - start)
        picks = rng.integers(units, size=(size, units)) + units * np.arange(size)[:, None]
        yield np.bincount(picks.ravel(), minlength=size * units).reshape(size, units).astype(np.float64)


def bca_levels(drawn: Floats, observed: float, jackknife: Floats, level: float) -> tuple[float, float] | None:
    """Percentiles that correct bias and skew; None when every resample lies on one side of the estimate.

    z0 = Phi^-1(P*(t* < t)), a = sum u^3 / (6 (sum u^2)^1.5) with u the centred jackknife values.
    """
    share = float((drawn < observed).mean() + 0.5 * (drawn == observed).mean())
    if not 0.0 < share < 1.0:
        return None
    u = jackknife.mean() - jackknife
    scale = float((u * u).sum()) ** 1.5
    acceleration = float((u**3).sum()) / (6 * scale) if scale > 0 else 0.0
    z0 = normal_quantile(share)
    levels = []
    for p in (0.5 - level / 2, 0.5 + level / 2):
        z = z0 + normal_quantile(p)
        levels.append(0.5 * math.erfc(-(z0 + z / (1 - acceleration * z)) / math.sqrt(2)))
    return levels[0], levels[1]


def interval_of(
    drawn: Floats,
    observed: float,
    *,
    level: float,
    method: str,
    n: int,
    what: str = "difference",
    scale: Scale = "change",
    clusters: int | None = None,
    seeds: int | None = None,
    levels: tuple[float, float] | None = None,
    alone: bool = False,
) -> BootstrapEstimate:
    """Read an interval off resampled values (B,), at plain percentiles unless `levels` says otherwise.

    `alone`: there was but one thing to draw from, so no spread was seen and none is claimed.
    """
    low, high = np.quantile(drawn, levels or (0.5 - level / 2, 0.5 + level / 2))
    note = "Every resample gave the same value: the evidence shows no spread." if np.ptp(drawn) == 0 else ""
    if alone:
        low, high, note = -math.inf, math.inf, "One unit only: its spread is unknown."
    return BootstrapEstimate(
        what,
        observed,
        float(low),
        float(high),
        level,
        method,
        n,
        scale,
        clusters,
        seeds,
        note,
        se=float(drawn.std(ddof=1)),
        draws=drawn.size,
    )


def paired_bootstrap(
    tuned: Floats,
    base: Floats,
    statistic: Statistic,
    *,
    clusters: Sequence[object] | np.ndarray | None = None,
    level: float = 0.95,
    draws: int = 10_000,
    rng: np.random.Generator,
) -> BootstrapEstimate:
    """statistic(sum of tuned rows) - statistic(sum of base rows), both (n, K); whole units resampled together, BCa."""
    left, right = cluster_sums(tuned, clusters), cluster_sums(base, clusters)
    width, count = left.shape[1], len(left)
    both = merged(np.concatenate([left, right], axis=1), rng)

    def contrast(sums: Floats) -> Floats:
        return statistic(sums[..., :width]) - statistic(sums[..., width:])

    total = both.sum(axis=0)
    observed = float(contrast(total))
    drawn = np.concatenate([contrast(w @ both) for w in bootstrap_weights(len(both), draws, rng)])
    levels = bca_levels(drawn, observed, contrast(total - both), level) if len(both) > 1 else None
    return interval_of(
        drawn,
        observed,
        level=level,
        method=f"paired {'cluster ' if clusters is not None else ''}bootstrap, {'BCa' if levels else 'percentile'}",
        n=len(tuned),
        clusters=count if clusters is not None else None,
        levels=levels,
        alone=count < 2,
    )


@dataclass(frozen=True, slots=True)
class Swap:
    """Randomisation by swapping the arms' outputs item by item."""

    estimate: float
    p: float
    draws: int
    n: int
    method: str = "swap randomisation"

    def sentence(self) -> str:
        return f"Swap randomisation over {self.n} units, {self.draws} draws: {self.estimate:+.3g}, {say_p(self.p)}."


def swap_test(
    tuned: Floats,
    base: Floats,
    statistic: Statistic,
    *,
    clusters: Sequence[object] | np.ndarray | None = None,
    draws: int = 10_000,
    rng: np.random.Generator,
) -> Swap:
    """Under "the arms are exchangeable", swapping a unit's rows changes nothing: p = (1 + #{|t*| >= |t|}) / (B + 1)."""
    left, right = cluster_sums(tuned, clusters), cluster_sums(base, clusters)
    centre, half = (left + right).sum(axis=0) / 2, (left - right) / 2
    observed = float(statistic(left.sum(axis=0)) - statistic(right.sum(axis=0)))
    moves = flipped_sums(merged(half, rng), rng=rng, draws=draws)
    drawn = np.abs(statistic(centre + moves) - statistic(centre - moves))
    hits = int((drawn >= abs(observed) * (1 - 1e-9)).sum())
    return Swap(observed, (1 + hits) / (draws + 1), draws, len(left))
