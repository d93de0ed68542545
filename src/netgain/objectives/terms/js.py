"""Jensen-Shannon: term(n) = b KL(p || m) + (1 - b) KL(q || m) with m = b p + (1 - b) q; at b = 1/2 at most ln 2."""

import math
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
        import torch

        m = torch.logaddexp(p + math.log(self.mixture), q + math.log1p(-self.mixture))
        forward, backward = (p.exp() * (p - m)).sum(-1), (q.exp() * (q - m)).sum(-1)
        return self.mixture * forward + (1 - self.mixture) * backward
