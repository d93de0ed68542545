"""What is minimised: loss_k = sum_i w_ik(p) sum_n weight_in term_i(n, k) / D_i for each of K arms over one View.

weight_in is the token's weight where term i sees it and 0 elsewhere, and D_i its sum, both over the whole optimiser
step, so that micro-batches add up to the same gradient however the step is cut. Weights are never renormalised.
A term whose weight is 0 for every arm is not computed at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from netgain.errors import UserError
from netgain.models.lm import Head
from netgain.objectives.linear import chunked_terms, fusable, logsumexp_head
from netgain.objectives.linear_reverse import reverse_head
from netgain.objectives.sampling import Rollout
from netgain.objectives.schedule import State, always_zero, current, initial, observe
from netgain.objectives.selection import Selection
from netgain.objectives.term import OwnTarget, Penalty, Reading, Scores, SoftTarget, Term
from netgain.spec.run import FromSource, Learned, Ratio, Tokens, Weight, Weighted

P_co = TypeVar("P_co", bound=Term | Penalty | Rollout, covariant=True)
Q = TypeVar("Q", Term, Penalty, Rollout)


class NoGradient(UserError):
    """A term that has a weight but cannot change what is learned."""


@dataclass(frozen=True)
class Loss:
    """arms (K,): the losses, differentiable; raw (T, K): sum_n weight_n term(n) of the terms in `names`;
    totals (T,): the D of each; weights (T, K); members: the arms that each was computed for."""

    arms: Tensor
    names: tuple[str, ...]
    raw: Tensor
    totals: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    members: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Part(Generic[P_co]):
    """A term with its weight in each arm: 0 where an arm has no such term."""

    name: str
    term: P_co
    tokens: Tokens
    weights: tuple[Weight, ...]


@dataclass(frozen=True)
class Active(Generic[P_co]):
    """A part at some step: its weight in each arm, and the arms that it is computed for."""

    part: Part[P_co]
    weights: tuple[float, ...]
    arms: tuple[int, ...]


class Objective:
    """The named, weighted terms of K arms that share one View."""

    def __init__(self, arms: Sequence[Mapping[str, Weighted]]) -> None:
        self.arms = len(arms)
        self.parts: list[Part[Term]] = []
        self.penalties: list[Part[Penalty]] = []
        self.rollouts: list[Part[Rollout]] = []
        for name in dict.fromkeys(name for arm in arms for name in arm):
            for same in _alike([arm.get(name) for arm in arms]):
                self._add(name, same)
        for k in range(self.arms):
            if all(always_zero(part.weights[k]) for part in self.all):
                raise UserError("objective: every weight is 0, so there is nothing to learn.")
        self._states: list[dict[str, State]] = [
            {name: state for name, each in arm.items() if (state := initial(each.weight)) or _is_ratio(each)}
            for arm in arms
        ]
        self._compared = [{n: w.weight.to for n, w in arm.items() if isinstance(w.weight, Ratio)} for arm in arms]

    def _add(self, name: str, same: Sequence[Weighted | None]) -> None:
        weights = tuple(0.0 if each is None else each.weight for each in same)
        if all(always_zero(weight) for weight in weights):
            return
        first = next(each for each in same if each is not None)
        if isinstance(first.term, Term):
            self.parts.append(Part(name, first.term, first.tokens, weights))
        elif isinstance(first.term, Penalty):
            if any(isinstance(weight, Learned) for weight in weights):
                raise UserError(f"objective.{name}.weight: a penalty's weight cannot be learned; give it a number.")
            self.penalties.append(Part(name, first.term, first.tokens, weights))
        elif isinstance(first.term, Rollout):
            self._add_rollout(Part(name, first.term, first.tokens, weights))
        else:
            raise UserError(f"objective.{name}: {type(first.term).__name__} does not derive from netgain's Term.")

    def _add_rollout(self, part: Part[Rollout]) -> None:
        where = f"objective.{part.name}"
        if self.arms > 1:
            raise UserError(f"{where}: answers are sampled by one arm alone; run with --pack off.")
        if any(isinstance(weight, Learned) for weight in part.weights):
            raise UserError(f"{where}.weight: the weight of sampled answers cannot be learned; give it a number.")
        if part.tokens != "all" and not isinstance(part.tokens, FromSource):
            raise UserError(
                f"{where}.tokens: sampled answers are no tokens of the data; name a source whose rows are asked, or "
                "leave it out."
            )
        self.rollouts.append(part)

    @property
    def all(self) -> tuple[Part[Term | Penalty | Rollout], ...]:
        """Everything that some arm weighs at some time."""
        return (*self.parts, *self.penalties, *self.rollouts)

    # ---- weights

    def weight(self, part: Part[Term | Penalty | Rollout], arm: int, progress: float) -> float:
        """The weight of a part in an arm at the next step."""
        return current(part.weights[arm], self._states[arm].get(part.name, {}), progress)

    def _active(self, parts: Sequence[Part[Q]], progress: Sequence[float]) -> list[Active[Q]]:
        found: list[Active[Q]] = []
        for part in parts:
            weights = tuple(self.weight(part, k, p) for k, p in enumerate(progress))
            arms = tuple(k for k, w in enumerate(weights) if w or isinstance(part.weights[k], Ratio))
            if arms:
                found.append(Active(part, weights, arms))
        return found

    def active(self, progress: Sequence[float]) -> list[Active[Term]]:
        """The terms that some arm weighs now."""
        return self._active(self.parts, progress)

    def penalised(self, progress: Sequence[float]) -> list[Active[Penalty]]:
        """The penalties that some arm weighs now."""
        return self._active(self.penalties, progress)

    def rolled(self, progress: Sequence[float], step: int) -> list[Active[Rollout]]:
        """The terms of sampled answers that are due before this step and weighed."""
        return self._active([part for part in self.rollouts if step % part.term.every == 0], progress)

    def observe(self, arm: int, raw: Mapping[str, float]) -> None:
        """Let the weights of an arm that depend on its terms' values see those of the step that was taken."""
        for part in self.all:
            if part.name in raw and part.name in self._states[arm] and not always_zero(part.weights[arm]):
                to = raw.get(self._compared[arm].get(part.name, part.name))
                if to is not None:
                    observe(part.weights[arm], self._states[arm][part.name], raw[part.name], to)

    def state(self, arm: int = 0) -> dict[str, float]:
        """What the weights of an arm have learned so far: "term/quantity" -> number."""
        return {f"{name}/{key}": value for name, state in self._states[arm].items() for key, value in state.items()}

    def set_state(self, values: Mapping[str, float], arm: int = 0) -> None:
        """Put the weights of an arm where `state` left them."""
        for path, value in values.items():
            name, _, key = path.rpartition("/")
            self._states[arm][name][key] = value

    def learned(self, arm: int, name: str) -> State:
        """The state of one learned weight, to be changed in place."""
        return self._states[arm][name]

    # ---- the loss

    def __call__(
        self,
        active: Sequence[Active[Term]],
        hidden: Tensor,
        head: Head,
        targets: Tensor,
        tokens: Selection,
        *,
        references: Mapping[str, Reading] | None = None,
        chunk: int | None = None,
    ) -> Loss:
        """hidden (K, n, H), targets (n,); `tokens` says what each of them counts and D, for every kind in `active`,
        whose parts have K weights."""
        states = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        totals = tuple(tokens[each.part.tokens].total for each in active)
        shares = [[w / d if d else 0.0 for w in each.weights] for each, d in zip(active, totals, strict=True)]
        coefficients = torch.tensor(shares, dtype=states.dtype, device=states.device).view(-1, len(states))
        readings = references or {}
        soft = _soft_targets(active, head, targets, readings, chunk) if fusable(head) else {}
        rows = [i for i in range(len(active)) if i not in soft]
        linear = list(soft) if rows else slice(None)  # a list of indices costs more than all that is done to the sums
        arms = torch.zeros(len(states), dtype=states.dtype, device=states.device)
        raw = torch.zeros_like(coefficients)
        if soft:
            chosen = [(soft[i], tokens[active[i].part.tokens].weight) for i in soft]
            sums = _linear_terms(states, head, targets, chosen, chunk)
            arms = (coefficients[linear] * sums).sum(0)
            raw[linear] = sums.detach()
        if rows:
            measure = _Measure([active[i] for i in rows], targets, tokens, readings)
            more, sums = chunked_terms(states, head, measure, coefficients[rows], chunk)
            arms = arms + more if soft else more
            raw[rows] = sums.detach()
        names = tuple(each.part.name for each in active)
        weights, members = tuple(each.weights for each in active), tuple(each.arms for each in active)
        return Loss(arms, names, raw, totals, weights, members)


