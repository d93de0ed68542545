"""Cross-entropy with the gold token: term(n) = -log p(y_n)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from netgain.objectives.term import Reading, Scores, SoftTarget, Term

if TYPE_CHECKING:
    from torch import Tensor

    from netgain.models.lm import Head


class Ce(Term):
    """-log p(y) = lse(W h) - h . W[y]."""

    kind: Literal["ce"] = "ce"

    def values(self, student: Scores, references: Mapping[str, Scores]) -> "Tensor":
        return -student.target_logp

    def soft_target(
        self, head: "Head", targets: "Tensor", references: Mapping[str, Reading], chunk: int | None
    ) -> SoftTarget:
        return SoftTarget(head.weight[targets])
