"""Dev losses, the best checkpoint and early stopping, as a consumer of the loop.

The dev loss is the cross-entropy of held-out answers, token-weighted, whatever the arm's objective is: so that arms
are chosen by one measure.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import torch

from netgain.data.view import View
from netgain.objectives.objective import Objective
from netgain.objectives.terms.ce import Ce
from netgain.spec.run import DevSpec, Weighted
from netgain.training.arms import Arm, Student
from netgain.training.loop import StepRecord, Training

CROSS_ENTROPY = {"ce": Weighted(term=Ce())}


@torch.no_grad()
def dev_losses(student: Student, arms: int, views: Iterable[View], chunk: int | None) -> tuple[float, ...]:
    """sum_n -log p(y_n) / N over all views, for each arm."""
    objective = Objective([CROSS_ENTROPY] * arms)
    sums, total = torch.zeros(arms, dtype=torch.float64), 0
    for cpu in views:
        view = cpu.to(student.lm.device)
        found = objective(
            student.states(view),
            student.lm.head,
            view.targets,
            torch.ones_like(view.weight),
            total=1.0,
            progress=[0.0] * arms,
            chunk=chunk,
        )
        sums += found.raw[0].double().cpu()
        total += len(view.targets)
    return tuple((sums / total).tolist())


def watch(
    records: Iterator[StepRecord],
    training: Training,
    views: Sequence[View],
    spec: DevSpec,
    keep_best: Callable[[Arm], None],
) -> Iterator[StepRecord]:
    """Every `spec.every` steps and after the last: measure, keep what is best, end what has waited too long.

    `keep_best(arm)` is called while the arm's tensors are the best so far. An arm ends after `spec.patience`
    measurements in a row that did not beat its best by more than `spec.min_delta`.
    """
    for record in records:
        if spec.every is None or not (record.step % spec.every == 0 or training.finished):
            yield record
            continue
        losses = dev_losses(training.student, len(training.arms), views, training.runtime.chunk)
        for arm, loss, own in zip(training.arms, losses, record.arms, strict=True):
            if own is not None:
                judge(arm, loss, record.step, spec, keep_best)
        yield replace(record, dev=losses)


def judge(arm: Arm, loss: float, step: int, spec: DevSpec, keep_best: Callable[[Arm], None]) -> None:
    """Compare one dev loss with the arm's best, and end the arm when its patience is over."""
    enough = loss < arm.best.loss - spec.min_delta
    arm.best.waited = 0 if enough else arm.best.waited + 1
    if loss < arm.best.loss:
        arm.best.loss, arm.best.step = loss, step
        keep_best(arm)
    if spec.patience is not None and arm.best.waited >= spec.patience:
        arm.ended = step