def by_source(objective: Mapping[str, Weighted], sources: Iterable[str]) -> dict[str, Weighted]:
    """The objective in which a term with a weight for each source stands once for each: kd as kd-nli, kd-qa."""
    found: dict[str, Weighted] = {}
    for name, each in objective.items():
        if not isinstance(each.weight, Learned) or each.weight.per == "run":
            found[name] = each
            continue
        weight = each.weight.model_copy(update={"per": "run"})
        for source in sources:
            tokens = FromSource(source=source, content=each.tokens == "content")
            found[f"{name}-{source}"] = Weighted(term=each.term, weight=weight, tokens=tokens)
    return found


def needs(active: Iterable[Active[Term]]) -> frozenset[str]:
    """The references that must score a step of these terms."""
    return frozenset().union(*(each.part.term.needs for each in active))


def _is_ratio(each: Weighted) -> bool:
    return isinstance(each.weight, Ratio)


def _alike(column: Sequence[Weighted | None]) -> list[list[Weighted | None]]:
    """One name in each arm, as columns in which every arm that has it means the same term on the same tokens."""
    kinds: list[Weighted] = []
    for each in column:
        if each is not None and not any(_same(each, kind) for kind in kinds):
            kinds.append(each)
    return [[each if each is not None and _same(each, kind) else None for each in column] for kind in kinds]


