"""The base with demonstrations in context: what it would answer if it had been shown how."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeInt

from netgain.data.demonstrations import demonstrations, with_others_answers
from netgain.data.source import Example
from netgain.objectives.references._base import Host, Reference
from netgain.spec.identity import stream

if TYPE_CHECKING:
    from netgain.models.lm import LM


class FewShot(Reference):
    """p_ref(y | x) = p_base(y | demonstrations, x).

    shots     demonstrations before each question, drawn for it from the training rows; 0 is the zero-shot control
    answers   shuffled: the same questions with one another's answers, the control for what the labels teach
    seed      which demonstrations; not the run's seed, so that all seeds of an arm learn from one teacher
    """

    kind: Literal["few_shot"] = "few_shot"
    shots: NonNegativeInt = 5
    answers: Literal["gold", "shuffled"] = "gold"
    seed: int = 0

    def demonstrations(self, rows: Sequence[Example], pool: Sequence[Example]) -> list[tuple[Example, ...]]:
        known = pool if self.answers == "gold" else with_others_answers(pool, stream(self.seed, "answers"))
        return [demonstrations(row, known, self.shots, self.seed) for row in rows]

    @contextmanager
    def lm(self, host: Host) -> "Iterator[LM]":
        with host.off():
            yield host.lm
