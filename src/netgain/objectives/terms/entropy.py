"""Entropy bonus: term(n) = sum_v q(v) log q(v) = -H(q), so that a positive weight keeps the student undecided."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from netgain.objectives.term import Scores, Term

if TYPE_CHECKING:
    from torch import Tensor


class Entropy(Term):
    """-H(q)."""

    kind: Literal["entropy"] = "entropy"

    def values(self, student: Scores, references: Mapping[str, Scores]) -> "Tensor":
        return (student.logp.exp() * student.logp).sum(-1)
