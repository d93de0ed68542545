"""Does a judge that says 80 % win 80 % of the time? Reliability by bins, and what the probabilities cost.

For a pair, p = sigmoid(r_chosen - r_rejected) is the chance that the judge gives to what people chose. Its confidence
is max(p, 1 - p), and it is right when p > 1/2:

    ECE = sum_b n_b / n |share right in b - mean confidence in b|
"""

from dataclasses import dataclass

import numpy as np

from netgain.errors import UserError
from netgain.stats.intervals import rate
from netgain.stats.result import Estimate, Floats

EDGE = 1e-12


@dataclass(frozen=True, slots=True)
class Bin:
    """The pairs of one range of confidence: how sure the judge was, and how often it was right."""

    low: float
    high: float
    n: int
    confidence: float
    right: Estimate


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far a judge's probabilities can be taken at their word."""

    accuracy: Estimate
    ece: float
    brier: float
    log_loss: float
    bins: tuple[Bin, ...]
    n: int

    def sentence(self) -> str:
        accuracy = self.accuracy
        return (
            f"Right on {100 * accuracy.estimate:.1f} % of {self.n} held-out pairs ({100 * accuracy.low:.1f} to "
            f"{100 * accuracy.high:.1f} %, {accuracy.method}; a coin 50 %), expected calibration error "
            f"{100 * self.ece:.1f} points, log loss {self.log_loss:.3f} (a coin 0.693)."
        )


def calibration(p: Floats, bins: int = 5, level: float = 0.95) -> Calibration:
    """p (n,) in [0, 1]: the probability given to the answer that people chose. A tie is not right."""
    if p.size == 0:
        raise UserError("No held-out pair; calibration needs some.")
    if np.isnan(p).any() or p.min() < 0 or p.max() > 1:
        raise UserError("A probability lies between 0 and 1; give sigmoid(r_chosen - r_rejected).")
    right, confidence = p > 0.5, np.maximum(p, 1 - p)
    edges = np.linspace(0.5, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, bins - 1)
    found: list[Bin] = []
    for b in range(bins):
        inside = place == b
        if inside.any():
            hits = rate(int(right[inside].sum()), int(inside.sum()), level, what="right")
            mean = float(confidence[inside].mean())
            found.append(Bin(float(edges[b]), float(edges[b + 1]), int(inside.sum()), mean, hits))
    return Calibration(
        accuracy=rate(int(right.sum()), p.size, level, what="accuracy"),
        ece=sum(each.n / p.size * abs(each.right.estimate - each.confidence) for each in found),
        brier=float(((1 - p) ** 2).mean()),
        log_loss=float(-np.log(np.maximum(p, EDGE)).mean()),
        bins=tuple(found),
        n=int(p.size),
    )
