"""Label smoothing: term(n) = -(1 / V) sum_v log q(v); (1 - e) CE + e times this is CE with smoothed labels."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from netgain.objectives.term import Reading, Scores, SoftTarget, Term

if TYPE_CHECKING:
    from torch import Tensor

    from netgain.models.lm import Head


class LabelSmoothing(Term):
    """Cross-entropy with the uniform distribution = lse(W h) - h . mean_v W[v]."""

    kind: Literal["label_smoothing"] = "label_smoothing"

    def values(self, student: Scores, references: Mapping[str, Scores]) -> "Tensor":
        return -student.logp.mean(-1)

    def soft_target(
        self, head: "Head", targets: "Tensor", references: Mapping[str, Reading], chunk: int | None
    ) -> SoftTarget:
        return SoftTarget(head.weight.mean(0).expand(len(targets), -1))
