"""What each term does to what is learned: the size, share and direction of its gradient, as a consumer of the loop.

A term's share of the loss says little about its share of the learning: its scale is arbitrary, and a term may have no
gradient at all. So at some steps each term's own gradient g_i is made before the step is taken, with the same rows,
masks and weights. A probe of T terms costs one forward pass and T backward passes; the step itself is left alone. Arms
of a pack that are still the same numbers, as before the first step, are probed once for all.
"""

import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace

import torch

from netgain.objectives.objective import NoGradient
from netgain.training import rollouts
from netgain.training.gradients import Gradients, term_gradients
from netgain.training.loop import ArmStep, StepRecord, Training

TIMES = 10
"""How often a run is probed unless it is told."""
SPACING = 25
"""A probe costs about as much as two steps, so a short run is probed no more often than that: one part in twelve."""

TINY = 1e-4
"""A divergence at its minimum has no gradient either, and a value that is 0 but for rounding."""


@dataclass(frozen=True, slots=True)
class Probe:
    """grad_norm = ||g_i||, grad_share = |w_i| ||g_i|| / sum_j |w_j| ||g_j||, grad_cosine = cos(w_i g_i, sum_j w_j g_j),
    over the tensors that the arm learns."""

    grad_norm: float
    grad_share: float
    grad_cosine: float


def measure(training: Training) -> list[dict[str, Probe]]:
    """What each term of each arm does at the next step; raises NoGradient for a term that does nothing."""
    progress = [arm.progress(training.step) for arm in training.arms]
    objective = training.objective
    view = training.view()
    penalties, sampled = objective.penalised(progress), rollouts.due(training, progress, view)
    found = term_gradients(training, view, objective.active(progress), penalties, sampled)
    return [_arm(training, k, [each for each in found if k in each.arms]) for k in range(len(training.arms))]


def _arm(training: Training, k: int, parts: Sequence[Gradients]) -> dict[str, Probe]:
    if not parts or not training.arms[k].learns_at(training.step):
        return {}
    total = torch.stack([each.weights[k] * each.arms[k] for each in parts]).sum(0)
    norms = [float(each.arms[k].norm()) for each in parts]
    pushes = [abs(each.weights[k]) * norm for each, norm in zip(parts, norms, strict=True)]
    whole, size = sum(pushes), float(total.norm())
    probes: dict[str, Probe] = {}
    for each, norm, push in zip(parts, norms, pushes, strict=True):
        if each.moves:
            _refuse_idle(each.name, each.weights[k], each.raw[k], norm)
        along = each.weights[k] * float(each.arms[k] @ total)
        cosine = along / (push * size) if push and size else 0.0
        probes[each.name] = Probe(norm, push / whole if whole else 0.0, cosine)
    return probes


def _refuse_idle(name: str, weight: float, raw: float, norm: float) -> None:
    if weight != 0 and norm == 0 and abs(raw) > TINY:
        raise NoGradient(
            f"objective.{name}: its gradient is exactly 0 while its weight is {weight:g} and its value {raw:.3g}; "
            "it is detached from what is learned, or constant, so remove it or compute it from the student's logits."
        )


def probe(records: Iterator[StepRecord], training: Training, every: int | None = None) -> Iterator[StepRecord]:
    """Pass the records on; those of probed steps carry the probes. It must wrap `train` itself.

    Steps 1, 1 + every, 1 + 2 every, ... are probed; without `every`, about ten in a run whose objective has two or
    more terms, at least SPACING steps apart, and none in a run of one term, whose share and direction are the step's.
    The period is rounded up to steps at which answers are sampled.
    """
    period = every or (max(SPACING, training.steps // TIMES) if _several(training) else None)
    if period is not None:
        sampled = math.lcm(*(part.term.every for part in training.objective.rollouts))
        period = -(-period // sampled) * sampled
    while not training.finished:
        due = period is not None and training.step % period == 0
        found = measure(training) if due else None
        record = next(records)
        if found is None:
            _check_alone(record, {part.name for part in training.objective.rollouts})
            yield record
        else:
            yield replace(
                record, arms=tuple(_with(own, probes) for own, probes in zip(record.arms, found, strict=True))
            )


def _several(training: Training) -> bool:
    objective = training.objective
    return len({part.name for part in objective.all}) > 1


def _with(own: ArmStep | None, probes: dict[str, Probe]) -> ArmStep | None:
    if own is None:
        return None
    found = {name: (each.grad_norm, each.grad_share, each.grad_cosine) for name, each in probes.items()}
    return replace(own, probes=found)


def _check_alone(record: StepRecord, sampled: Set[str]) -> None:
    """A run of one term needs no probe: the gradient of the step is the term's, unless its answers were all alike."""
    for own in record.arms:
        if own is not None and len(own.terms) == 1:
            ((name, (raw, weight)),) = own.terms.items()
            if name not in sampled:
                _refuse_idle(name, weight, raw, own.grad_norm)
