"""Quality against diversity: how much of the plane an arm reaches, and how diverse it is at equal quality.

An arm is a point (q, d) for each sampling temperature: means over prompts. Taking one of two temperatures by a coin for
each prompt reaches every point between theirs, and less quality can always be had, so what an arm reaches is all under
the concave envelope D(q) of its points. On it

    hypervolume   integral of D(q) - d0 over q >= q0, where that is positive, (q0, d0) being the reference
    matched       mean of D_arm(q) - D_base(q) over the qualities that both trade against diversity

Intervals resample prompts (clusters of them), the same for both arms and all temperatures, and seeds where there are
several. One point of an arm is never compared with one point of another.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from netgain.stats.resample import BootstrapEstimate, interval_of
from netgain.stats.result import Floats, Scale
from netgain.stats.units import codes

Point = tuple[float, float]
DRAWS = 2000
GRID = 33
"""Qualities at which two envelopes are compared."""


@dataclass(frozen=True)
class Curve:
    """One arm: quality and diversity (S, T, n) of S seeds, T temperatures and n prompts, the same for all arms."""

    quality: Floats
    diversity: Floats

    def points(self) -> list[Point]:
        """(q, d) at each temperature, means over seeds and prompts."""
        return list(zip(self.quality.mean((0, 2)).tolist(), self.diversity.mean((0, 2)).tolist(), strict=True))


def envelope(points: Sequence[Point]) -> list[Point]:
    """The corners of D(q), from the most diverse point to the best: upper hull, of falling diversity."""
    best: list[Point] = []
    start = max(points, key=lambda p: (p[1], p[0]))
    for point in sorted({p for p in points if p[0] >= start[0]}):
        while len(best) > 1 and _turns_up(best[-2], best[-1], point):
            best.pop()
        if best and best[-1][0] == point[0]:
            if best[-1][1] >= point[1]:
                continue
            best.pop()
        best.append(point)
    return best


def _turns_up(a: Point, b: Point, c: Point) -> bool:
    """Whether b lies on or under the line from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])


def hypervolume(points: Sequence[Point], reference: Point = (0.0, 0.0)) -> float:
    """Area under D(q), right of and above the reference."""
    moved = [(q - reference[0], d - reference[1]) for q, d in points if q > reference[0] and d >= reference[1]]
    if not moved:
        return 0.0
    corners = envelope(moved)
    first = corners[0]
    area = first[0] * first[1]
    for left, right in pairwise(corners):
        area += (right[0] - left[0]) * (left[1] + right[1]) / 2
    return area


def reached(points: Sequence[Point], qualities: Floats) -> Floats:
    """D(q) at some qualities; beyond the arm's best quality, its diversity there."""
    corners = np.array(envelope(points))
    return np.interp(qualities, corners[:, 0], corners[:, 1])


def common(one: Sequence[Point], other: Sequence[Point]) -> tuple[float, float] | None:
    """The qualities that both arms have: from the higher of their lowest up to the lower of their best; None when one
    arm has no quality that the other has."""
    low = max(min(q for q, _ in one), min(q for q, _ in other))
    high = min(envelope(one)[-1][0], envelope(other)[-1][0])
    return (low, high) if low <= high else None


@dataclass(frozen=True)
class Compared:
    """One arm against the baseline: both hypervolumes and their difference, and diversity at equal quality."""

    hypervolume: BootstrapEstimate
    base: BootstrapEstimate
    gain: BootstrapEstimate
    matched: BootstrapEstimate | None
    between: tuple[float, float] | None

    def sentence(self) -> str:
        if self.matched is None or self.between is None:
            told = "No quality is reached by both, so there is no diversity at equal quality."
        else:
            told = f"At equal quality ({self.between[0]:.3g} to {self.between[1]:.3g}): {self.matched.sentence()}"
        return f"Hypervolume: {self.gain.sentence()} {told}"


