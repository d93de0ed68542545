"""Was something forgotten? Non-inferiority against a margin set beforehand, with five answers.

L, U: 90 % interval (one-sided 5 %) of the benefit, tuned - base in the direction that is better; margin delta > 0.
    L > 0 gained | U < -delta forgotten | L > -delta: "worse, within margin" when U < 0, else retained | cannot tell
"No significant difference" is never "retained". Several benchmarks: retained overall is an intersection-union test
(no correction needed); "something was forgotten" is Holm over them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from netgain.errors import UserError
from netgain.stats.distributions import normal_quantile
from netgain.stats.multiplicity import Adjusted, holm
from netgain.stats.result import Pivot, Scale, say, say_level, say_p, say_range

RetentionWord = Literal["gained", "retained", "worse, within margin", "forgotten", "cannot tell"]
DEFAULT_MARGIN = 0.02


@dataclass(frozen=True, slots=True)
class Needed:
    """What would be enough to tell, if nothing was truly lost: items at these seeds, or else seeds at these items."""

    n: int | None
    seeds: int | None

    def sentence(self) -> str:
        if self.n is not None:
            return f"need n = {self.n}"
        if self.seeds is not None:
            return f"need {self.seeds} seeds: more items alone cannot settle it"
        return "need more seeds and more items"


@dataclass(frozen=True, slots=True)
class Retention:
    """The five-way answer with the interval it rests on, in the direction in which larger is better."""

    word: RetentionWord
    estimate: float
    low: float
    high: float
    level: float
    margin: float
    p_retained: float
    """One-sided p against "lost at least the margin"."""
    p_forgotten: float
    """One-sided p against "lost at most the margin"."""
    equivalent: bool
    """TOST: the whole interval lies within +-margin."""
    needed: Needed | None
    method: str
    n: int
    basis: str
    scale: Scale
    higher_is_better: bool

    def sentence(self) -> str:
        sign = "" if self.higher_is_better else ", sign turned so that + is better"
        text = (
            f"{self.word}: {say(self.estimate, self.scale)} ({say_level(self.level)} interval "
            f"{say_range(self.low, self.high, self.scale)}{sign}) against a margin of "
            f"{say(-self.margin, self.scale)}; {self.method}; {self.basis}."
        )
        if self.needed is not None:
            text += f" To tell, {self.needed.sentence()} (if nothing was truly lost)."
        if self.word == "cannot tell" and self.high < 0:
            text += " Something was lost; whether less than the margin is open."
        return text


def default_margin(rerun_noise: float = 0.0) -> float:
    """max(2 points, what the base differs from its own re-run)."""
    return max(DEFAULT_MARGIN, rerun_noise)


def benefit(answer: Pivot, higher_is_better: bool) -> Pivot:
    """The same estimate, signed so that larger is better."""
    if higher_is_better:
        return answer
    return replace(answer, estimate=-answer.estimate, low=-answer.high, high=-answer.low, centre=-answer.centre)


def needed_for(answer: Pivot, margin: float, *, alpha: float = 0.05, power: float = 0.8) -> Needed:
    """Solve Var(S, n) = (margin / (z_{1-alpha} + z_{power}))^2 for n, then for S."""
    target = (margin / (normal_quantile(1 - alpha) + normal_quantile(power))) ** 2
    variance = answer.se**2
    if math.isinf(variance) or math.isnan(variance):
        return Needed(None, None)
    parts = answer.components
    fixed = parts.seeds if parts is not None else 0.0
    if target > fixed:
        return Needed(max(math.ceil(answer.n * (variance - fixed) / (target - fixed)), answer.n + 1), None)
    if parts is None or answer.seeds is None or target <= parts.items:
        return Needed(None, None)
    seeds = answer.seeds * (variance - parts.items) / (target - parts.items)
    return Needed(None, max(math.ceil(seeds), answer.seeds + 1))


def retention(answer: Pivot, margin: float, *, higher_is_better: bool = True, alpha: float = 0.05) -> Retention:
    """Judge one paired difference against a margin, by its (1 - 2 alpha) interval."""
    if not margin > 0:
        raise UserError(f"A margin of {margin:g} tolerates nothing; set it above 0, on the metric's own scale.")
    signed = benefit(answer, higher_is_better).at(1 - 2 * alpha)
    low, high = signed.low, signed.high
    word: RetentionWord
    if low > 0:
        word = "gained"
    elif high < -margin:
        word = "forgotten"
    elif low > -margin:
        word = "worse, within margin" if high < 0 else "retained"
    else:
        word = "cannot tell"
    return Retention(
        word=word,
        estimate=signed.estimate,
        low=low,
        high=high,
        level=signed.level,
        margin=margin,
        p_retained=signed.p_above(-margin),
        p_forgotten=signed.p_below(-margin),
        equivalent=low > -margin and high < margin,
        needed=needed_for(signed, margin, alpha=alpha) if word == "cannot tell" else None,
        method=signed.method,
        n=signed.n,
        basis=signed.basis,
        scale=signed.scale,
        higher_is_better=higher_is_better,
    )


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Two one-sided tests: is the difference inside +-margin?"""

    estimate: float
    low: float
    high: float
    level: float
    margin: float
    p: float
    equivalent: bool
    method: str
    n: int
    scale: Scale

    def sentence(self) -> str:
        word = "equivalent" if self.equivalent else "not shown to be equivalent"
        return (
            f"{word} within {say(self.margin, self.scale).lstrip('+')}: {say(self.estimate, self.scale)} "
            f"({say_level(self.level)} interval {say_range(self.low, self.high, self.scale)}, TOST {say_p(self.p)}; "
            f"{self.method}; n = {self.n})."
        )


