"""What is minimised: loss_k = sum_i w_ik(p) sum_n weight_n term_i(n, k) / D for each of K arms over one View.

D is counted over the whole optimiser step, so micro-batches add up to the same gradient however the step is cut.
Weights are never renormalised. A term whose weight is 0 for every arm is not computed at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from netgain.errors import UserError
from netgain.models.lm import Head
from netgain.objectives.linear import chunked_terms, fusable, logsumexp_head
from netgain.objectives.schedule import always_zero, weight_at
from netgain.objectives.term import Reading, Scores, SoftTarget, Term
from netgain.spec.run import Schedule, Weighted


@dataclass(frozen=True)
class Loss:
    """loss (K,), differentiable; raw (T, K): sum_n weight_n term(n) of the terms in `names`; weights (T, K)."""

    arms: Tensor
    names: tuple[str, ...]
    raw: Tensor
    weights: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class _Part:
    """A term with its weight in each arm."""

    name: str
    term: Term
    weights: tuple[float | Schedule, ...]


class Objective:
    """The named, weighted terms of K arms that share one View. Arms differ in weights only."""

    def __init__(self, arms: Sequence[Mapping[str, Weighted]]) -> None:
        parts: list[_Part] = []
        for name in dict.fromkeys(name for arm in arms for name in arm):
            found = [arm[name] for arm in arms if name in arm]
            term = found[0].term
            if any(other.term != term for other in found):
                raise ValueError(f"arms of one pack disagree about the term {name}")
            if not isinstance(term, Term):
                raise UserError(f"objective.{name}: {type(term).__name__} does not derive from netgain's Term.")
            weights = tuple(arm[name].weight if name in arm else 0.0 for arm in arms)
            if not all(always_zero(weight) for weight in weights):
                parts.append(_Part(name, term, weights))
        for k in range(len(arms)):
            if all(always_zero(part.weights[k]) for part in parts):
                raise UserError("objective: every weight is 0, so there is nothing to learn.")
        self.parts = tuple(parts)
        self.arms = len(arms)

    def active(self, progress: Sequence[float]) -> list[tuple[_Part, tuple[float, ...]]]:
        """The parts that some arm weighs now, with their weights (K,)."""
        now = [
            (part, tuple(weight_at(w, p) for w, p in zip(part.weights, progress, strict=True))) for part in self.parts
        ]
        return [(part, weights) for part, weights in now if any(weights)]

    def needs(self, progress: Sequence[float]) -> frozenset[str]:
        """The references that must score this step."""
        return frozenset().union(*(part.term.needs for part, _ in self.active(progress)))

    def __call__(
        self,
        hidden: Tensor,
        head: Head,
        targets: Tensor,
        weight: Tensor,
        *,
        total: float,
        progress: Sequence[float],
        references: Mapping[str, Reading] | None = None,
        chunk: int | None = None,
    ) -> Loss:
        """hidden (K, n, H), targets (n,), weight (n,); `total` is D; `progress` (K,) in [0, 1]."""
        active = self.active(progress)
        names = tuple(part.name for part, _ in active)
        weights = tuple(row for _, row in active)
        terms = [part.term for part, _ in active]
        states = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        shares = [[w / total for w in row] for row in weights]
        coefficients = torch.tensor(shares, dtype=states.dtype, device=states.device).view(-1, self.arms)
        references = references or {}
        soft = soft_targets(terms, head, targets, references) if fusable(head) else None
        if soft is not None:
            raw = _linear_terms(states, head, soft, weight, chunk)
            arms = (coefficients * raw).sum(0)
        else:
            measure = _Measure(terms, targets, weight, references)
            arms, raw = chunked_terms(hidden, head, measure, coefficients, chunk)
        return Loss(arms, names, raw.detach(), weights)


def soft_targets(
    terms: Sequence[Term], head: Head, targets: Tensor, references: Mapping[str, Reading]
) -> list[SoftTarget] | None:
    """The terms as lse(W h) - h . q + c, when all of them have that form."""
    found: list[SoftTarget] = []
    for term in terms:
        soft = term.soft_target(head.weight, targets, references)
        if soft is None:
            return None
        found.append(soft)
    return found


def _linear_terms(states: Tensor, head: Head, soft: list[SoftTarget], weight: Tensor, chunk: int | None) -> Tensor:
    """(T, K) sums: one lse(W h) for all terms, then a dot product each."""
    arms, n, width = states.shape
    lse = logsumexp_head(states.reshape(arms * n, width), head, chunk).view(arms, n)
    scaled = states if head.scale is None else states * head.scale
    sums: list[Tensor] = []
    for target in soft:
        values = lse - (scaled * target.vector.to(states.dtype)).sum(-1)
        if target.constant is not None:
            values = values + target.constant
        sums.append(values @ weight.to(states.dtype))
    return torch.stack(sums) if sums else states.new_zeros(0, arms)


class _Measure:
    """Each term's weighted sum over a chunk of tokens, from that chunk's logits."""

    def __init__(
        self, terms: Sequence[Term], targets: Tensor, weight: Tensor, references: Mapping[str, Reading]
    ) -> None:
        self.terms, self.targets, self.weight, self.references = terms, targets, weight, references

    def __call__(self, hidden: Tensor, head: Head, part: slice) -> Tensor:
        targets = self.targets[part]
        student = Scores(_wide(head.logits(hidden)), targets)
        with torch.no_grad():
            others = {
                name: Scores(_wide(reading.head.logits(reading.hidden[part])), targets)
                for name, reading in self.references.items()
            }
        weight = self.weight[part].to(student.logits.dtype)
        return torch.stack([term.values(student, others) @ weight for term in self.terms])


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
