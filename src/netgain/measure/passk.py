"""pass@k from rows of evidence, and what may decide whether a sample passes.

    counted(items, metric)        samples and right ones of every problem
    pass_at_k(counts, k)          the unbiased estimate with its interval over problems; k > samples is refused
    curve(counts)                 k = 1..n, each with its interval: a band, and where the ceiling is
    difference(tuned, base, k)    paired by problem

Checkers say of outputs whether they pass: the same number, the same text, all tests of a program, or a reward at least
as high as that of most references.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from netgain.errors import UserError
from netgain.ledger.items import Item
from netgain.measure import text
from netgain.measure.sandbox import Limits, Program, find
from netgain.stats import passk as stats
from netgain.stats.intervals import mean
from netgain.stats.paired import from_units
from netgain.stats.passk import PassK, as_pass_k
from netgain.stats.units import units

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Counts:
    """Of every problem: its id, its cluster, how many samples have a value, and how many of these are right."""

    problems: tuple[str, ...]
    clusters: tuple[str, ...]
    samples: tuple[int, ...]
    correct: tuple[int, ...]

    @property
    def fewest(self) -> int:
        """The samples of the problem that has the fewest: the largest k that can be estimated."""
        return min(self.samples, default=0)


def counted(items: Iterable[Item], metric: str) -> Counts:
    """Rows of one task, checkpoint and binary metric; missing rows are no samples, and never wrong ones."""
    right: dict[str, list[bool]] = defaultdict(list)
    cluster: dict[str, str] = {}
    for item in items:
        if item.metric != metric:
            continue
        cluster[item.item] = item.cluster or item.item
        found = right[item.item]
        if item.value is None:
            continue
        if item.value not in (0.0, 1.0):
            raise UserError(f"{item.task}/{metric}: pass@k needs 0 or 1, and {item.item} has {item.value:g}.")
        found.append(item.value == 1.0)
    names = tuple(right)
    return Counts(
        names,
        tuple(cluster[name] for name in names),
        tuple(len(right[name]) for name in names),
        tuple(sum(right[name]) for name in names),
    )


def values(counts: Counts, k: int) -> Floats:
    """(problems,) 1 - C(n-c, k) / C(n, k), each problem with its own n; refused where one has fewer than k samples."""
    for problem, drawn in zip(counts.problems, counts.samples, strict=True):
        if drawn < k:
            raise UserError(
                f"pass@{k}: {problem} has {drawn} samples with a value; draw at least {k} a problem, better {2 * k}."
            )
    drawn, correct = np.array(counts.samples, dtype=np.int64), np.array(counts.correct, dtype=np.int64)
    found = np.zeros(len(drawn))
    for n in np.unique(drawn):
        found[drawn == n] = stats.per_problem(correct[drawn == n], int(n), k)
    return found


def _clusters(counts: Counts) -> Sequence[str] | None:
    return counts.clusters if len(set(counts.clusters)) < len(counts.problems) else None


def pass_at_k(counts: Counts, k: int, *, level: float = 0.95) -> PassK:
    """Mean over problems, its t interval over problems or their clusters; `samples` are the fewest of a problem."""
    each = values(counts, k)
    if each.size == 0:
        raise UserError("No problem has samples, so there is no pass@k.")
    answer = mean(each, clusters=_clusters(counts), level=level, what=f"pass@{k}", scale="percent")
    return as_pass_k(answer, k, counts.fewest)


def curve(counts: Counts, ks: Sequence[int] | None = None, *, level: float = 0.95) -> list[PassK]:
    """pass@k for k = 1..n (or the given ones); `.ceiling` of each says where nothing can be told apart any more."""
    return [pass_at_k(counts, k, level=level) for k in ks or range(1, counts.fewest + 1)]


def difference(tuned: Counts, base: Counts, k: int, *, level: float = 0.95) -> PassK:
    """Tuned - base, paired by problem; both must have been asked the same problems."""
    if set(tuned.problems) != set(base.problems):
        odd = sorted(set(tuned.problems) ^ set(base.problems))[0]
        raise UserError(f'pass@{k}: the problem "{odd}" is on one side only; compare the same problems.')
    place = {problem: i for i, problem in enumerate(base.problems)}
    left, right = values(tuned, k), values(base, k)[[place[problem] for problem in tuned.problems]]
    binary = k == 1 and set(tuned.samples) == set(base.samples) == {1}
    answer = from_units(
        units(left - right, clusters=_clusters(tuned)), level=level, scale="points", binary=binary, spread=1.0,
        weighted=False,
    )  # fmt: skip
    named = as_pass_k(answer, k, min(tuned.fewest, base.fewest))
    return replace(named, what=f"difference in pass@{k}")


# -- what decides whether a sample passes ------------------------------------------------------------------------------

Checker = Callable[[Sequence[str]], list[bool]]


def numeric(gold: str) -> Checker:
    """The answer's number equals the gold one, exactly."""
    wanted = text.number(gold)
    if wanted is None:
        raise UserError(f"pass@k: the gold answer holds no number: {gold[:40]}.")
    return lambda outputs: [text.number(output) == wanted for output in outputs]


def exact(gold: str) -> Checker:
    """The answer equals the gold text, without case, blanks and outer punctuation."""
    return lambda outputs: [text.exact(output, gold) for output in outputs]


def all_tests_pass(program: Callable[[str], Program], limits: Limits | None = None) -> Checker:
    """Every test passes in the sandbox; `program` makes a program with its tests from an output."""

    def check(outputs: Sequence[str]) -> list[bool]:
        rulings = find().run_all([program(output) for output in outputs], limits or Limits())
        return [all(ruling.verdict == "passed" for ruling in each) for each in rulings]

    return check


def reward_above(
    reward: Callable[[Sequence[str]], Sequence[float]], references: Sequence[str], percentile: float
) -> Checker:
    """The reward is at least the given percentile of the rewards of references: calibrated on what people wrote.

    Copies of a reference do not pass: they show memory.
    """
    if not references:
        raise UserError("pass@k: a reward has no scale without references; give at least one.")
    threshold = float(np.percentile(np.asarray(reward(references), dtype=np.float64), percentile))
    known = {text.normalise(reference) for reference in references}

    def check(outputs: Sequence[str]) -> list[bool]:
        scores = reward(outputs)
        return [
            score >= threshold and text.normalise(output) not in known
            for output, score in zip(outputs, scores, strict=True)
        ]

    return check


def check_all(outputs: Mapping[str, Sequence[str]], checkers: Mapping[str, Checker]) -> Counts:
    """Counts from raw samples: problem -> outputs, problem -> checker."""
    names = tuple(outputs)
    right = {name: checkers[name](outputs[name]) for name in names}
    return Counts(names, names, tuple(len(right[name]) for name in names), tuple(sum(right[name]) for name in names))
