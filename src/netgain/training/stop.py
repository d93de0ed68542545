"""Dev losses, the best checkpoint and early stopping, as a consumer of the loop.

The dev loss is the cross-entropy of held-out answers, token-weighted, whatever the arm's objective is: so that arms
are chosen by one measure. Beside it goes how far the arm has moved from its base on the same tokens.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import torch

from netgain.data.view import View
from netgain.objectives.objective import Objective
from netgain.objectives.selection import Selected, Selection
from netgain.objectives.terms.ce import Ce
from netgain.objectives.terms.kl import Kl
from netgain.spec.run import DevSpec, Weighted
from netgain.training.arms import Arm, Student, base_reference
from netgain.training.loop import StepRecord, Training
from netgain.training.memory import fitted

MEASURED = {"ce": Weighted(term=Ce()), "kl": Weighted(term=Kl())}


@torch.no_grad()
def dev_losses(
    student: Student, arms: int, views: Iterable[View], chunk: int | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """sum_n -log p(y_n) / N and sum_n KL(base || arm)(n) / N over all views, for each arm.

    With a frozen head the second costs one forward pass of the base, whatever the number of arms.
    """
    objective, base = Objective([MEASURED] * arms), base_reference(student)
    active = objective.active([0.0] * arms)
    sums, total = torch.zeros(2, arms, dtype=torch.float64), 0
    for cpu in views:
        view = cpu.to(student.lm.device)
        ones: Selection = {"all": Selected(torch.ones_like(view.weight), 1.0)}
        states, readings = student.states(view), {"base": base(view)}
        found = objective(active, states, student.lm.head, view.targets, ones, references=readings, chunk=chunk)
        sums += found.raw.double().cpu()
        total += len(view.targets)
    loss, drift = student.lm.holders.agreed(sums / total).tolist()
    return tuple(loss), tuple(drift)


def watch(
    records: Iterator[StepRecord],
    training: Training,
    views: Sequence[View],
    spec: DevSpec,
    keep_best: Callable[[Arm], None],
) -> Iterator[StepRecord]:
    """Every `spec.every` steps and after an arm's last: measure it, keep what is best, end what has waited too long.

    `keep_best(arm)` is called while the arm's tensors are the best so far. An arm ends after `spec.patience`
    measurements in a row that did not beat its best by more than `spec.min_delta`; one whose dev loss is no number has
    diverged.
    """
    for record in records:
        due = [
            own is not None and _due(arm, record.step, spec)
            for arm, own in zip(training.arms, record.arms, strict=True)
        ]
        if not any(due):
            yield record
            continue
        rows = max((len(view.input_ids) for view in views), default=0)
        losses, drifts = fitted(training, rows, lambda: _measured(training, views))
        dev = tuple(
            loss if now and math.isfinite(loss + moved) else None
            for loss, moved, now in zip(losses, drifts, due, strict=True)
        )
        for arm, loss, now in zip(training.arms, dev, due, strict=True):
            if loss is not None:
                judge(arm, loss, record.step, spec, keep_best)
            elif now:
                arm.diverged = arm.ended = record.step
        yield replace(record, dev=dev, drift=drifts)


def _measured(training: Training, views: Sequence[View]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    size = training.runtime.micro_batch
    parts = views if size is None else [part for view in views for part in view.split(size) if len(part.targets)]
    return dev_losses(training.student, len(training.arms), parts, training.runtime.chunk)


def _due(arm: Arm, step: int, spec: DevSpec) -> bool:
    return spec.every is not None and (step % spec.every == 0 or not arm.learns_at(step))


def judge(arm: Arm, loss: float, step: int, spec: DevSpec, keep_best: Callable[[Arm], None]) -> None:
    """Compare one dev loss with the arm's best, and end the arm when its patience is over."""
    enough = loss < arm.best.loss - spec.min_delta
    arm.best.waited = 0 if enough else arm.best.waited + 1
    if loss < arm.best.loss:
        arm.best.loss, arm.best.step = loss, step
        keep_best(arm)
    if spec.patience is not None and arm.best.waited >= spec.patience:
        arm.ended = step