def equivalence(answer: Pivot, margin: float, *, alpha: float = 0.05) -> Equivalence:
    """p = max of the two one-sided p-values; equivalent when the (1 - 2 alpha) interval lies inside +-margin."""
    at = answer.at(1 - 2 * alpha)
    p = max(at.p_above(-margin), at.p_below(margin))
    inside = at.low > -margin and at.high < margin
    return Equivalence(at.estimate, at.low, at.high, at.level, margin, p, inside, at.method, at.n, at.scale)


@dataclass(frozen=True, slots=True)
class Overall:
    """Retention over several benchmarks."""

    retained: bool
    forgotten: tuple[str, ...]
    """Benchmarks on which forgetting stands after Holm."""
    open: tuple[str, ...]
    family: int
    p_retained: float
    forgetting: Adjusted
    method: str = "intersection-union for retained, Holm for forgotten"

    def sentence(self) -> str:
        if self.retained:
            return f"Retained on all {self.family} benchmarks (intersection-union, {say_p(self.p_retained)})."
        parts = []
        if self.forgotten:
            parts.append(f"forgotten on {', '.join(self.forgotten)} (Holm over {self.family})")
        if self.open:
            parts.append(f"retention not shown on {', '.join(self.open)}")
        return f"Not retained overall: {'; '.join(parts)}."


def overall(answers: Mapping[str, Retention], *, alpha: float = 0.05) -> Overall:
    """Retained overall when every benchmark is above its margin; forgotten where Holm rejects "lost at most delta"."""
    if not answers:
        raise UserError("No benchmark to judge retention on; declare at least one.")
    p_retained = max(answer.p_retained for answer in answers.values())
    adjusted = holm({name: answer.p_forgotten for name, answer in answers.items()}, alpha=alpha)
    lost = adjusted.rejected
    kept = {name for name, answer in answers.items() if answer.low > -answer.margin}
    unclear = tuple(name for name in answers if name not in kept and name not in lost)
    return Overall(len(kept) == len(answers), lost, unclear, len(answers), p_retained, adjusted)
