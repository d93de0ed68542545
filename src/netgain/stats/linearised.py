"""Ratios of sums as if they were means: micro F1, and everything else whose denominator differs between arms.

With R = sum_i a_i / sum_i b_i over items i,
    z_i = R + (a_i - R b_i) / mean(b)
has mean(z) = R exactly, and the scatter of z is R's own to first order (the delta method). So paired differences,
clusters, seeds, simultaneous intervals and selection work for such a metric as they do for a mean.

The same holds for a correlation r of standardised p and g, such as Matthews' of predictions and labels:
    z_i = r + p_i g_i - r (p_i^2 + g_i^2) / 2
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


def linearised_mcc(said: Floats, truth: Floats) -> Floats:
    """z of the correlation of said (S, n), NaN where missing, and truth (n,), 0 or 1 each; 0 where one is constant."""
    missing = np.isnan(said)
    count = (~missing).sum(axis=-1, keepdims=True)
    p, g = (_standardised(each, missing, count) for each in (said, np.broadcast_to(truth, said.shape)))
    r = (p * g).sum(axis=-1, keepdims=True) / np.maximum(count, 1)
    return np.where(missing | (count == 0), np.nan, r + p * g - r * (p * p + g * g) / 2)


def _standardised(values: Floats, missing: np.ndarray, count: np.ndarray) -> Floats:
    """(x - mean) / sd over the items that are there; 0 where they are all alike, or missing."""
    held = np.where(missing, 0.0, values)
    centred = np.where(missing, 0.0, held - held.sum(axis=-1, keepdims=True) / np.maximum(count, 1))
    spread = np.sqrt((centred * centred).sum(axis=-1, keepdims=True) / np.maximum(count, 1))
    return np.divide(centred, spread, where=spread > 1e-12, out=np.zeros_like(centred))
