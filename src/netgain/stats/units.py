"""Independent units of evidence: items, or clusters of items, reduced to totals and sizes.

A (weighted, clustered) mean over items is the ratio sum_g U_g / sum_g W_g of unit totals U_g = sum_{i in g} w_i y_i and
sizes W_g = sum_{i in g} w_i. Its squared standard error, from residuals r_g = U_g - ybar W_g, is the jackknife's,
    (C-1)/C * sum_g (r_g / (1 - W_g / sum W))^2 / (sum W)^2,     df = (sum W)^2 / sum W^2 - 1   (Kish's n, less one).
For units of equal size that is exactly C/(C-1) * sum_g r_g^2 / (sum W)^2 with df = C - 1. For unequal ones (token
weights, ragged clusters) the plain form covers too little, 90 % with 12 documents, and this one enough
(`bench/coverage.py`). So clusters and weights need no second set of formulae.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netgain.stats.result import Floats

BINS = 4096
"""Resampling merges more units than this into random bins; closed forms never do."""


@dataclass(frozen=True, slots=True)
class Units:
    """Totals (S, C) of S seeds over C units and the units' sizes (C,); `n` items lie in them."""

    totals: Floats
    sizes: Floats
    n: int
    clustered: bool
    item_variance: float
    """Squared SE that the seeds' mean would have, were the items independent (the design effect's denominator)."""

    @property
    def count(self) -> int:
        return self.sizes.shape[0]

    @property
    def seeds(self) -> int:
        return self.totals.shape[0]

    @property
    def means(self) -> Floats:
        """(S,) one ratio mean a seed."""
        return self.totals.sum(axis=1) / self.sizes.sum()

    @property
    def mean(self) -> float:
        return float(self.means.mean())

    @property
    def df(self) -> float:
        """Kish's effective number of units, less one; C - 1 for equal sizes; at least one."""
        return max(float(self.sizes.sum()) ** 2 / float((self.sizes**2).sum()) - 1.0, 1.0)

    def linearised(self) -> Floats:
        """Z (S, C) = C (U - ybar W) / sum W + ybar: plain means over units are the seeds' means."""
        mean = self.mean
        return self.count * (self.totals - mean * self.sizes) / self.sizes.sum() + mean

    def residuals(self) -> Floats:
        """r (C,) of the seeds' mean."""
        return self.totals.mean(axis=0) - self.mean * self.sizes

    def variance(self) -> float:
        """Squared SE over units of the seeds' mean."""
        return squared_error(self.residuals(), self.sizes)

    def design_effect(self) -> float | None:
        """Clustered variance over the variance that ignores clusters; None without clusters or without spread."""
        if not self.clustered or self.item_variance <= 0 or self.count < 2:
            return None
        return self.variance() / self.item_variance

    def steady(self, spread: float) -> bool:
        """Are the seeds' means alike in all units, up to rounding on scores that span `spread`?"""
        return float(np.ptp(self.totals.mean(axis=0) / self.sizes)) <= 1e-12 * spread

    def with_pseudo(self, values: Sequence[float]) -> "Units":
        """Append one pseudo-unit a value, alike in every seed, worth one independent item.

        Without clusters that is one item. With clusters it is `design effect` items (an item if members are
        independent, a whole cluster if they agree), because C clusters of copies hold C items of information.
        """
        average = self.sizes.sum() / self.n
        size = average
        if self.clustered:
            per_cluster = self.n / self.count
            effect = self.design_effect()
            size = average * (per_cluster if effect is None else min(max(effect, 1.0), max(per_cluster, 1.0)))
        extra = np.tile(size * np.asarray(values, dtype=np.float64), (self.seeds, 1))
        return Units(
            totals=np.concatenate([self.totals, extra], axis=1),
            sizes=np.concatenate([self.sizes, np.full(len(values), size)]),
            n=self.n,
            clustered=self.clustered,
            item_variance=self.item_variance,
        )


def squared_error(residuals: Floats, sizes: Floats) -> float:
    """(C-1)/C * sum_g (r_g / (sum W - W_g))^2; infinite for a single unit, whose spread nobody has seen."""
    count = sizes.size
    if count < 2:
        return math.inf
    steps = residuals / (sizes.sum() - sizes)
    return (count - 1) / count * float(np.dot(steps, steps))


def codes(clusters: Sequence[object] | np.ndarray) -> tuple[np.ndarray, int]:
    """Integer code (n,) of each item's cluster, and how many there are. Without a label an item is its own cluster."""
    labels = np.asarray(clusters) if isinstance(clusters, np.ndarray) else clusters
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "iu":
        found, inverse = np.unique(labels, return_inverse=True)
        return inverse, found.size
    seen: dict[object, int] = {}
    listed = labels.tolist() if isinstance(labels, np.ndarray) else labels
    named = (object() if label is None else label for label in listed)
    out = np.fromiter((seen.setdefault(label, len(seen)) for label in named), dtype=np.int64, count=len(listed))
    return out, len(seen)


def units(
    values: Floats,
    *,
    weights: Floats | None = None,
    clusters: Sequence[object] | np.ndarray | None = None,
) -> Units:
    """Reduce values (n,) or (S, n), without missing entries, to independent units; items of weight 0 hold nothing."""
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    sizes = np.ones(table.shape[1]) if weights is None else np.asarray(weights, dtype=np.float64)
    if not sizes.all():
        held = sizes > 0
        table, sizes, weights = table[:, held], sizes[held], sizes[held]
        clusters = None if clusters is None else np.asarray(clusters)[held]
    n = table.shape[1]
    totals = table if weights is None else table * sizes
    total_size = float(sizes.sum())
    if n > 1:
        means = table.mean(axis=0)
        residual = sizes * (means - (sizes * means).sum() / total_size)
        item_variance = float(n / (n - 1) * np.dot(residual, residual) / total_size**2)
    else:
        item_variance = math.inf
    if clusters is None:
        return Units(totals, sizes, n, False, item_variance)
    index, count = codes(clusters)
    grouped = np.stack([sums_by(index, row, count) for row in totals])
    return Units(grouped, sums_by(index, sizes, count), n, True, item_variance)


def sums_by(index: np.ndarray, values: Floats, count: int) -> Floats:
    """Values (n,) summed within each of `count` codes."""
    return np.bincount(index, weights=values, minlength=count).astype(np.float64, copy=False)


def merged(totals: Floats, rng: np.random.Generator) -> Floats:
    """Rows (C, K) summed into at most `BINS` random bins: the same sums and the same noise, at bounded cost."""
    count = totals.shape[0]
    if count <= BINS:
        return totals
    places = rng.permutation(count) % BINS
    return np.stack([sums_by(places, column, BINS) for column in totals.T], axis=1)


def is_binary(*tables: Floats) -> bool:
    """Are all values 0 or 1?"""
    return all(bool(((table == 0) | (table == 1)).all()) for table in tables)
