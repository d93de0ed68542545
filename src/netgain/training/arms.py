"""An arm is one run inside a training: what learns, under which objective and optimiser, and how far it has come.

Arms that share model, data order and method may train as one pack over one frozen base: a `Student` gives the hidden
states of all of its K arms at once. `Solo` is the student of one arm.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Protocol

from torch import Tensor, nn

from netgain.adapters._torch.dropout import Noise
from netgain.adapters.method import Adapter
from netgain.data.view import View
from netgain.models.lm import LM
from netgain.objectives.term import Reading
from netgain.spec.run import OptimSpec, Weighted

Reference = Callable[[View], Reading]
"""Who else scores the same View: its states at the scored positions, without gradient."""


@dataclass
class Best:
    """The smallest dev loss so far, the step it was seen at, and how many measurements ago that is."""

    loss: float = math.inf
    step: int = 0
    waited: int = 0


@dataclass
class Arm:
    """One run. `ended` is the step after which it no longer learns, `diverged` the step that broke it."""

    name: str
    adapter: Adapter
    objective: Mapping[str, Weighted]
    optim: OptimSpec
    best: Best = field(default_factory=Best)
    ended: int | None = None
    diverged: int | None = None

    def parameters(self) -> list[nn.Parameter]:
        """The tensors that this arm alone learns."""
        return list(self.adapter.parameters().values())

    def leaves(self) -> list[nn.Parameter]:
        """The same numbers in the tensors that the optimiser updates."""
        return list(self.adapter.leaves().values())

    def learns_at(self, step: int) -> bool:
        """Whether the step from `step` to `step + 1` is one of this arm's."""
        return self.ended is None and step < self.optim.steps

    def progress(self, step: int) -> float:
        """The share of the run that is done before this step, in [0, 1]."""
        return min(step / self.optim.steps, 1.0)


class Student(Protocol):
    """K arms over one base."""

    lm: LM

    def states(self, view: View) -> Tensor:
        """Hidden states at the scored positions, (K, n, H)."""
        ...

    def as_one(self) -> AbstractContextManager[bool]:
        """Inside, if it says so, all arms still are the same numbers and the first stands for all: K is 1."""
        ...

    def learning(self) -> AbstractContextManager[None]:
        """Inside, the arms' own dropout is awake."""
        ...

    def off(self) -> AbstractContextManager[None]:
        """Inside, `lm` is the base."""
        ...

    @property
    def noise(self) -> Noise | None:
        """Where the arms' dropout takes its masks from."""
        ...

    def zero_grad(self) -> None:
        """Forget the gradients of every arm."""
        ...


class Solo:
    """One arm: the model with its adapter."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.lm = adapter.lm
        self._parameters: Sequence[nn.Parameter] = list(adapter.parameters().values())

    def states(self, view: View) -> Tensor:
        """(1, n, H)."""
        return self.lm.hidden(view)[view.scored][None]

    def as_one(self) -> AbstractContextManager[bool]:
        return nullcontext(False)

    def learning(self) -> AbstractContextManager[None]:
        return self.adapter.learning()

    def off(self) -> AbstractContextManager[None]:
        return self.adapter.off()

    @property
    def noise(self) -> Noise | None:
        return self.adapter.noise

    def zero_grad(self) -> None:
        for tensor in self._parameters:
            tensor.grad = None


def base_reference(student: Student) -> Reference:
    """The reference "base": the student's own model with every adapter switched off, no second copy."""

    def read(view: View) -> Reading:
        with student.off():
            head = student.lm.head
            # An alias of the base's storage: full fine-tuning puts other storage under the parameter outside `off`.
            bias = None if head.bias is None else head.bias.detach()
            frozen = replace(head, weight=head.weight.detach(), bias=bias)
            return Reading(student.lm.hidden(view)[view.scored], frozen)

    return read


def learning_rate(optim: OptimSpec, step: int) -> float:
    """lr(k) = lr * k / warmup while k < warmup; then, with t = (k - warmup) / (steps - warmup): lr, lr * (1 - t), or
    lr * (1 + cos(pi t)) / 2. Steps count from 0; these are the schedules of transformers, factor for factor."""
    if step < optim.warmup:
        return optim.learning_rate * step / optim.warmup
    t = (step - optim.warmup) / max(1, optim.steps - optim.warmup)
    match optim.schedule:
        case "constant":
            return optim.learning_rate
        case "linear":
            return optim.learning_rate * max(0.0, 1.0 - t)
        case "cosine":
            return optim.learning_rate * max(0.0, 0.5 * (1.0 + math.cos(math.pi * t)))
