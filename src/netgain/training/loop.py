"""The one training loop: a generator of step records. Checkpoints, dev losses, stopping and logging consume it.

Everything random in a step is a function of (seed, stream, step): the View, and the dropout masks. So the state of a
training is its tensors and a step number, and a resumed training is the same training.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from netgain.data.view import View
from netgain.objectives.objective import Active, Loss, Objective
from netgain.objectives.sampling import Judge, Rollout
from netgain.objectives.term import Penalty, Term
from netgain.spec.run import Runtime
from netgain.training import rollouts
from netgain.training.arms import Arm, Reference, Student, learning_rate
from netgain.training.bilevel import learn_weights
from netgain.training.memory import fitted
from netgain.training.passes import passes, penalty, score
from netgain.training.ranks import Ranks
from netgain.training.rollouts import Rolled

PROBED = ("grad_norm", "grad_share", "grad_cosine")
SAMPLED = ("score", "answers", "answer_tokens", "sample_seconds")
Sampled = Mapping[str, tuple[float, int, int, float]]
"""What sampled terms say of a step, in the order of SAMPLED."""


class Diverged(Exception):
    """The loss or the gradient of every arm that still learned was no longer a number; nothing was updated by it."""

    def __init__(self, step: int, arms: Sequence[str]) -> None:
        super().__init__(f"diverged at step {step}")
        self.step = step
        self.arms = tuple(arms)


@dataclass(frozen=True, slots=True)
class ArmStep:
    """What one step was for one arm. `terms` maps a name to (raw, weight): loss = sum of raw * weight; `probes` to
    (grad_norm, grad_share, grad_cosine) where the step was probed, `sampled` to (score, answers, tokens, seconds) where
    answers were sampled."""

    progress: float
    loss: float
    terms: dict[str, tuple[float, float]]
    lr: float
    grad_norm: float
    probes: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    sampled: Sampled = field(default_factory=dict)

    def row(self) -> dict[str, dict[str, float]]:
        """The terms as metrics.jsonl has them."""
        rows = {name: {"raw": raw, "weight": weight} for name, (raw, weight) in self.terms.items()}
        for name, values in self.probes.items():
            rows[name] |= dict(zip(PROBED, values, strict=True))
        for name, drawn in self.sampled.items():
            rows[name] |= dict(zip(SAMPLED, drawn, strict=True))
        return rows


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One optimiser step, counted from 1. `tokens` read and `seconds` spent are totals since the run began.

    `arms` has None for an arm that did not learn from this step; `dev` and `drift`, KL(base || arm), are there when
    dev rows were measured after it, with None in `dev` for an arm that was not due.
    """

    step: int
    arms: tuple[ArmStep | None, ...]
    tokens: int
    seconds: float
    dev: tuple[float | None, ...] | None = None
    drift: tuple[float, ...] | None = None

    def rows(self, arm: int = 0) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl that this step is worth for one arm."""
        rows: list[dict[str, Any]] = []
        if (own := self.arms[arm]) is not None:
            rows.append(
                {
                    "step": self.step,
                    "progress": own.progress,
                    "loss": own.loss,
                    "terms": own.row(),
                    "lr": own.lr,
                    "grad_norm": own.grad_norm,
                    "tokens": self.tokens,
                    "seconds": self.seconds,
                }
            )
        if self.dev is not None and self.dev[arm] is not None:
            moved = {} if self.drift is None else {"kl_base": self.drift[arm]}
            rows.append({"event": "dev", "step": self.step, "loss": self.dev[arm], **moved})
        return rows


@dataclass
class Training:
    """K arms under way. `views(k)` is the View of step k, the same whenever it is asked for; `dev` are Views of rows
    that nothing is learned from but the weights of terms. `judge` scores the answers of sampled terms, which `rolled`
    keeps for the step that they are drawn for."""

    student: Student
    arms: Sequence[Arm]
    views: Callable[[int], View]
    seed: int
    runtime: Runtime = field(default_factory=Runtime)
    references: Mapping[str, Reference] = field(default_factory=dict)
    dev: Sequence[View] = ()
    sources: Sequence[str] = ()
    judge: Judge | None = None
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    rolled: dict[tuple[int, str], Rolled] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.objective = Objective([arm.objective for arm in self.arms])
        self.initial = [_copied(arm) if self.objective.penalties else {} for arm in self.arms]
        self.steps = max(arm.optim.steps for arm in self.arms)
        cpu = self.student.lm.device.type == "cpu"
        self.accelerator = Accelerator(mixed_precision="no", cpu=cpu)
        self.ranks = Ranks.here()
        self.optimizer = _optimizer(self.arms)

    def view(self) -> View:
        """The View of the next step, where the student is."""
        return self.views(self.step).to(self.student.lm.device)

    @property
    def finished(self) -> bool:
        """Whether no arm has a step left."""
        return not any(arm.learns_at(self.step) for arm in self.arms)


def _copied(arm: Arm) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in arm.adapter.parameters().items()}


def _optimizer(arms: Sequence[Arm]) -> torch.optim.AdamW:
    """One AdamW with a parameter group for each arm: it works element by element, so it is K of them."""
    groups = [
        {
            "params": arm.leaves(),
            "lr": arm.optim.learning_rate,
            "betas": arm.optim.betas,
            "eps": arm.optim.eps,
            "weight_decay": arm.optim.weight_decay,
        }
        for arm in arms
    ]
    return torch.optim.AdamW(groups, fused=True)


def train(training: Training) -> Iterator[StepRecord]:
    """Take the steps that are left, one a record; raises Diverged when no arm survives a step."""
    while not training.finished:
        learn_weights(training)
        yield _step(training)


def _step(training: Training) -> StepRecord:
    start = time.perf_counter()
    step, arms = training.step, training.arms
    live = [arm.learns_at(step) for arm in arms]
    view = training.view()
    loss, sampled = _gradient(training, view, [arm.progress(step) for arm in arms], live)
    norms = _grad_norms(arms)
    losses, *raw, measured = _numbers(loss.arms, loss.raw, norms)
    rates = [learning_rate(arm.optim, step) for arm in arms]
    for k, arm in enumerate(arms):
        if live[k] and not (_finite(losses[k]) and _finite(measured[k])):
            arm.diverged = arm.ended = step + 1
    broken = [arm.name for k, arm in enumerate(arms) if live[k] and arm.diverged]
    if broken and len(broken) == sum(live):
        training.student.zero_grad()
        raise Diverged(step + 1, broken)
    going = [now and arm.diverged is None for now, arm in zip(live, arms, strict=True)]
    _update(training, norms, rates, going)
    training.step += 1
    training.tokens += int(view.attention_mask.sum())
    training.seconds += time.perf_counter() - start
    records: list[ArmStep | None] = []
    for k, arm in enumerate(arms):
        if not going[k]:
            records.append(None)
            continue
        terms = {n: (raw[t][k], loss.weights[t][k]) for t, n in enumerate(loss.names) if k in loss.members[t]}
        training.objective.observe(k, {name: value for name, (value, _) in terms.items()})
        records.append(ArmStep(arm.progress(step), losses[k], terms, rates[k], measured[k], sampled=sampled))
    return StepRecord(training.step, tuple(records), training.tokens, training.seconds)


def _gradient(training: Training, view: View, progress: Sequence[float], live: Sequence[bool]) -> tuple[Loss, Sampled]:
    """The gradient of the whole step. Where answers are differentiated beside its rows, both are begun again, in
    smaller parts, when memory does not hold one of them; what was drawn stays."""
    due = rollouts.due(training, progress, view)
    if not due:
        return backward(training, view, progress, live), {}
    rows = max(len(view.input_ids), *(each.part.term.prompts * each.part.term.samples for each in due))
    return fitted(training, rows, lambda: _roll(training, backward(training, view, progress, live), view, due))


def backward(training: Training, view: View, progress: Sequence[float], live: Sequence[bool]) -> Loss:
    """Add the gradient of each live arm's loss over the whole View to its tensors; returns the sums over the View.

    loss.raw is divided by D here, so that loss_k = sum_t weight_tk raw_tk.
    """
    active = training.objective.active(progress)
    mask = None if all(live) else torch.tensor(live, device=view.input_ids.device)
    found = fitted(training, len(view.input_ids), lambda: _parts(training, view, active, mask))
    own = [tensor for arm in training.arms for tensor in arm.leaves()]
    sums, raw = training.ranks.add(
        own,
        torch.stack([loss.arms for loss in found]).sum(0),
        torch.stack([loss.raw for loss in found]).sum(0),
    )
    totals = torch.tensor([d or 1.0 for d in found[0].totals], dtype=raw.dtype, device=raw.device)
    whole = replace(found[0], arms=sums, raw=raw / totals[:, None])
    return _penalise(training, whole, progress, live)


def _parts(training: Training, view: View, active: Sequence[Active[Term]], mask: Tensor | None) -> list[Loss]:
    """The loss of each micro-batch that is this process's, its gradient added to the arms' tensors."""
    found: list[Loss] = []
    for made in passes(training, view, active, training.ranks):
        loss = score(training, made, active)
        loss = loss if made.share == 1 else replace(loss, arms=loss.arms * made.share, raw=loss.raw * made.share)
        if active:
            training.accelerator.backward(loss.arms.sum() if mask is None else (loss.arms * mask).sum())
        found.append(replace(loss, arms=loss.arms.detach(), raw=loss.raw.detach()))
    return found


def _penalise(training: Training, loss: Loss, progress: Sequence[float], live: Sequence[bool]) -> Loss:
    """The loss with its weight-space terms, whose gradient is added to the arms' tensors."""
    for each in training.objective.penalised(progress):
        own = [k for k in each.arms if live[k]]
        values = {k: penalty(training, each, k) for k in own}
        for k, value in values.items():
            training.accelerator.backward(each.weights[k] * value)
        row = torch.stack(
            [values[k].detach().to(loss.raw) if k in values else loss.raw.new_zeros(()) for k in range(len(live))]
        )
        loss = _appended(loss, each, row)
    return loss


