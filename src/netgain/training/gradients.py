"""The gradient of each term alone: one forward pass for all of them, one backward pass each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from netgain.data.view import View
from netgain.objectives.objective import Active
from netgain.objectives.sampling import Rollout
from netgain.objectives.term import Penalty, Term
from netgain.training import rollouts
from netgain.training.memory import fitted
from netgain.training.passes import passes, penalty, score

if TYPE_CHECKING:
    from netgain.training.loop import Training


@dataclass(frozen=True)
class Gradients:
    """Of each part: its name, and for each arm that it belongs to its weight, value and gradient (P,).

    `moves` says whether a value other than 0 means that there is a gradient: answers of equal credit have none."""

    name: str
    weights: tuple[float, ...]
    raw: dict[int, float]
    arms: dict[int, Tensor]
    moves: bool = True


def term_gradients(
    training: "Training",
    view: View,
    active: Sequence[Active[Term]],
    penalties: Sequence[Active[Penalty]] = (),
    sampled: Sequence[Active[Rollout]] = (),
) -> list[Gradients]:
    """d raw_ik / d theta_k of each part, unweighted, over the whole View; every tensor's own gradient is left empty."""
    training.student.zero_grad()
    found = fitted(training, len(view.input_ids), lambda: _of_terms(training, view, active))
    for each in penalties:
        of = Gradients(each.part.name, each.weights, {}, {})
        for k in each.arms:
            value = penalty(training, each, k)
            training.accelerator.backward(value)
            of.raw[k], of.arms[k] = float(value.detach()), _flat(training, k)
            training.student.zero_grad()
        found.append(of)
    return [*found, *(_of_answers(training, view, each) for each in sampled)]


def _of_terms(training: "Training", view: View, active: Sequence[Active[Term]]) -> list[Gradients]:
    found = [Gradients(each.part.name, each.weights, dict.fromkeys(each.arms, 0.0), {}) for each in active]
    with training.student.as_one() as one:
        alone = [_alone(each, 1 if one else len(training.arms)) for each in active]
        for made in passes(training, view, active):
            for i, each in enumerate(alone):
                loss = score(training, made, [each])
                training.accelerator.backward(loss.arms.sum(), retain_graph=i + 1 < len(alone))
                values, own = loss.arms.tolist(), {k: _flat(training, k) for k in each.arms}
                for k in found[i].raw:
                    source = 0 if one else k
                    found[i].raw[k] += values[source]
                    before = found[i].arms.get(k)
                    found[i].arms[k] = own[source] if before is None else before + own[source]
                training.student.zero_grad()
    return found


def _alone(each: Active[Term], arms: int) -> Active[Term]:
    """The term with weight 1 in each arm that has it; in the only arm, if there is one that stands for all."""
    own = each.arms if arms > 1 else (0,)
    return replace(each, weights=tuple(float(k in own) for k in range(arms)), arms=own)


def _of_answers(training: "Training", view: View, each: Active[Rollout]) -> Gradients:
    """The surrogate's gradient of the one arm that samples."""

    def work() -> rollouts.Rolled:
        drawn = rollouts.roll(training, each, view)
        rollouts.backward(training, drawn, 1.0, each.part.term.temperature)
        return drawn

    drawn = fitted(training, each.part.term.prompts * each.part.term.samples, work)
    own = Gradients(each.part.name, each.weights, {0: -drawn.score}, {0: _flat(training, 0)}, drawn.moves)
    training.student.zero_grad()
    return own


def _flat(training: "Training", arm: int) -> Tensor:
    """The gradient of everything that an arm learns, (P,)."""
    tensors = training.arms[arm].parameters()
    return torch.cat([(torch.zeros_like(t) if t.grad is None else t.grad).flatten() for t in tensors])
