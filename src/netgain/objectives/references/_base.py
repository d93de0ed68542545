"""What a reference is: a frozen model, and what it is shown before a training row's question.

A kind is one file with one class derived from `Reference`. It says which demonstrations precede a row
(`demonstrations`) and lends a model (`lm`). How its numbers are computed, kept on disk and read while training is the
same for all kinds (netgain.execute.teachers).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netgain.data.source import Example
from netgain.spec.plugin import ReferencePlugin

if TYPE_CHECKING:
    from netgain.models.lm import LM


@dataclass(frozen=True)
class Host:
    """The run that asks: its model, how to switch its adapters off, its ledger and its study's folder."""

    lm: "LM"
    off: Callable[[], AbstractContextManager[None]]
    ledger: Path
    folder: Path | None


class Reference(ReferencePlugin, ABC):
    """Someone else's opinion of the same answers."""

    @property
    def own(self) -> bool:
        """Whether it is the run's own base model: same tokenizer, same head."""
        return True

    def demonstrations(self, rows: Sequence[Example], pool: Sequence[Example]) -> list[tuple[Example, ...]]:
        """What it is shown before each row's question; the pool has all training rows of the rows' source."""
        return [()] * len(rows)

    def stamp(self, ledger: Path, folder: Path | None) -> Any:
        """What its numbers depend on besides this spec, the run's model and the rows: JSON, made without torch."""
        return None

    @abstractmethod
    def lm(self, host: Host) -> "AbstractContextManager[LM]":
        """Inside, the model is there and as it must be."""
