"""Ratios of sums as if they were means: micro F1, and everything else whose denominator differs between arms.

With R = sum_i a_i / sum_i b_i over items i,
    z_i = R + (a_i - R b_i) / mean(b)
has mean(z) = R exactly, and the scatter of z is R's own to first order (the delta method). So paired differences,
clusters, seeds, simultaneous intervals and selection work for such a metric as they do for a mean.
"""

import numpy as np

from netgain.stats.result import Floats


def linearised(parts: Floats, wholes: Floats) -> Floats:
    """z (S, n) of a (S, n) over b (S, n), seed by seed; NaN where an item is missing or all wholes are 0."""
    missing = np.isnan(parts) | np.isnan(wholes)
    held = np.where(missing, 0.0, wholes)
    total = held.sum(axis=-1, keepdims=True)
    count = (~missing).sum(axis=-1, keepdims=True)
    defined = total > 0
    ratio = np.divide(np.where(missing, 0.0, parts).sum(axis=-1, keepdims=True), total, where=defined, out=total * 0)
    scaled = np.divide((parts - ratio * wholes) * count, total, where=defined, out=np.full(parts.shape, np.nan))
    return np.where(missing | ~defined, np.nan, ratio + scaled)


def linearised_f1(right: Floats, wrong: Floats, missed: Floats) -> Floats:
    """z of micro F1 = 2 TP / (2 TP + FP + FN), from the counts of each item."""
    return linearised(2 * right, 2 * right + wrong + missed)
