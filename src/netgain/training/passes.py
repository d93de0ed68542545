"""The forward passes of a step: micro-batches of one View, what their tokens count, who else reads them.

The step itself, probes and learned weights all differentiate through these, so they see the same rows and masks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from netgain.data.view import View
from netgain.objectives.objective import Active, Loss, needs
from netgain.objectives.selection import Selection, select
from netgain.objectives.term import Penalty, Reading, Term
from netgain.training.arms import Reference
from netgain.training.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from netgain.training.loop import Training


@dataclass(frozen=True)
class Pass:
    """One micro-batch on its way: what its tokens count, what the references said of it, and the arms' states.

    Its loss counts `share` times in this process."""

    view: View
    tokens: Selection
    readings: Mapping[str, Reading]
    states: Tensor  # (K, n, H)
    share: float = 1.0


def passes(training: "Training", view: View, active: Sequence[Active[Term]], ranks: Ranks = ALONE) -> Iterator[Pass]:
    """The forward passes of one step that are this rank's, a micro-batch at a time; the backward pass belongs between
    two of them."""
    student = training.student
    tokens = select(view, [each.part.tokens for each in active], training.seed, training.step, training.sources)
    names = needs(active)
    with student.learning(), student.lm.checkpointing(training.runtime.gradient_checkpointing):
        size = ranks.rows(len(view.input_ids), training.runtime.micro_batch)
        parts = [each for each in _micro_batches(view, size) if len(each[1].targets)]
        ends = list(accumulate(len(part.targets) for _, part in parts))
        for i, share in ranks.parts(len(parts)):
            rows, part = parts[i]
            own = slice(ends[i] - len(part.targets), ends[i])
            if student.noise is not None:
                student.noise.at(training.seed, training.step, rows)
            readings = _read(training.references, names, part)
            with training.accelerator.autocast():
                states = student.states(part)
            yield Pass(part, {kind: each.part(own) for kind, each in tokens.items()}, readings, states, share)


def score(training: "Training", made: Pass, active: Sequence[Active[Term]]) -> Loss:
    """The loss of one micro-batch."""
    head, chunk = training.student.lm.head, training.runtime.chunk
    return training.objective(
        active, made.states, head, made.view.targets, made.tokens, references=made.readings, chunk=chunk
    )


def penalty(training: "Training", each: Active[Penalty], arm: int) -> Tensor:
    """The value of a weight-space term for one arm."""
    return each.part.term.value(training.arms[arm].adapter.parameters(), training.initial[arm])


def _micro_batches(view: View, size: int | None) -> Iterator[tuple[Tensor, View]]:
    """(which rows of the step, their View) for each micro-batch."""
    total = view.input_ids.shape[0]
    if size is None or size >= total:
        yield torch.arange(total), view
        return
    start = 0
    for part in view.split(size):
        count = part.input_ids.shape[0]
        yield torch.arange(start, start + count), part
        start += count


@torch.no_grad()
def _read(references: Mapping[str, Reference], names: frozenset[str], view: View) -> dict[str, Reading]:
    return {name: references[name](view) for name in sorted(names)}
