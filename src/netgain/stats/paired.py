"""Differences on the same items: Bonett-Price, McNemar, paired t (clustered, weighted), sign flips.

`difference` picks the shipped default: binary -> Bonett-Price, continuous -> t, clusters -> clustered. Throughout,
d = tuned - base, b = #(base wrong -> right), c = #(right -> wrong).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netgain.stats.distributions import binomial_cdf
from netgain.stats.result import Floats, Pivot, Scale, pivot, say_p
from netgain.stats.signs import flipped_sums
from netgain.stats.units import Units, is_binary, merged, units


def bonett_price(gained: int, lost: int, n: int, level: float = 0.95) -> Pivot:
    """(p1 - p2) -+ z sqrt((p1 + p2 - (p1 - p2)^2) / (n + 2)) with p1 = (b+1)/(n+2), p2 = (c+1)/(n+2)."""
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    se = math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    observed = (gained - lost) / n
    return pivot(
        "difference",
        observed,
        centre=up - down,
        se=se,
        df=math.inf,
        level=level,
        method="Bonett-Price",
        n=n,
        scale="points",
    )


def from_units(evidence: Units, *, level: float, scale: Scale, binary: bool, spread: float, weighted: bool) -> Pivot:
    """Paired t over units (1 or more seeds averaged first).

    Binary differences get two pseudo-units of +-S^(-1/4), which at S = 1 without clusters is Bonett-Price's own
    correction. Differences that are all alike get two of +- `spread`, the range of the scores: identical differences
    do not prove that the next one is identical too.
    """
    seeds = evidence.seeds
    names = ["weighted"] if weighted else []
    names += ["clustered"] if evidence.clustered else []
    names.append("paired t")
    note = ""
    widened = evidence
    if binary:
        widened = evidence.with_pseudo((seeds**-0.25, -(seeds**-0.25)))
        names.append("with Bonett-Price pseudo-items")
    elif evidence.count > 1 and evidence.steady(spread):
        widened = evidence.with_pseudo((spread, -spread))
        note = "Every difference is the same; the interval says what that many equal ones still leave open."
    elif evidence.count < 2:
        note = "One unit only: its spread is unknown."
    return pivot(
        "difference",
        evidence.mean,
        centre=widened.mean,
        se=math.sqrt(widened.variance()),
        df=evidence.df,
        level=level,
        method=" ".join(names),
        n=evidence.n,
        scale=scale,
        clusters=evidence.count if evidence.clustered else None,
        seeds=seeds if seeds > 1 else None,
        note=note,
        design_effect=evidence.design_effect(),
    )


def score_range(*tables: Floats) -> float:
    """Largest minus smallest score on either side."""
    return max(float(t.max()) for t in tables) - min(float(t.min()) for t in tables)


def difference(
    tuned: Floats,
    base: Floats,
    *,
    weights: Floats | None = None,
    clusters: Sequence[object] | np.ndarray | None = None,
    binary: bool | None = None,
    level: float = 0.95,
) -> Pivot:
    """The shipped interval for tuned (n,) - base (n,) on the same items, none missing."""
    tuned, base = np.asarray(tuned, dtype=np.float64), np.asarray(base, dtype=np.float64)
    both_binary = is_binary(tuned, base) if binary is None else binary
    if both_binary and weights is None and clusters is None:
        gained, lost = int(((base == 0) & (tuned == 1)).sum()), int(((base == 1) & (tuned == 0)).sum())
        return bonett_price(gained, lost, tuned.size, level)
    return from_units(
        units(tuned - base, weights=weights, clusters=clusters),
        level=level,
        scale="points" if both_binary else "change",
        binary=both_binary,
        spread=score_range(tuned, base),
        weighted=weights is not None,
    )


@dataclass(frozen=True, slots=True)
class McNemar:
    """Is the number of gains and losses more uneven than a fair coin's?"""

    gained: int
    lost: int
    n: int
    p: float
    mid_p: float
    smallest_p: float
    """2^(1-m), what m flips in one direction would give: fewer than six can never be significant."""
    method: str = "exact McNemar"

    def sentence(self) -> str:
        flips = self.gained + self.lost
        if flips == 0:
            return f"No item of {self.n} changed, so there is nothing to test (exact McNemar)."
        floor = ""
        if self.smallest_p > 0.05:
            floor = (
                f" {flips} changed item{'s' if flips > 1 else ''} could not give less than p = {self.smallest_p:.2g}."
            )
        return (
            f"Of {self.n} items {self.gained} went from wrong to right and {self.lost} from right to wrong: "
            f"exact McNemar {say_p(self.p)}, mid-p {self.mid_p:.2g}.{floor}"
        )


def mcnemar(gained: int, lost: int, n: int) -> McNemar:
    """p = 2 P(Bin(b+c, 1/2) <= min(b, c)); mid-p takes half of the observed outcome's own probability off."""
    flips, fewer = gained + lost, min(gained, lost)
    if flips == 0:
        return McNemar(gained, lost, n, 1.0, 1.0, 1.0)
    below = binomial_cdf(fewer, flips)
    own = below - binomial_cdf(fewer - 1, flips)
    p = min(1.0, 2 * below)
    mid = min(1.0, 2 * below - own) if gained != lost else 1.0 - own / 2
    return McNemar(gained, lost, n, p, mid, 2.0 ** (1 - flips))


@dataclass(frozen=True, slots=True)
class SignFlip:
    """Sign-flip randomisation of the mean difference: exact when few units differ, else drawn."""

    estimate: float
    p: float
    smallest_p: float
    draws: int
    exact: bool
    n: int
    units: int
    method: str = "sign-flip randomisation"

    def sentence(self) -> str:
        how = f"all {self.draws} sign patterns" if self.exact else f"{self.draws} random sign patterns"
        floor = ""
        if self.smallest_p > 0.05:
            floor = f" No result on these units could give less than p = {self.smallest_p:.2g}."
        return (
            f"Sign-flip randomisation over {self.units} units ({how}): mean difference {self.estimate:+.3g}, "
            f"{say_p(self.p)}.{floor}"
        )


def sign_flip(
    differences: Floats,
    *,
    clusters: Sequence[object] | np.ndarray | None = None,
    rng: np.random.Generator,
    draws: int = 10_000,
) -> SignFlip:
    """Two-sided p = share of sign patterns s with |sum_g s_g U_g| >= |sum_g U_g|; U_g = 0 never matters.

    With m units that differ, p cannot fall under 2^(1-m); draws count themselves, (1 + hits) / (B + 1).
    """
    evidence = units(differences, clusters=clusters)
    totals = evidence.totals.mean(axis=0)
    moved = merged(totals[totals != 0][:, None], rng)[:, 0]
    observed = abs(float(totals.sum()))
    if moved.size == 0:
        return SignFlip(0.0, 1.0, 1.0, 1, True, evidence.n, evidence.count)
    exact = 2**moved.size <= draws
    sums = np.abs(flipped_sums(moved[:, None], rng=None if exact else rng, draws=draws)[:, 0])
    hits = int((sums >= observed * (1 - 1e-9)).sum())
    p = hits / sums.size if exact else (1 + hits) / (sums.size + 1)
    smallest = 2.0 ** (1 - moved.size) if moved.size < 64 else 0.0
    smallest = smallest if exact else max(smallest, 1 / (sums.size + 1))
    return SignFlip(evidence.mean, p, smallest, sums.size, exact, evidence.n, evidence.count)
