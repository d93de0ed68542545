"""What a judge file provides: answers in, ratings out, and a typed reason wherever there is no rating.

A kind is one file with one class derived from `Judge`. A judge sees the conversation and the answer, never which model
wrote it. What it cannot rate is missing: an answer without a rating is neither bad nor average.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from netgain.data.source import Turn
from netgain.errors import UserError
from netgain.spec.plugin import JudgePlugin


@dataclass(frozen=True, slots=True)
class Case:
    """One answer to be judged: `turns` end with the question that it answers.

    `references` are right answers to the conversation's questions so far, in their order, where somebody wrote them.
    """

    id: str
    turns: tuple[Turn, ...]
    answer: str
    references: tuple[str, ...] = ()
    category: str = ""


@dataclass(frozen=True, slots=True)
class Rating:
    """A score, or the reason why there is none."""

    value: float | None
    reason: str | None = None

    def __post_init__(self) -> None:
        if (self.value is None or not math.isfinite(self.value)) == (self.reason is None):
            raise ValueError("a rating is a finite value or a reason, never both")


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a judge works: the study's folder, where its answers are kept, and on which device."""

    folder: Path | None
    cache: Path
    device: str = "cpu"


class Judge(JudgePlugin):
    """A judge as a study file names it."""

    @property
    def repeats(self) -> int:
        """How often it rates each answer; a judge that computes its score rates once."""
        return 1

    def ready(self, folder: Path | None) -> None:
        """Refuse, before any model is trained, a judge that could not work."""

    def rate(self, cases: Sequence[Case], bench: Bench) -> list[list[Rating]]:
        """`repeats` ratings of each case, in the order of the cases."""
        raise NotImplementedError


def judges_of(plugins: "dict[str, JudgePlugin]") -> dict[str, Judge]:
    """The named judges of a task, which knows its plugins by family only."""
    found: dict[str, Judge] = {}
    for name, plugin in plugins.items():
        if not isinstance(plugin, Judge):
            raise UserError(f'judge {name}: "{plugin.kind}" is no judge; derive it from netgain.judges._base.Judge.')
        found[name] = plugin
    return found


def fold(knots: Sequence[tuple[float, float]]) -> tuple[float, float, float, float] | None:
    """(raw, score, higher raw, lower score) of the first place where a score map turns back; None when it never does.

    `knots` are (raw, score). A map that rises somewhere must never fall, or a better answer gets the lower score.
    """
    for (x, y), (u, v) in pairwise(sorted(knots)):
        if v < y or (u == x and v != y):
            return x, y, u, v
    return None
