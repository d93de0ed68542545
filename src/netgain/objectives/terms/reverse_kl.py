"""Reverse KL: term(n) = sum_v q(v) (log q(v) - log p(v)), p the reference and q the student: q stays inside p."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from netgain.objectives.compared import Divergence
from netgain.objectives.term import OwnTarget, Reading

if TYPE_CHECKING:
    from torch import Tensor

    from netgain.models.lm import Head


class ReverseKl(Divergence):
    """KL(q || p)."""

    kind: Literal["reverse_kl"] = "reverse_kl"

    def divergence(self, p: "Tensor", q: "Tensor") -> "Tensor":
        from netgain.objectives.closed import reverse

        return reverse(p, q)

    def soft_target(
        self, head: "Head", targets: "Tensor", references: Mapping[str, Reading], chunk: int | None
    ) -> OwnTarget | None:
        from netgain.objectives.linear_reverse import one_pass

        reading = references[self.reference]
        return OwnTarget(reading) if self.whole and self.gate == "none" and one_pass(head, reading) else None
