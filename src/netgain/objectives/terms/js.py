"""Jensen-Shannon: term(n) = b KL(p || m) + (1 - b) KL(q || m) with m = b p + (1 - b) q; at b = 1/2 at most ln 2."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from netgain.objectives.compared import Divergence

if TYPE_CHECKING:
    from torch import Tensor


class Js(Divergence):
    """JS_b(p, q), at most the entropy of (b, 1 - b) at temperature 1."""

    kind: Literal["js"] = "js"
    mixture: float = Field(default=0.5, gt=0, lt=1)

    def divergence(self, p: "Tensor", q: "Tensor") -> "Tensor":
        from netgain.objectives.closed import jensen_shannon

        return jensen_shannon(p, q, self.mixture)
