"""Weights that are learned: w = maximum * sigmoid(theta), theta descending the cross-entropy of a dev batch.

After a step of size eta along -(g + w g_term), d CE_dev / dw = -eta g_dev . g_term to first order; theta is moved by
Adam, which ignores the size eta. It costs one more forward and backward pass for the dev batch, and one for the terms,
every so many steps.
"""

from typing import TYPE_CHECKING

from netgain.errors import UserError
from netgain.objectives.objective import Active, Part
from netgain.objectives.schedule import descend
from netgain.objectives.term import Term
from netgain.objectives.terms.ce import Ce
from netgain.spec.run import Learned
from netgain.training.gradients import term_gradients

if TYPE_CHECKING:
    from netgain.training.loop import Training


def slopes(training: "Training", part: Part[Term], dev: int) -> dict[int, float]:
    """-(g_dev . g_term) for each arm that has this term, at the tensors as they are before the next step."""
    arms = range(len(training.arms))
    members = tuple(k for k in arms if isinstance(part.weights[k], Learned))
    term = Active(part, tuple(float(k in members) for k in arms), members)
    gold = Active(Part("dev", Ce(), "all", (1.0,) * len(arms)), (1.0,) * len(arms), tuple(arms))
    view = training.dev[dev % len(training.dev)].to(training.student.lm.device)
    (own,) = term_gradients(training, training.view(), [term])
    (wanted,) = term_gradients(training, view, [gold])
    return {k: -float(wanted.arms[k] @ own.arms[k]) for k in members}


def learn_weights(training: "Training") -> None:
    """Move every learned weight that is due before the next step."""
    for part in training.objective.parts:
        due = {
            k: weight
            for k, weight in enumerate(part.weights)
            if isinstance(weight, Learned)
            and training.step % weight.every == 0
            and training.arms[k].learns_at(training.step)
        }
        if not due:
            continue
        if not training.dev:
            raise UserError(f"objective.{part.name}.weight: a learned weight needs dev rows; give data.dev some.")
        found = slopes(training, part, training.step // next(iter(due.values())).every)
        for k, weight in due.items():
            descend(weight, training.objective.learned(k, part.name), found[k])
