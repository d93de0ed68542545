"""Reverse KL: term(n) = sum_v q(v) (log q(v) - log p(v)), p the reference and q the student: q stays inside p."""

from typing import TYPE_CHECKING, Literal

from netgain.objectives.compared import Divergence

if TYPE_CHECKING:
    from torch import Tensor


class ReverseKl(Divergence):
    """KL(q || p)."""

    kind: Literal["reverse_kl"] = "reverse_kl"

    def divergence(self, p: "Tensor", q: "Tensor") -> "Tensor":
        from netgain.objectives.closed import reverse

        return reverse(p, q)
