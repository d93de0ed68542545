"""GEM: term(n) = sum_v r_v log q(v) - log q(y), r = softmax(z / beta) without gradient (Li et al. 2024).

Its slope in the logits is r - e_y where the cross-entropy has q - e_y. With beta < 1 r is sharper than q, so that once
the gold token leads little is left to learn, and the other words keep what they have. It stands in the place of the
cross-entropy, not beside it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from netgain.objectives.term import Scores, Term

if TYPE_CHECKING:
    from torch import Tensor


class Gem(Term):
    """E_r[log q] - log q(y); at beta -> infinity it is the cross-entropy less that with the uniform distribution."""

    kind: Literal["gem"] = "gem"
    beta: float = Field(default=0.7, gt=0)

    def values(self, student: Scores, references: Mapping[str, Scores]) -> "Tensor":
        sharper = (student.logits.detach() / self.beta).softmax(-1)
        return (sharper * student.logp).sum(-1) - student.target_logp
