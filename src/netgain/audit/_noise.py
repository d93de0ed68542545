"""The noise that a printed number carries: counts behind percentages (GRIM), standard errors, what luck alone gives.

Closed forms and the standard library only, so that auditing a document starts at once.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist

from netgain.interop.documents import Value

NORMAL = NormalDist()
Z95 = NORMAL.inv_cdf(0.975)
POWER = Z95 + NORMAL.inv_cdf(0.80)
MAX_N = 1_500
LIKELY = sorted(
    {8, 10, 16, 20, 24, 25, 32, 40, 64, 80, 164, 198, 277, 378, 408, 448, 805, 817, 872, 1172, 1319}
    | set(range(50, MAX_N, 50))
)
"""Sizes that evaluations have: round numbers and those of well-known benchmarks."""


def difference_se(p: float, q: float, n: int) -> float:
    """sqrt((p(1-p) + q(1-q)) / n): two rates on n items each, nothing known of the pairing."""
    return math.sqrt((p * (1 - p) + q * (1 - q)) / n)


def two_sided(z: float) -> float:
    """p of a normal deviate."""
    return 2 * NORMAL.cdf(-abs(z))


def expected_best(k: int) -> float:
    """E[max of k standard normals], Blom: how far the luckiest of k equal arms stands out, in standard errors."""
    return NORMAL.inv_cdf((k - 0.375) / (k + 0.25)) if k > 1 else 0.0


def detectable(n: int, discordance: float = 0.10) -> float:
    """(z_.975 + z_.80) sqrt(psi / n): the smallest paired difference of rates found 4 times in 5."""
    return POWER * math.sqrt(discordance / n)


def items_needed(delta: float, discordance: float = 0.10) -> int:
    """n for a paired difference of `delta` at 80 % power."""
    psi = max(discordance, abs(delta))
    return math.ceil(((Z95 * math.sqrt(psi) + (POWER - Z95) * math.sqrt(max(psi - delta**2, 0))) / delta) ** 2)


def fits(rate: float, half: float, n: int) -> bool:
    """GRIM: is there a count k with k / n within rate -+ half?"""
    k = round(rate * n)
    return any(abs((k + step) / n - rate) <= half * (1 + 1e-9) + 1e-12 for step in (-1, 0, 1) if 0 <= k + step <= n)


def scale(value: Value, rate: float) -> float:
    """rate per printed unit: 0.01 for percent, 1 for fractions."""
    return 0.01 if value.number and abs(rate / value.number - 0.01) < 1e-6 else 1.0


def implied_n(printed: Sequence[tuple[Value, float]]) -> int | None:
    """The number of items behind rates that were all measured on the same items, when the printed digits betray it.

    The smallest n that makes every rate a count, if so small an n would rarely do so by accident (any n: 0.2 %; a round
    one or a benchmark's own: 5 %); or the grid step: rates printed to 0.1 % that are all multiples of 0.2 % come from
    500 items.
    """
    rates = sorted({(rate, value.half * scale(value, rate)) for value, rate in printed if 0 < rate < 1})
    if len(rates) < 2:
        return None
    step = 2 * max(half for _, half in rates)
    for candidates, accepted in ((range(2, MAX_N), 0.002), (LIKELY, 0.05)):
        n = next((n for n in candidates if all(fits(r, h, n) for r, h in rates)), None)
        if n is not None and sum(min(1.0, step * m) ** len(rates) for m in candidates if m <= n) < accepted:
            return n
    grid = round(1 / step)
    common = math.gcd(grid, *(round(r / step) for r, _ in rates))
    return grid // common if common > 1 and common ** -len(rates) < 0.1 else None


def mean_and_sd(values: Sequence[float], population: bool = False) -> tuple[float, float]:
    """Mean and standard deviation; the sample one divides by n - 1."""
    mean = sum(values) / len(values)
    freedom = len(values) if population else len(values) - 1
    return mean, math.sqrt(sum((v - mean) * (v - mean) for v in values) / freedom) if freedom > 0 else 0.0


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Rank correlation with mid-ranks; 0 when one side is constant."""
    a, b = _ranks(x), _ranks(y)
    (ma, sa), (mb, sb) = mean_and_sd(a), mean_and_sd(b)
    if sa == 0 or sb == 0:
        return 0.0
    return sum((i - ma) * (j - mb) for i, j in zip(a, b, strict=True)) / ((len(a) - 1) * sa * sb)


def median(values: Iterable[float]) -> float:
    """The middle value."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(v) + (ordered.count(v) + 1) / 2 for v in values]
