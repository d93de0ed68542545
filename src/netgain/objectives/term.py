"""What a term of an objective is: a pure function of each scored token, and of the references that it names.

Two ways to compute one exist. `values` works on logits, chunk by chunk, and is all that a term must have. A term that
is linear in the student's logits but for their logsumexp, -sum_v q_v log p_v + c with any target distribution q, may
also say `soft_target`: then no logits are ever made (objectives/linear.py). So may a reverse KL, which is linear in
them under the student's own distribution (objectives/linear_reverse.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

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

    def of(self, arms: Sequence[int]) -> "Scores":
        """The scores of some of the arms that lead the shape."""
        if len(arms) == len(self.logits):
            return self
        some = Scores(self.logits[list(arms)], self.targets)
        if "logp" in vars(self):  # one log-softmax for all
            vars(some)["logp"] = self.logp[list(arms)]
        return some


@dataclass(frozen=True)
class Reading:
    """What a reference says about the same N scored tokens: the states that its own head reads, (N, H), or, where
    it remembers no more, H + 1 numbers a token: mean (N, H) = E_p[W] and entropy_term (N,) = sum_v p_v log p_v with
    p = softmax(head(hidden)) and W the student's own frozen head. nll (N,) = -log p(y), where it is remembered.
    """

    hidden: "Tensor | None"
    head: "Head"
    mean: "Tensor | None" = None
    entropy_term: "Tensor | None" = None
    nll: "Tensor | None" = None


@dataclass(frozen=True)
class SoftTarget:
    """A term written as g * (lse(W h) - h . vector + constant): vector (N, H) = E_q[W], constant (N,) or None for 0.

    gate: the student's own cross-entropy (K, N) -> g (K, N), without gradient; None for 1.
    """

    vector: "Tensor"
    constant: "Tensor | None" = None
    gate: "Callable[[Tensor], Tensor] | None" = None


@dataclass(frozen=True)
class OwnTarget:
    """A term that is KL(q || p) of the student's q, p being what this reading says: its own words are the target."""

    reading: Reading


class Term(TermPlugin, ABC):
    """One term of an objective. Its weight is not its business."""

    @property
    def needs(self) -> frozenset[str]:
        """The references whose scores it compares with."""
        return frozenset()

    @property
    def reads(self) -> Literal["mean", "hidden"]:
        """What of a reference must be remembered for it: the states, or only the H + 1 numbers of a soft target."""
        return "hidden"

    @abstractmethod
    def values(self, student: Scores, references: Mapping[str, Scores]) -> "Tensor":
        """The term at every scored token, (...) like the student's targets; leading dimensions are arms."""

    def soft_target(
        self, head: "Head", targets: "Tensor", references: Mapping[str, Reading], chunk: int | None
    ) -> "SoftTarget | OwnTarget | None":
        """The same term for the student's frozen head and targets (N,), when it has one of these forms."""
        return None


class Penalty(TermPlugin, ABC):
    """A term of the weights alone: no token, no reference, nothing to divide by."""

    @abstractmethod
    def value(self, learned: "Mapping[str, Tensor]", initial: "Mapping[str, Tensor]") -> "Tensor":
        """A number, of the tensors that learn and of what they were before the first step."""
