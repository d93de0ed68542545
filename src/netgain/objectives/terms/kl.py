"""Forward KL: term(n) = sum_v p(v) (log p(v) - log q(v)), p the reference and q the student: q must cover p."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from netgain.objectives.compared import Divergence, gate
from netgain.objectives.term import Reading, SoftTarget

if TYPE_CHECKING:
    from torch import Tensor

    from netgain.models.lm import Head


class Kl(Divergence):
    """KL(p || q) = lse(W h) - h . E_p[W] + sum_v p_v log p_v with a frozen head, at temperature 1 over all words: then
    H + 1 numbers of the reference are enough."""

    kind: Literal["kl"] = "kl"

    @property
    def reads(self) -> Literal["mean", "hidden"]:
        return "mean" if self.whole and self.gate == "none" else "hidden"

    def divergence(self, p: "Tensor", q: "Tensor") -> "Tensor":
        return (p.exp() * (p - q)).sum(-1)

    def soft_target(
        self, head: "Head", targets: "Tensor", references: Mapping[str, Reading], chunk: int | None
    ) -> SoftTarget | None:
        from netgain.objectives.linear import judged, remembered

        if not self.whole:
            return None
        reading = references[self.reference]
        if self.gate == "none":
            return SoftTarget(*remembered(reading, head, chunk))
        mean, constant, teacher = judged(reading, head, targets, chunk)
        return SoftTarget(mean, constant, lambda student: gate(self.gate, student, teacher))
