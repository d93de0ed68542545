"""Scores given by a model judge: how much is the judge's own noise, does it keep to its word, what would people say?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netgain.errors import UserError
from netgain.stats.distributions import f_quantile
from netgain.stats.intervals import rate
from netgain.stats.result import Estimate, Floats, Pivot, pivot, say

INCONSISTENT = 0.20
"""Above this share of verdicts that follow the position, "A beats B" is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement(Estimate):
    """ICC(1): the share of a single rating's variance that belongs to the answer and not to the judge's repeat."""

    answer_variance: float
    repeat_variance: float
    of_mean: float
    """Reliability of the mean of all K repeats."""
    repeats: int

    def sentence(self) -> str:
        return (
            f"One rating is {100 * self.estimate:.0f} % signal ({100 * self.low:.0f} to {100 * self.high:.0f} %, "
            f"{self.method}; {self.n} answers rated {self.repeats} times), the mean of {self.repeats} is "
            f"{100 * self.of_mean:.0f} %."
        )


def agreement(ratings: Floats, level: float = 0.95) -> Agreement:
    """Ratings (answers, repeats): ICC = (MS_a - MS_r) / (MS_a + (K-1) MS_r) with its exact F interval."""
    n, k = ratings.shape
    if n < 2 or k < 2:
        raise UserError("Agreement takes at least two answers rated twice each.")
    between = k * float(ratings.mean(axis=1).var(ddof=1))
    within = float(ratings.var(axis=1, ddof=1).mean())
    if between == within == 0:
        return Agreement(
            "ICC", 0.0, 0.0, 1.0, level, "one-way ANOVA", n, note="Every rating is the same.",
            answer_variance=0.0, repeat_variance=0.0, of_mean=0.0, repeats=k,
        )  # fmt: skip
    f = between / within if within > 0 else math.inf
    edges = f_quantile(0.5 + level / 2, n - 1, n * (k - 1)), f_quantile(0.5 - level / 2, n - 1, n * (k - 1))
    low, high = (icc(f / edge, k) for edge in edges)
    return Agreement(
        "ICC", icc(f, k), low, high, level, "one-way ANOVA", n,
        answer_variance=max(between - within, 0.0) / k, repeat_variance=within,
        of_mean=max(1 - 1 / f, 0.0) if f > 0 else 0.0, repeats=k,
    )  # fmt: skip


def icc(f: float, k: int) -> float:
    """(F - 1) / (F + K - 1), not below 0: a negative share of variance is none."""
    return 1.0 if math.isinf(f) else max((f - 1) / (f + k - 1), 0.0)


@dataclass(frozen=True, slots=True)
class SwapConsistency:
    """Does the judge prefer the same answer when the two change places?"""

    inconsistent: Estimate
    wins_a: int
    wins_b: int
    ties: int
    first_position: float
    """Share of decided verdicts that went to whatever stood first; 1/2 without position bias."""
    n: int

    @property
    def refused(self) -> bool:
        """Too many verdicts follow the position."""
        return self.inconsistent.estimate > INCONSISTENT

    @property
    def method(self) -> str:
        return f"position swap, {self.inconsistent.method}"

    def sentence(self) -> str:
        share = self.inconsistent
        text = (
            f"{say(share.estimate, 'percent')} of {self.n} verdicts changed when the answers changed places "
            f"({100 * share.low:.1f} to {100 * share.high:.1f} %, {share.method}); "
            f"{100 * self.first_position:.0f} % went to the first position."
        )
        if self.refused:
            return f"{text} That is more than {100 * INCONSISTENT:.0f} %: this judge cannot say which is better."
        return f"{text} Counting only verdicts that held: A {self.wins_a}, B {self.wins_b}, ties {self.ties}."


def swap_consistency(a_first: Sequence[str], b_first: Sequence[str], level: float = 0.95) -> SwapConsistency:
    """Verdicts "A", "B" or "tie" on the same pairs, shown with A first and then with B first."""
    if len(a_first) != len(b_first) or not a_first:
        raise UserError(f"{len(a_first)} verdicts with A first and {len(b_first)} with B first; each pair needs both.")
    unknown = (set(a_first) | set(b_first)) - {"A", "B", "tie"}
    if unknown:
        raise UserError(f'A verdict is "A", "B" or "tie", not {sorted(unknown)[0]!r}.')
    held = [one for one, other in zip(a_first, b_first, strict=True) if one == other]
    decided = [v == "A" for v in a_first if v != "tie"] + [v == "B" for v in b_first if v != "tie"]
    changed = len(a_first) - len(held)
    return SwapConsistency(
        inconsistent=rate(changed, len(a_first), level, what="inconsistent verdicts"),
        wins_a=held.count("A"),
        wins_b=held.count("B"),
        ties=held.count("tie"),
        first_position=sum(decided) / len(decided) if decided else 0.5,
        n=len(a_first),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected(Pivot):
    """A mean of human scores, sharpened by a judge that scored more items than people could."""

    weight: float
    """lambda of PPI++: 0 ignores the judge, 1 trusts it as far as it goes."""
    humans: int
    human_only: Pivot

    def sentence(self) -> str:
        text = Pivot.sentence(self)
        saved = self.human_only.se**2 / self.se**2 if self.se > 0 else 1.0
        return (
            f"{text} {self.humans} human scores and {self.n - self.humans} judge-only ones, weight {self.weight:.2f}: "
            f"worth {self.humans * saved:.0f} human scores."
        )


def prediction_powered(
    human: Floats, judged: Floats, judged_only: Floats, *, level: float = 0.95, what: str = "human score"
) -> Corrected:
    """PPI++: theta = lambda mean_N(judge) + mean_m(human - lambda judge), Var = lambda^2 s2_j/N + s2_{h - lambda j}/m.

    human and judged (m,) are the same items; judged_only (N,) are others. lambda* = cov(h, j) / ((1 + m/N) var(j)),
    kept within 0..1.
    """
    m, size = human.size, judged_only.size
    if m < 2 or size < 2:
        raise UserError(f"{m} human and {size} judge-only scores; correction needs at least two of each.")
    pooled = float(np.concatenate([judged, judged_only]).var(ddof=1))
    covariance = float(np.cov(human, judged)[0, 1])
    weight = min(max(covariance / ((1 + m / size) * pooled), 0.0), 1.0) if pooled > 0 else 0.0
    rest = human - weight * judged
    estimate = weight * float(judged_only.mean()) + float(rest.mean())
    variance = weight**2 * float(judged_only.var(ddof=1)) / size + float(rest.var(ddof=1)) / m
    alone = pivot(
        what, float(human.mean()), se=float(human.std(ddof=1)) / math.sqrt(m), df=m - 1.0, level=level, method="t",
        n=m, scale="raw",
    )  # fmt: skip
    both = pivot(
        what, estimate, se=math.sqrt(variance), df=m - 1.0, level=level, method="PPI++", n=m + size, scale="raw"
    )
    return Corrected(
        both.what, both.estimate, both.low, both.high, level, both.method, both.n, both.scale,
        centre=both.centre, se=both.se, df=both.df, weight=weight, humans=m, human_only=alone,
    )  # fmt: skip
