"""Beyond the single best arm: the set that cannot be told from it, the trend along an axis, the best of k tries."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netgain.errors import UserError
from netgain.stats.result import Floats, say_level, say_p
from netgain.stats.selection import Field, smallest_p
from netgain.stats.units import squared_error


@dataclass(frozen=True, slots=True)
class BestSet:
    """The arms that no other arm beats for certain."""

    best: str
    members: tuple[str, ...]
    excluded: tuple[str, ...]
    family: int
    level: float
    n: int
    method: str = "all pairs, max-T by joint sign flips"

    def sentence(self) -> str:
        text = f"{len(self.members)} of {self.family} arms cannot be told from the best ({self.best}) at "
        text += f"{say_level(self.level)}: {', '.join(self.members)}"
        return f"{text} ({self.method}; n = {self.n})."


def best_set(field: Field, *, draws: int = 5_000, rng: np.random.Generator) -> BestSet:
    """Leave out arm l when some arm k beats it: p of d_k - d_l under the `1 - level` quantile of min p* over all pairs.

    Items only: the arms' checkpoints are compared, seed by seed averages.
    """
    count, size = field.totals.shape
    pairs = [(k, j) for k in range(size) for j in range(k + 1, size)]
    if not pairs or count < 2:
        return BestSet(field.names[field.winner], field.names, (), size, field.level, field.answers[0].n)
    gaps = np.stack([field.totals[:, k] - field.totals[:, j] for k, j in pairs], axis=1)
    critical = np.quantile(smallest_p(gaps, draws=draws, rng=rng), 1 - field.level, method="lower")
    beaten = set()
    for column, (k, j) in enumerate(pairs):
        gap = gaps[:, column]
        mean = gap.sum() / field.sizes.sum()
        if mean != 0 and t_test(gap, field.sizes) < critical:
            beaten.add(j if mean > 0 else k)
    members = tuple(name for i, name in enumerate(field.names) if i not in beaten)
    out = tuple(name for i, name in enumerate(field.names) if i in beaten)
    return BestSet(field.names[field.winner], members, out, size, field.level, field.answers[0].n)


def t_test(totals: Floats, sizes: Floats) -> float:
    """Two-sided p of sum U / sum W against 0."""
    from scipy.special import stdtr

    mean = totals.sum() / sizes.sum()
    se = math.sqrt(squared_error(totals - mean * sizes, sizes))
    if se == 0:
        return 0.0 if mean != 0 else 1.0
    return float(2 * stdtr(sizes.size - 1, -abs(mean) / se))


@dataclass(frozen=True, slots=True)
class Trend:
    """Straight and curved trend of the arms along an ordered axis: a smooth curve is better evidence than its peak."""

    slope: float
    """Change of d from the axis's first to its last arm, by the straight line."""
    p_slope: float
    curvature: float
    """How far the middle lies above the ends, by the parabola."""
    p_curvature: float
    spearman: float
    arms: int
    n: int
    axis: str
    method: str = "orthogonal polynomials by item, max-T over both"

    def sentence(self) -> str:
        def word(value: float, p: float, up: str, down: str) -> str:
            return f"{up if value > 0 else down} ({say_p(p)})" if p < 0.05 else f"not shown ({say_p(p)})"

        rises = word(self.slope, self.p_slope, "rising", "falling")
        bends = word(self.curvature, self.p_curvature, "peak inside", "dip inside")
        return (
            f"Along {self.arms} arms on a {self.axis} axis: straight trend {rises}, {self.slope:+.3g} from end to end; "
            f"curve {bends}; Spearman {self.spearman:+.2f} ({self.method}; n = {self.n})."
        )


def polynomials(axis: Sequence[float]) -> tuple[Floats, Floats, str]:
    """Straight contrast (end-to-end change) and parabola (middle above ends) for arms at `axis`; log when all > 0."""
    at = np.asarray(axis, dtype=np.float64)
    if at.size < 3 or (np.diff(at) <= 0).any():
        raise UserError("A trend takes at least three arms on a strictly rising axis; sort the arms by their value.")
    if (at > 0).all():
        at, name = np.log(at), "log"
    else:
        at, name = np.arange(at.size, dtype=np.float64), "rank"
    x = (at - at.mean()) / (at[-1] - at[0])
    straight = x / (x * x).sum()
    square = x * x - (x * x).mean()
    square = square - x * (square * x).sum() / (x * x).sum()
    ends, middle = (square[0] + square[-1]) / 2, square.min()
    return straight, -square * (ends - middle) / (square * square).sum() if square.any() else square, name


def trend(field: Field, axis: Sequence[float], *, draws: int = 5_000, rng: np.random.Generator) -> Trend:
    """Each item's own slope and curvature over the arms, tested by joint sign flips; adjusted for testing two."""
    straight, curved, name = polynomials(axis)
    scores = np.stack([field.totals @ straight, field.totals @ curved], axis=1)
    null = np.sort(smallest_p(scores, draws=draws, rng=rng))
    own = np.array([t_test(column, field.sizes) for column in scores.T])
    adjusted = (1 + np.searchsorted(null, own * (1 + 1e-9), side="right")) / (draws + 1)
    slope, curvature = scores.sum(axis=0) / field.sizes.sum()
    return Trend(
        slope=float(slope),
        p_slope=float(adjusted[0]),
        curvature=float(curvature),
        p_curvature=float(adjusted[1]),
        spearman=rank_correlation(np.arange(len(axis), dtype=np.float64), field.means),
        arms=len(axis),
        n=field.answers[0].n,
        axis=name,
    )


def ranks(values: Floats) -> Floats:
    """Average ranks, ties sharing theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def rank_correlation(x: Floats, y: Floats) -> float:
    """Spearman's rho; 0 when either side never changes."""
    a, b = ranks(x) - (x.size + 1) / 2, ranks(y) - (y.size + 1) / 2
    below = math.sqrt(float((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / below if below > 0 else 0.0


@dataclass(frozen=True, slots=True)
class BestOfK:
    """Expected best of k tries, k = 1..B, by both estimators; nothing is said beyond the B tries that were run."""

    k: tuple[int, ...]
    dodge: tuple[float, ...]
    """Plug-in (Dodge 2019): biased downwards."""
    unbiased: tuple[float, ...]
    """U-statistic (Tang 2020, Dodge 2021): no bias, more variance."""
    tries: int
    method: str = "expected best of k, plug-in and unbiased"

    def sentence(self) -> str:
        return (
            f"One of {self.tries} tries is expected to reach {self.unbiased[0]:.4g}, the best of all {self.tries} "
            f"{self.unbiased[-1]:.4g} (plug-in {self.dodge[-1]:.4g}); more tries than that were not run."
        )


def best_of_k(values: Floats, *, higher_is_better: bool = True) -> BestOfK:
    """V_k = sum_i v_(i) [(i/B)^k - ((i-1)/B)^k] and U_k = sum_i v_(i) C(i-1, k-1) / C(B, k), v ascending."""
    v = np.sort(np.asarray(values, dtype=np.float64))
    v = v if higher_is_better else v[::-1]
    size = v.size
    if size == 0:
        raise UserError("No try to take the best of; pass at least one value.")
    i = np.arange(1, size + 1)
    dodge, unbiased = [], []
    for k in range(1, size + 1):
        dodge.append(float(v @ ((i / size) ** k - ((i - 1) / size) ** k)))
        weights = np.array([math.comb(int(j) - 1, k - 1) / math.comb(size, k) for j in i])
        unbiased.append(float(v @ weights))
    return BestOfK(tuple(range(1, size + 1)), tuple(dodge), tuple(unbiased), size)
