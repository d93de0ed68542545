"""Stopping because something is being lost, as a consumer of the loop: measured, judged at every look, and noted.

The base is measured once, before the first step; a look measures the arm on the same items. Nothing is kept between
looks but the base's values, so that a resumed run looks as the uninterrupted one did.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netgain.errors import UserError
from netgain.ledger.items import Item, higher_is_better
from netgain.spec.stop import Retain
from netgain.stats.sequential import Look, look
from netgain.training.arms import Arm
from netgain.training.loop import StepRecord, Training

Measure = Callable[[], Sequence[Item]]
"""Measures the rule's task on the model as it is now."""


@dataclass(frozen=True)
class Guard:
    """What one arm must keep, and how that is seen.

    measure     the rule's task, on this arm as it is now
    base        the same, of the base; measured when the watch begins
    keep        called while the arm is what the rule would select
    note        takes the row of metrics.jsonl that a look is worth
    """

    rule: Retain
    measure: Measure
    base: Measure
    keep: Callable[[], object]
    note: Callable[[dict[str, Any]], object]


def guard(records: Iterator[StepRecord], training: Training, guards: Sequence[Guard | None]) -> Iterator[StepRecord]:
    """Look at every arm that has a guard when it is due, and end the arm that has certainly lost too much.

    An error inside a measurement is raised: a rule that cannot be evaluated must not look like one that found nothing.
    """
    bases = [None if each is None else units(each.base(), each.rule) for each in guards]
    for record in records:
        for arm, each, base, own in zip(training.arms, guards, bases, record.arms, strict=True):
            if each is None or base is None or own is None or not due(each.rule, arm, record.step):
                continue
            found = compare(base, units(each.measure(), each.rule), each.rule, arm.optim.steps)
            each.note(row(each.rule, record.step, found))
            if found.word == "forgotten":
                arm.ended = record.step
            else:
                each.keep()
        yield record


def due(rule: Retain, arm: Arm, step: int) -> bool:
    """Every `every` steps, but not after the last: there is nothing left to stop."""
    return step % rule.every == 0 and step < arm.optim.steps and arm.ended is None


def units(items: Sequence[Item], rule: Retain) -> dict[str, float]:
    """cluster -> mean value of its items; items without a cluster stand alone, missing ones are left out."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for item in items:
        if item.metric == rule.metric and item.value is not None:
            values[item.cluster or item.item].append(item.value)
    if not values:
        known = sorted({item.metric for item in items})
        raise UserError(f'stop.metric: task {rule.task} gave no value of "{rule.metric}"; it has {", ".join(known)}.')
    return {name: sum(found) / len(found) for name, found in values.items()}


def compare(base: dict[str, float], tuned: dict[str, float], rule: Retain, steps: int) -> Look:
    """The look at tuned - base in the direction that is better, over the units that both have.

    A loss beyond `scale` counts as `scale`, which can only hide losses; a gain beyond it would invent them, and is an
    error.
    """
    shared = sorted(base.keys() & tuned.keys())
    if not shared:
        raise UserError(f"stop: base and tuned model share no measured item of task {rule.task}.")
    sign = 1.0 if higher_is_better(rule.metric) else -1.0
    gains = np.array([sign * (tuned[name] - base[name]) for name in shared]) / rule.scale
    if gains.max() > 1:
        best = float(gains.max()) * rule.scale
        raise UserError(
            f"stop.scale: an item gained {best:.3g} and the rule takes at most {rule.scale:g}; raise scale."
        )
    # The margin may exceed what the clipped differences can show; a loss of the whole scale is the largest there is.
    margin = min(rule.margin / rule.scale, 1.0)
    return look(np.maximum(gains, -1.0), margin, looks=rule.looks(steps), alpha=rule.alpha)


def row(rule: Retain, step: int, found: Look) -> dict[str, Any]:
    """The row of metrics.jsonl."""
    return {
        "event": "retain",
        "step": step,
        "task": rule.task,
        "metric": rule.metric,
        "word": found.word,
        "gain": found.estimate * rule.scale,
        "margin": rule.margin,
        "p_forgotten": found.p_forgotten,
        "p_retained": found.p_retained,
        "units": found.n,
        "looks": found.looks,
        "alpha": found.alpha,
    }
