"""Weights that are learned: w = maximum * sigmoid(theta), theta descending the cross-entropy of a dev batch.

After a step of size eta along -(g + w g_term), d CE_dev / dw = -eta g_dev . g_term to first order; theta is moved by
Adam, which ignores the size eta. It costs one more forward and backward pass for the dev batch, and a forward pass with
a backward pass for each term, every so many steps. A mixture of tasks may learn a weight for each: a term over the rows
of one source has the gradient of those rows alone, and the dev batch is of all tasks.
"""

from collections.abc import Sequence
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


def slopes(training: "Training", parts: Sequence[Part[Term]], dev: int) -> list[dict[int, float]]:
    """-(g_dev . g_term) for each arm that has each of these terms, at the tensors as they are before the next step."""
    arms = range(len(training.arms))
    members = [tuple(k for k in arms if isinstance(part.weights[k], Learned)) for part in parts]
    terms = [Active(part, tuple(float(k in own) for k in arms), own) for part, own in zip(parts, members, strict=True)]
    gold = Active(Part("dev", Ce(), "all", (1.0,) * len(arms)), (1.0,) * len(arms), tuple(arms))
    view = training.dev[dev % len(training.dev)].to(training.student.lm.device)
    found = term_gradients(training, training.view(), terms)
    (wanted,) = term_gradients(training, view, [gold])
    return [{k: -float(wanted.arms[k] @ own.arms[k]) for k in each} for own, each in zip(found, members, strict=True)]


def learn_weights(training: "Training") -> None:
    """Move every learned weight that is due before the next step; one whose term has no gradient there stays."""
    due = [
        (part, own)
        for part in training.objective.parts
        if (own := {k: w for k, w in enumerate(part.weights) if isinstance(w, Learned) and _due(training, k, w)})
    ]
    if not due:
        return
    if not training.dev:
        raise UserError(f"objective.{due[0][0].name}.weight: a learned weight needs dev rows; give data.dev some.")
    turn = training.step // min(weight.every for _, own in due for weight in own.values())
    for (part, own), found in zip(due, slopes(training, [part for part, _ in due], turn), strict=True):
        for k, weight in own.items():
            if found[k] != 0:
                descend(weight, training.objective.learned(k, part.name), found[k])


def _due(training: "Training", arm: int, weight: Learned) -> bool:
    return training.step % weight.every == 0 and training.arms[arm].learns_at(training.step)
