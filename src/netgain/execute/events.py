"""What a run tells while it executes, and how far a study is."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from netgain.ledger.store import RunFolder

Kind = Literal["load", "train", "measure", "done", "failed", "elsewhere"]

TRAIN_SHARE = 0.8
"""Of a run that learns, the part of its progress bar that training fills; measuring fills the rest."""


@dataclass(frozen=True, slots=True)
class Event:
    """One sign of life of one run."""

    sig: str
    kind: Kind
    done: int = 0
    total: int = 0
    loss: float | None = None
    tokens_per_second: float | None = None
    text: str = ""


Emit = Callable[[Event], None]


class Logged:
    """Passes events on, and notes in the run's log whenever it begins to do something else."""

    def __init__(self, folder: RunFolder, emit: Emit) -> None:
        self.folder = folder
        self.emit = emit
        self.said = ""

    def __call__(self, event: Event) -> None:
        words = "training" if event.kind == "train" else event.text or event.kind
        if words != self.said:
            self.folder.note(words)
            self.said = words
        self.emit(event)


@dataclass
class Status:
    """The latest that is known of one run."""

    arm: str
    seed: int | None
    learns: bool
    event: Event
    fraction: float = 0.0


@dataclass
class Board:
    """All runs of one execution, and the time that is left."""

    runs: dict[str, Status]
    finished_before: int
    clock: Callable[[], float] = time.monotonic
    started: float = field(default=0.0)

    def __post_init__(self) -> None:
        self.started = self.clock()

    def update(self, event: Event) -> Status:
        """Take in an event; a run's fraction never falls."""
        status = self.runs[event.sig]
        status.event = event
        within = event.done / event.total if event.total else 0.0
        match event.kind:
            case "train":
                now = TRAIN_SHARE * within
            case "measure":
                now = (TRAIN_SHARE if status.learns else 0.0) * (1 - within) + within
            case "done" | "failed":
                now = 1.0
            case _:
                now = 0.0
        status.fraction = max(status.fraction, now)
        return status

    def count(self, kind: Kind) -> int:
        return sum(status.event.kind == kind for status in self.runs.values())

    @property
    def fraction(self) -> float:
        """Finished share of the work of this execution; a run that learns weighs as much as it costs, about five."""
        weights = [5.0 if status.learns else 1.0 for status in self.runs.values()]
        done = sum(w * status.fraction for w, status in zip(weights, self.runs.values(), strict=True))
        return done / sum(weights) if weights else 1.0

    def seconds_left(self) -> float | None:
        """elapsed * (1 - f) / f; None while too little is done to say."""
        if self.fraction < 0.05:
            return None
        return (self.clock() - self.started) * (1 - self.fraction) / self.fraction
