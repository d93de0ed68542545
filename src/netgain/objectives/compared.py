"""What the divergences from a reference share: which reference, over which outcomes, and for which tokens.

p is the reference and q the student, both as log-probabilities over the same outcomes: the whole vocabulary, or the
`top_k` words that the reference finds likeliest and one bucket for all others, which is a coarsening and so a lower
bound of the full divergence. With a temperature T both are softmax(z / T), and the value is multiplied by T^2, so that
its gradient keeps its size.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from netgain.objectives.term import Scores, Term

if TYPE_CHECKING:
    from torch import Tensor

Gate = Literal["none", "better", "soft"]
MARGIN, WIDTH = 0.15, 0.35


def gate(kind: Gate, student: "Tensor", teacher: "Tensor") -> "Tensor":
    """g of two cross-entropies with the gold token: `better` is [teacher < student], `soft` is
    clip((student - teacher - 0.15) / 0.35, 0, 1). No gradient goes through it."""
    lead = student.detach() - teacher
    return (lead > 0).to(lead.dtype) if kind == "better" else ((lead - MARGIN) / WIDTH).clamp(0, 1)


class Referred(Term):
    """A term that compares the student with one reference."""

    reference: str = "base"
    gate: Gate = "none"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.reference})

    def values(self, student: Scores, references: Mapping[str, Scores]) -> "Tensor":
        other = references[self.reference]
        found = self.between(student, other)
        if self.gate == "none":
            return found
        return found * gate(self.gate, -student.target_logp, -other.target_logp)

    @abstractmethod
    def between(self, student: Scores, other: Scores) -> "Tensor":
        """The term at every token, before the gate."""


class Divergence(Referred):
    """A divergence of two distributions."""

    temperature: float = Field(default=1.0, gt=0)
    top_k: PositiveInt | None = None

    @property
    def whole(self) -> bool:
        """Whether it is the plain divergence over the vocabulary."""
        return self.temperature == 1 and self.top_k is None

    def between(self, student: Scores, other: Scores) -> "Tensor":
        p, q = other.logp, student.logp
        if self.temperature != 1:
            p, q = ((scores.logits / self.temperature).log_softmax(-1) for scores in (other, student))
        if self.top_k is not None and self.top_k < p.shape[-1]:
            p, q = coarse(p, q, self.top_k)
        return self.temperature**2 * self.divergence(p, q)

    @abstractmethod
    def divergence(self, p: "Tensor", q: "Tensor") -> "Tensor":
        """D of log-probabilities p (..., M) of the reference and q (..., M) of the student, (...)."""


def coarse(p: "Tensor", q: "Tensor", k: int) -> tuple["Tensor", "Tensor"]:
    """Log-probabilities (..., V) as (..., k + 1): the k words likeliest under p, and the mass of all others."""
    import torch

    ids = p.topk(k, -1).indices

    def buckets(logp: torch.Tensor) -> torch.Tensor:
        at = ids.expand(*logp.shape[:-1], k)
        tail = logp.scatter(-1, at, -torch.inf).logsumexp(-1, keepdim=True)
        return torch.cat([logp.gather(-1, at), tail], -1)

    return buckets(p), buckets(q)
