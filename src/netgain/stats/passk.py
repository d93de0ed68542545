"""pass@k from n samples a problem, of which c are correct: unbiased, compared in pairs, never extrapolated.

pass@k = 1 - prod_{j=n-c+1}^{n} (1 - k/j) = 1 - C(n-c, k) / C(n, k)     (Chen et al. 2021); k > n is refused.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from netgain.errors import UserError
from netgain.stats.intervals import mean, rule_of_three
from netgain.stats.paired import from_units
from netgain.stats.result import Floats, Pivot, say_level
from netgain.stats.units import units

CEILING = 0.95


def per_problem(correct: Sequence[int] | np.ndarray, samples: int, k: int) -> Floats:
    """(problems,) unbiased pass@k of each problem; `correct` counts right samples out of `samples`."""
    counts = np.asarray(correct, dtype=np.int64)
    if k < 1 or k > samples:
        raise UserError(
            f"pass@{k} cannot be estimated from {samples} samples a problem; draw at least {k}, better {2 * k}."
        )
    if ((counts < 0) | (counts > samples)).any():
        raise UserError(f"A problem has fewer than 0 or more than {samples} correct samples; check the counts.")
    # C(n-c, k)/C(n, k) is a product of at most k factors for every possible c, so one table serves all problems.
    wrong = samples - np.arange(samples + 1)
    j = np.arange(k)
    table = 1.0 - np.prod(np.maximum(wrong[:, None] - j, 0) / (samples - j), axis=1)
    return table[counts]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassK(Pivot):
    """Mean pass@k over problems."""

    k: int
    samples: int

    @property
    def ceiling(self) -> bool:
        """Too near 1 for a difference to show."""
        return self.estimate > CEILING

    @property
    def thin(self) -> bool:
        """Fewer than 2k samples: unbiased, yet noisy."""
        return self.samples < 2 * self.k

    def sentence(self) -> str:
        text = Pivot.sentence(self)
        if self.ceiling:
            text += f" Above {say_level(CEILING)} nothing can be told apart; choose a smaller k or harder problems."
        if self.thin:
            text += f" {self.samples} samples are few for k = {self.k}; draw {2 * self.k} or more."
        return text


def pass_at_k(
    correct: Sequence[int] | np.ndarray,
    samples: int,
    k: int,
    *,
    clusters: Sequence[object] | np.ndarray | None = None,
    level: float = 0.95,
) -> PassK:
    """Mean over problems with its t interval over problems (or clusters of them)."""
    values = per_problem(correct, samples, k)
    if values.size == 0:
        raise UserError("No problem has samples, so there is no pass@k.")
    return over_problems(values, k, samples, clusters=clusters, level=level)


def over_problems(
    values: Floats, k: int, samples: int, *, clusters: Sequence[object] | np.ndarray | None = None, level: float = 0.95
) -> PassK:
    """Mean of each problem's pass@k. Where none was solved, or each in every try, the other end is the rule of three's
    over the problems: no spread was seen, which is not that there is none."""
    found = as_pass_k(mean(values, clusters=clusters, level=level, what=f"pass@{k}", scale="percent"), k, samples)
    if np.ptp(values) > 0 or values[0] not in (0.0, 1.0) or math.isinf(found.high):
        return found
    far = rule_of_three(len(values) if found.clusters is None else found.clusters, level)
    ends = (0.0, far) if values[0] == 0 else (1.0 - far, 1.0)
    return replace(found, low=ends[0], high=ends[1], method="rule of three over problems")


def as_pass_k(answer: Pivot, k: int, samples: int) -> PassK:
    return PassK(
        answer.what, answer.estimate, answer.low, answer.high, answer.level, answer.method, answer.n, answer.scale,
        answer.clusters, answer.seeds, answer.note, centre=answer.centre, se=answer.se, df=answer.df,
        design_effect=answer.design_effect, components=answer.components, k=k, samples=samples,
    )  # fmt: skip


def pass_at_k_difference(
    tuned: tuple[Sequence[int] | np.ndarray, int],
    base: tuple[Sequence[int] | np.ndarray, int],
    k: int,
    *,
    clusters: Sequence[object] | np.ndarray | None = None,
    level: float = 0.95,
) -> PassK:
    """Paired by problem; each side is (correct counts, samples a problem) and may have drawn its own number."""
    left, right = per_problem(tuned[0], tuned[1], k), per_problem(base[0], base[1], k)
    if left.size != right.size:
        raise UserError(f"Tuned has {left.size} problems and base {right.size}; align both on their problem ids.")
    if left.size == 0:
        raise UserError("No problem has samples, so there is no pass@k.")
    answer = from_units(
        units(left - right, clusters=clusters), level=level, scale="points", binary=k == tuned[1] == base[1] == 1,
        spread=1.0, weighted=False,
    )  # fmt: skip
    named = as_pass_k(answer, k, min(tuned[1], base[1]))
    return replace(named, what=f"difference in pass@{k}")


@dataclass(frozen=True, slots=True)
class Coverage:
    """pass@k for k = 1..n: how far more tries would carry."""

    k: tuple[int, ...]
    values: tuple[float, ...]
    n: int
    samples: int
    method: str = "unbiased pass@k"

    @property
    def ceiling_at(self) -> int | None:
        """The first k above the ceiling."""
        return next((k for k, value in zip(self.k, self.values, strict=True) if value > CEILING), None)

    def sentence(self) -> str:
        text = f"pass@1 {100 * self.values[0]:.1f} %, pass@{self.samples} {100 * self.values[-1]:.1f} % (n = {self.n})"
        return text + (f"; above {say_level(CEILING)} from k = {self.ceiling_at}." if self.ceiling_at else ".")


def coverage(correct: Sequence[int] | np.ndarray, samples: int) -> Coverage:
    """The curve k -> mean pass@k, up to the number of samples drawn."""
    counts = np.asarray(correct)
    values = tuple(float(per_problem(counts, samples, k).mean()) for k in range(1, samples + 1))
    return Coverage(tuple(range(1, samples + 1)), values, counts.size, samples)
