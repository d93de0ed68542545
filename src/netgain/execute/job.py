"""A run at work: what every step of its execution needs to know."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netgain.adapters.method import Adapter
from netgain.data.chat import Template
from netgain.execute.events import Emit, Event
from netgain.execute.memory import Spent
from netgain.ledger.store import RunFolder
from netgain.models.lm import LM
from netgain.spec.run import Run, RunRef, Runtime
from netgain.spec.study import Planned

STATE = "checkpoint/state.safetensors"


@dataclass
class Job:
    """A run at work: its base model, how it is rendered, where its files go, whom it tells."""

    each: Planned
    folder: RunFolder
    lm: LM
    template: Template
    runtime: Runtime
    study_folder: Path | None
    emit: Emit
    costs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each method costs that this process has tried, by model and method: its seeds cost the same."""
    energy: Callable[[], dict[str, Any] | None] = lambda: None
    """What the machine's counters say that the run has cost so far."""
    spent: Spent = field(default_factory=Spent)
    """What the clock and the largest memory say so far."""

    @property
    def run(self) -> Run:
        return self.each.run

    @property
    def state(self) -> Path:
        """Where the training of this run is kept while it is under way."""
        return self.folder.path / STATE

    def finished(self, ref: RunRef) -> Path:
        """The folder of a run that this one needs, after checking that it is what was sealed."""
        assert ref.sig is not None
        run = self.folder.ledger.run(ref.sig)
        run.verify()
        return run.path

    def save(self, adapter: Adapter, name: str) -> None:
        """An adapter into the run's folder, unless another process has taken the run over."""
        self.folder.hold()
        adapter.save(self.folder.path / name)

    def fail(self, step: int) -> None:
        """Record that the run diverged at a step; it is not tried again unless it is asked for."""
        reason = f"diverged at step {step}"
        self.folder.fail(reason, {"diverged": True, "step": step})
        self.emit(Event(self.each.sig, "failed", text=reason))