def _same(one: Weighted, other: Weighted) -> bool:
    return one.term == other.term and one.tokens == other.tokens


def _soft_targets(
    active: Sequence[Active[Term]],
    head: Head,
    targets: Tensor,
    references: Mapping[str, Reading],
    chunk: int | None,
) -> dict[int, SoftTarget | OwnTarget]:
    """Which terms are computed without logits: all, when all have such a form and one at most is a reverse KL.
    Otherwise one log-softmax serves all of them, but for those whose reference remembers no states."""
    found: dict[int, SoftTarget | OwnTarget] = {}
    for i, each in enumerate(active):
        soft = each.part.term.soft_target(head, targets, references, chunk)
        if soft is not None:
            found[i] = soft
    if len(found) == len(active) and sum(isinstance(each, OwnTarget) for each in found.values()) <= 1:
        return found
    return {i: s for i, s in found.items() if any(references[n].hidden is None for n in active[i].part.term.needs)}


def _linear_terms(
    states: Tensor,
    head: Head,
    targets: Tensor,
    terms: Sequence[tuple[SoftTarget | OwnTarget, Tensor]],
    chunk: int | None,
) -> Tensor:
    """(T, K) sums: one lse(W h) for all terms, then a dot product each; a reverse KL comes with the lse."""
    own = next((target for target, _ in terms if isinstance(target, OwnTarget)), None)
    if own is None:
        lse, apart = logsumexp_head(states.flatten(0, 1), head, chunk).view(states.shape[:2]), None
    else:
        lse, apart = reverse_head(states, head, own.reading, chunk)
    scaled = states if head.scale is None else states * head.scale
    sums: list[Tensor] = []
    for target, weight in terms:
        if isinstance(target, OwnTarget):
            assert apart is not None
            values = apart
        else:
            values = _soft(target, lse, scaled, head, targets)
        sums.append(values @ weight.to(states.dtype))
    return torch.stack(sums)


def _soft(target: SoftTarget, lse: Tensor, scaled: Tensor, head: Head, targets: Tensor) -> Tensor:
    """g (lse(W h) - h . q + c), (K, n)."""
    values = lse - (scaled * target.vector.to(scaled.dtype)).sum(-1)
    if target.constant is not None:
        values = values + target.constant
    if target.gate is not None:
        with torch.no_grad():
            ce = lse - (scaled * head.weight[targets].to(scaled.dtype)).sum(-1)
        values = values * target.gate(ce)
    return values


class _Measure:
    """Each term's weighted sum over a chunk of tokens, from that chunk's logits."""

    def __init__(
        self,
        active: Sequence[Active[Term]],
        targets: Tensor,
        tokens: Selection,
        references: Mapping[str, Reading],
    ) -> None:
        self.active, self.targets, self.tokens = active, targets, tokens
        self.references = {name: references[name] for name in needs(active)}

    def __call__(self, hidden: Tensor, head: Head, part: slice) -> Tensor:
        targets = self.targets[part]
        student = Scores(_wide(head.logits(hidden)), targets)
        with torch.no_grad():
            others = {name: Scores(_logits(name, reading, part), targets) for name, reading in self.references.items()}
        return torch.stack([self._sums(each, student, others, part) for each in self.active])

    def _sums(self, each: Active[Term], student: Scores, others: Mapping[str, Scores], part: slice) -> Tensor:
        """(K,); an arm that does not weigh the term is left out, and gives 0."""
        values = each.part.term.values(student.of(each.arms), others)
        if student.logits.requires_grad and not values.requires_grad:
            raise NoGradient(
                f"objective.{each.part.name}: its value does not depend on the student (it was detached), so its "
                f"weight of {max(each.weights):g} changes nothing; compute it from the student's own logits."
            )
        sums = values @ self.tokens[each.part.tokens].weight[part].to(values.dtype)
        if len(each.arms) == len(student.logits):
            return sums
        index = torch.tensor(each.arms, device=sums.device)
        return sums.new_zeros(len(student.logits)).index_put((index,), sums)


def _logits(name: str, reading: Reading, part: slice) -> Tensor:
    if reading.hidden is None:
        raise ValueError(f"the reference {name} remembers no states, and a term needs its logits")
    return _wide(reading.head.logits(reading.hidden[part]))


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