def _appended(loss: Loss, each: Active[Penalty] | Active[Rollout], row: Tensor) -> Loss:
    """The loss with one more term, whose value in each arm is `row` (K,)."""
    weights = torch.tensor(each.weights, dtype=row.dtype, device=row.device)
    return replace(
        loss,
        arms=loss.arms + weights * row,
        names=(*loss.names, each.part.name),
        raw=torch.cat([loss.raw, row[None]]),
        totals=(*loss.totals, 1.0),
        weights=(*loss.weights, each.weights),
        members=(*loss.members, each.arms),
    )


def _roll(training: Training, loss: Loss, view: View, due: Sequence[Active[Rollout]]) -> tuple[Loss, Sampled]:
    """The loss with the sampled terms that are due, -w S, whose gradient is added to the arm's tensors."""
    sampled: dict[str, tuple[float, int, int, float]] = {}
    for each in due:
        found = rollouts.roll(training, each, view)
        rollouts.backward(training, found, each.weights[0], each.part.term.temperature)
        loss = _appended(loss, each, loss.raw.new_tensor([-found.score]))
        sampled[each.part.name] = (found.score, found.samples, found.tokens, found.seconds)
    return loss, sampled


def _grad_norms(arms: Sequence[Arm]) -> list[Tensor]:
    """||g_k||, over exactly the tensors that arm k trains."""
    return [torch.nn.utils.get_total_norm([p.grad for p in arm.leaves() if p.grad is not None]) for arm in arms]


def _numbers(losses: Tensor, raw: Tensor, norms: Sequence[Tensor]) -> list[list[float]]:
    """[losses, one row a term, norms] on the host, in one transfer."""
    wide = losses.dtype
    return torch.cat([losses[None], raw.to(wide), torch.stack(list(norms)).to(wide)[None]]).tolist()


def _finite(value: float) -> bool:
    return value - value == 0


def _update(training: Training, norms: Sequence[Tensor], rates: Sequence[float], live: Sequence[bool]) -> None:
    """Clip each arm by its own norm, set its rate, and let AdamW step; an arm without gradients is left alone."""
    for k, arm in enumerate(training.arms):
        training.optimizer.param_groups[k]["lr"] = rates[k]
        if not live[k]:
            for tensor in arm.leaves():
                tensor.grad = None
        elif arm.optim.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(arm.leaves(), arm.optim.clip, norms[k])
    training.optimizer.step()
    training.student.zero_grad()