def compare(
    arm: Curve,
    base: Curve,
    *,
    reference: Point = (0.0, 0.0),
    clusters: Sequence[object] | None = None,
    level: float = 0.95,
    draws: int = DRAWS,
    rng: np.random.Generator,
) -> Compared:
    """Both arms on the same prompts, resampled together; seeds are resampled together where they are paired."""
    between = common(arm.points(), base.points())
    grid = np.linspace(*between, GRID) if between else None

    def measured(one: Sequence[Point], other: Sequence[Point]) -> tuple[float, float, float]:
        matched = math.nan if grid is None else float((reached(one, grid) - reached(other, grid)).mean())
        return hypervolume(one, reference), hypervolume(other, reference), matched

    observed = measured(arm.points(), base.points())
    weights, of = _weights((arm.quality, base.quality), clusters, draws, rng)
    left, right = _points(arm, weights, of[0]), _points(base, weights, of[1])
    drawn = np.array([measured(one, other) for one, other in zip(left, right, strict=True)])
    said = _Said(arm.quality.shape[2], clusters, min(len(arm.quality), len(base.quality)), level)
    gain = said.of(drawn[:, 0] - drawn[:, 1], observed[0] - observed[1], "difference in hypervolume", "change")
    matched = None if grid is None else said.of(drawn[:, 2], observed[2], "difference in diversity", "change")
    return Compared(
        said.of(drawn[:, 0], observed[0], "hypervolume", "raw"),
        said.of(drawn[:, 1], observed[1], "hypervolume", "raw"),
        gain,
        matched,
        between,
    )


def best_difference(
    arm: Floats,
    base: Floats,
    *,
    what: str,
    clusters: Sequence[object] | None = None,
    level: float = 0.95,
    draws: int = DRAWS,
    rng: np.random.Generator,
) -> BootstrapEstimate:
    """max_T mean(arm) - max_T mean(base) for values (S, T, n) of a rate: each arm at its own best temperature, which
    every resample chooses anew, so that choosing costs both the same."""
    weights, of = _weights((arm, base), clusters, draws, rng)
    left, right = (_means(values, weights, own).max(axis=1) for values, own in zip((arm, base), of, strict=True))
    observed = float(arm.mean((0, 2)).max() - base.mean((0, 2)).max())
    said = _Said(arm.shape[2], clusters, min(len(arm), len(base)), level)
    return said.of(left - right, observed, what, "points")


@dataclass(frozen=True)
class _Said:
    """What every interval of one comparison rests on."""

    prompts: int
    clusters: Sequence[object] | None
    seeds: int
    level: float

    def of(self, drawn: Floats, observed: float, what: str, scale: Scale) -> BootstrapEstimate:
        groups = len(set(self.clusters)) if self.clusters is not None else None
        over = f"{'clusters of ' if groups else ''}prompts{' and seeds' if self.seeds > 1 else ''}"
        return interval_of(
            drawn,
            observed,
            level=self.level,
            method=f"paired bootstrap over {over}, percentile",
            n=self.prompts,
            what=what,
            scale=scale,
            clusters=groups,
            seeds=self.seeds,
            alone=(groups or self.prompts) < 2,
        )


def _weights(
    both: tuple[Floats, Floats], clusters: Sequence[object] | None, draws: int, rng: np.random.Generator
) -> tuple[Floats, tuple[Floats, Floats]]:
    """(B, n) share of each prompt in each resample, and for each arm (B, S) that of each seed; equal numbers of seeds
    are paired."""
    prompts = both[0].shape[2]
    index, count = codes(clusters) if clusters is not None else (np.arange(prompts), prompts)
    weights = _shares(count, draws, rng)[:, index]
    weights /= weights.sum(axis=1, keepdims=True)
    first = _shares(len(both[0]), draws, rng)
    return weights, (first, first if len(both[0]) == len(both[1]) else _shares(len(both[1]), draws, rng))


def _means(values: Floats, weights: Floats, seeds: Floats) -> Floats:
    """(B, T) of (S, T, n)."""
    return np.einsum("bs,stn,bn->bt", seeds, values, weights, optimize=True)


def _points(curve: Curve, weights: Floats, seeds: Floats) -> list[list[Point]]:
    """The points of an arm in each resample."""
    both = np.stack([_means(curve.quality, weights, seeds), _means(curve.diversity, weights, seeds)], axis=-1)
    return [[(q, d) for q, d in each] for each in both.tolist()]


def _shares(units: int, draws: int, rng: np.random.Generator) -> Floats:
    """(B, units) how often each was drawn, over all draws."""
    picks = rng.integers(units, size=(draws, units)) + units * np.arange(draws)[:, None]
    return np.bincount(picks.ravel(), minlength=draws * units).reshape(draws, units) / units
