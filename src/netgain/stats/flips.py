"""Flip decomposition of binary answers: a net of zero with 15 % each way is churn, not retention.

right -> wrong c/n and wrong -> right b/n with intervals, their net, and the churn (b + c)/n against the floor that two
runs of the base itself show.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netgain.stats.intervals import rate
from netgain.stats.paired import McNemar, mcnemar
from netgain.stats.result import Estimate, Floats, say
from netgain.stats.units import units


@dataclass(frozen=True, slots=True)
class Flips:
    """How many answers changed, each way. With several seeds, shares are means over the seeds."""

    gained: Estimate
    lost: Estimate
    net: float
    churn: float
    churn_floor: float | None
    """Churn of the base against its own re-run, when one was measured."""
    test: McNemar | None
    """Exact McNemar; None with several seeds, whose flips are no independent coins."""
    n: int
    seeds: int

    def sentence(self) -> str:
        of = f"Of {self.n} items" if self.seeds == 1 else f"Of {self.n} items, on average over {self.seeds} seeds,"
        text = (
            f"{of} {say(self.gained.estimate, 'percent')} went from wrong to right "
            f"({self.gained.low * 100:.1f} to {self.gained.high * 100:.1f} %) and {say(self.lost.estimate, 'percent')} "
            f"from right to wrong ({self.lost.low * 100:.1f} to {self.lost.high * 100:.1f} %): net "
            f"{say(self.net, 'points')}, churn {say(self.churn, 'percent')}"
        )
        if self.churn_floor is not None:
            text += f" where the base against its own re-run shows {say(self.churn_floor, 'percent')}"
        if self.test is not None and self.test.smallest_p > 0.05 and self.test.gained + self.test.lost:
            text += f"; fewer than six flips cannot be significant (smallest p {self.test.smallest_p:.2g})"
        return text + "."


def share(flipped: Floats, what: str, clusters: Sequence[object] | np.ndarray | None, level: float) -> Estimate:
    """Mean of an indicator (S, n), Wilson or Jeffreys on its effective number of independent items.

    n_eff = p (1 - p) / Var(p), between the number of units and the number of seed-item pairs (Korn and Graubard).
    """
    seeds, n = flipped.shape
    if seeds == 1 and clusters is None:
        return rate(int(flipped.sum()), n, level, what=what)
    evidence = units(flipped, clusters=clusters)
    p, variance = evidence.mean, evidence.variance()
    effective = min(p * (1 - p) / variance, float(n * seeds)) if 0 < variance < float("inf") else float(evidence.count)
    said = rate(round(p * n * seeds), n * seeds, level, what=what, effective_n=max(effective, 1.0))
    return Estimate(what, p, said.low, said.high, level, said.method, n, "percent", seeds=seeds)


def flips(
    tuned: Floats,
    base: Floats,
    *,
    clusters: Sequence[object] | np.ndarray | None = None,
    rerun: Floats | None = None,
    level: float = 0.95,
) -> Flips:
    """tuned (S, n) against base (1 or S, n) of 0 and 1; `rerun` (n,) is a second evaluation of the base."""
    tuned, base = np.atleast_2d(tuned), np.atleast_2d(base)
    up, down = (tuned > base).astype(np.float64), (tuned < base).astype(np.float64)
    seeds, n = up.shape
    gained = share(up, "wrong to right", clusters, level)
    lost = share(down, "right to wrong", clusters, level)
    return Flips(
        gained=gained,
        lost=lost,
        net=gained.estimate - lost.estimate,
        churn=gained.estimate + lost.estimate,
        churn_floor=None if rerun is None else float((rerun != base).mean()),
        test=mcnemar(int(up.sum()), int(down.sum()), n) if seeds == 1 else None,
        n=n,
        seeds=seeds,
    )
