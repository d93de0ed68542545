"""Joint sign flips of rows: the randomisation shared by sign-flip tests, max-T and swaps of non-mean metrics."""

import numpy as np

from netgain.stats.result import Floats

BLOCK = 4_000_000
"""Entries of the largest sign matrix held at once (32 MB)."""


def all_signs(units: int) -> Floats:
    """Every one of the 2^units sign patterns, (2^units, units)."""
    patterns = np.arange(2**units, dtype=np.int64)[:, None] >> np.arange(units)[None, :]
    return np.where(patterns & 1, -1.0, 1.0)


def random_signs(rng: np.random.Generator, draws: int, units: int) -> Floats:
    """(draws, units) of +-1, eight from each random byte."""
    raw = np.frombuffer(rng.bytes(draws * ((units + 7) // 8)), dtype=np.uint8).reshape(draws, -1)
    return 1.0 - 2.0 * np.unpackbits(raw, axis=1, count=units).astype(np.float64)


def flipped_sums(totals: Floats, *, rng: np.random.Generator | None, draws: int) -> Floats:
    """sum_g s_g totals[g] for totals (C, L): (draws, L), one sign a unit for all L columns. No rng: every pattern."""
    if rng is None:
        return all_signs(totals.shape[0]) @ totals
    out = np.empty((draws, totals.shape[1]))
    step = max(1, min(draws, BLOCK // totals.shape[0]))
    for start in range(0, draws, step):
        size = min(step, draws - start)
        out[start : start + size] = random_signs(rng, size, totals.shape[0]) @ totals
    return out
