"""The one training loop: a generator of step records. Checkpoints, dev losses, stopping and logging consume it.

Everything random in a step is a function of (seed, stream, step): the View, and the dropout masks. So the state of a
training is its tensors and a step number, and a resumed training is the same training.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from netgain.data.view import View
from netgain.objectives.objective import Loss, Objective
from netgain.objectives.term import Reading
from netgain.spec.run import Runtime
from netgain.training.arms import Arm, Reference, Student, learning_rate


class Diverged(Exception):
    """The loss or the gradient of every arm that still learned was no longer a number; nothing was updated by it."""

    def __init__(self, step: int, arms: Sequence[str]) -> None:
        super().__init__(f"diverged at step {step}")
        self.step = step
        self.arms = tuple(arms)


@dataclass(frozen=True, slots=True)
class ArmStep:
    """What one step was for one arm. `terms` maps a name to (raw, weight): loss = sum of raw * weight."""

    progress: float
    loss: float
    terms: dict[str, tuple[float, float]]
    lr: float
    grad_norm: float


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One optimiser step, counted from 1. `tokens` read and `seconds` spent are totals since the run began.

    `arms` has None for an arm that did not learn from this step; `dev` is there when dev losses were measured after it.
    """

    step: int
    arms: tuple[ArmStep | None, ...]
    tokens: int
    seconds: float
    dev: tuple[float, ...] | None = None

    def rows(self, arm: int = 0) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl that this step is worth for one arm."""
        rows: list[dict[str, Any]] = []
        if (own := self.arms[arm]) is not None:
            rows.append(
                {
                    "step": self.step,
                    "progress": own.progress,
                    "loss": own.loss,
                    "terms": {name: {"raw": raw, "weight": weight} for name, (raw, weight) in own.terms.items()},
                    "lr": own.lr,
                    "grad_norm": own.grad_norm,
                    "tokens": self.tokens,
                    "seconds": self.seconds,
                }
            )
        if self.dev is not None:
            rows.append({"event": "dev", "step": self.step, "loss": self.dev[arm]})
        return rows


@dataclass
class Training:
    """K arms under way. `views(k)` is the View of step k, the same whenever it is asked for."""

    student: Student
    arms: Sequence[Arm]
    views: Callable[[int], View]
    seed: int
    runtime: Runtime = field(default_factory=Runtime)
    references: Mapping[str, Reference] = field(default_factory=dict)
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.objective = Objective([arm.objective for arm in self.arms])
        self.steps = max(arm.optim.steps for arm in self.arms)
        cpu = self.student.lm.device.type == "cpu"
        self.accelerator = Accelerator(mixed_precision="no", cpu=cpu)
        self.optimizer = _optimizer(self.arms)

    @property
    def finished(self) -> bool:
        """Whether no arm has a step left."""
        return not any(arm.learns_at(self.step) for arm in self.arms)


def _optimizer(arms: Sequence[Arm]) -> torch.optim.AdamW:
    """One AdamW with a parameter group for each arm: it works element by element, so it is K of them."""
    groups = [
        {
            "params": arm.parameters(),
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
        yield _step(training)


def _step(training: Training) -> StepRecord:
    start = time.perf_counter()
    step, arms = training.step, training.arms
    live = [arm.learns_at(step) for arm in arms]
    view = training.views(step).to(training.student.lm.device)
    loss = backward(training, view, [arm.progress(step) for arm in arms], live)
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
    _update(training, norms, rates, [now and arm.diverged is None for now, arm in zip(live, arms, strict=True)])
    training.step += 1
    training.tokens += int(view.attention_mask.sum())
    training.seconds += time.perf_counter() - start
    records = [
        ArmStep(
            progress=arm.progress(step),
            loss=losses[k],
            terms={name: (raw[t][k], loss.weights[t][k]) for t, name in enumerate(loss.names)},
            lr=rates[k],
            grad_norm=measured[k],
        )
        if live[k] and arm.diverged is None
        else None
        for k, arm in enumerate(arms)
    ]
    return StepRecord(training.step, tuple(records), training.tokens, training.seconds)


def backward(training: Training, view: View, progress: Sequence[float], live: Sequence[bool]) -> Loss:
    """Add the gradient of each live arm's loss over the whole View to its tensors; returns the sums over the View.

    loss.raw is divided by D here, so that loss_k = sum_t weight_tk raw_tk.
    """
    student, total = training.student, view.count
    names = training.objective.needs(progress)
    mask = None if all(live) else torch.tensor(live, device=view.input_ids.device)
    found: list[Loss] = []
    with student.learning(), student.lm.checkpointing(training.runtime.gradient_checkpointing):
        for rows, part in _micro_batches(view, training.runtime.micro_batch):
            if len(part.targets) == 0:
                continue
            if student.noise is not None:
                student.noise.at(training.seed, training.step, rows)
            references = _read(training.references, names, part)
            with training.accelerator.autocast():
                states = student.states(part)
            loss = training.objective(
                states,
                student.lm.head,
                part.targets,
                part.weight,
                total=total,
                progress=progress,
                references=references,
                chunk=training.runtime.chunk,
            )
            training.accelerator.backward(loss.arms.sum() if mask is None else (loss.arms * mask).sum())
            found.append(loss)
    sums = torch.stack([loss.arms.detach() for loss in found]).sum(0)
    raw = torch.stack([loss.raw for loss in found]).sum(0) / total
    return Loss(sums, found[0].names, raw, found[0].weights)


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


def _grad_norms(arms: Sequence[Arm]) -> list[Tensor]:
    """||g_k||, over exactly the tensors that arm k trains."""
    return [torch.nn.utils.get_total_norm([p.grad for p in arm.parameters() if p.grad is not None]) for arm in arms]


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
            for tensor in arm.parameters():
                tensor.grad = None
        elif arm.optim.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(arm.parameters(), arm.optim.clip, norms[k])
    training.optimizer.step()
    training.student.zero_grad()
