"""Raw logits: term(n) = (1 / k) sum_j (zT_j - zS_j)^2 over the k words of the largest reference logits zT."""

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from netgain.objectives.compared import Referred
from netgain.objectives.term import Scores

if TYPE_CHECKING:
    from torch import Tensor


class LogitMse(Referred):
    """A softmax ignores a constant that is added to all logits, and the plain form does not: with `shift_invariant`
    the mean difference over the k words is taken out first."""

    kind: Literal["logit_mse"] = "logit_mse"
    k: PositiveInt = 256
    shift_invariant: bool = False

    def between(self, student: Scores, other: Scores) -> "Tensor":
        top = other.logits.topk(min(self.k, other.logits.shape[-1]), -1)
        difference = top.values - student.logits.gather(-1, top.indices.expand(*student.logits.shape[:-1], -1))
        if self.shift_invariant:
            difference = difference - difference.mean(-1, keepdim=True)
        return difference.square().mean(-1)
