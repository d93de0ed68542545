"""What a term of an objective is: a pure function of each scored token, and of the references that it names.

Two ways to compute one exist. `values` works on logits, chunk by chunk, and is all that a term must have. A term that
is linear in the student's logits but for their logsumexp, -sum_v q_v log p_v + c with any target distribution q, may
also say `soft_target`: then no logits are ever made (objectives/linear.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from netgain.spec.plugin import TermPlugin

if TYPE_CHECKING:
    from torch import Tensor

    from netgain.models.lm import Head


@dataclass(frozen=True)
class Scores:
    """One model's logits (..., V) at some scored tokens, in at least float32, with their targets (...)."""

    logits: "Tensor"
    targets: "Tensor"

    @cached_property
    def logp(self) -> "Tensor":
        """log p (..., V): one log-softmax, shared by all terms."""
        return self.logits.log_softmax(-1)

    @cached_property
    def target_logp(self) -> "Tensor":
        """log p_y (...)."""
        at = self.targets.expand(self.logits.shape[:-1])
        return self.logp.gather(-1, at[..., None]).squeeze(-1)


@dataclass(frozen=True)
class Reading:
    """What a reference says about the same N scored tokens: the states that its own head reads, (N, H), or, where
    it remembers no more, H + 1 numbers a token: mean (N, H) = E_p[W] and entropy_term (N,) = sum_v p_v log p_v with
    p = softmax(head(hidden)) and W the student's own frozen head.
    """

    hidden: "Tensor | None"
    head: "Head"
    mean: "Tensor | None" = None
    entropy_term: "Tensor | None" = None


@dataclass(frozen=True)
class SoftTarget:
    """A term written as lse(W h) - h . vector + constant: vector (N, H) = E_q[W], constant (N,) or None for 0."""

    vector: "Tensor"
    constant: "Tensor | None" = None


class Term(TermPlugin, ABC):
    """One term of an objective. Its weight is not its business."""

    @property
    def needs(self) -> frozenset[str]:
        """The references whose scores it compares with."""
        return frozenset()

    @abstractmethod
    def values(self, student: Scores, references: Mapping[str, Scores]) -> "Tensor":
        """The term at every scored token, (...) like the student's targets; leading dimensions are arms."""

    def soft_target(self, weight: "Tensor", targets: "Tensor", references: Mapping[str, Reading]) -> SoftTarget | None:
        """The same term for a frozen head W (V, H) and targets (N,), when it has this form."""
        return None
