"""Tasks that ask several questions in a row, each behind the model's own answers, and leave the judging to judges."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, PositiveInt, SerializeAsAny, model_validator

from netgain.data.source import Example
from netgain.ledger.items import LOWER_IS_BETTER
from netgain.spec.plugin import JudgePlugin
from netgain.spec.run import SpecError
from netgain.tasks._base import Card, Converse, Request, Task

Judge = SerializeAsAny[Annotated[JudgePlugin, BeforeValidator(JudgePlugin.parse)]]

FINISHED = "finished"


class Dialogue(Task):
    """Conversations, one row of evidence a question, an answer and a judge.

    An item is `category/question/turn`; both turns of a question are one cluster. `finished` is 1 where an answer is
    not empty and ended within its budget; every judge is a metric of its own name.

    top_p            sampling keeps the likeliest tokens of this mass
    samples          conversations a question where the temperature is above 0; one where it is 0
    max_new_tokens   the budget of one answer
    judges           name -> judge; without any, answers are kept for later judging
    """

    top_p: float | None = Field(default=None, gt=0, le=1)
    samples: PositiveInt = 1
    max_new_tokens: PositiveInt = 1024
    judges: dict[str, Judge] = Field(default_factory=dict)

    asked = "converse"

    @model_validator(mode="after")
    def _names_of_scores(self) -> "Dialogue":
        for name in self.judges:
            if name == FINISHED or name.endswith(LOWER_IS_BETTER):
                raise SpecError(f'a judge cannot be called "{name}": its score is a metric where more is better', name)
        return self

    @property
    def metrics(self) -> tuple[str, ...]:
        return (*self.judges, FINISHED)

    @property
    def binary(self) -> tuple[str, ...]:
        return (FINISHED,)

    def heat(self, category: str) -> float:
        """The temperature of a category; 0 is greedy."""
        raise NotImplementedError

    def requests(self, examples: Sequence[Example], folder: Path | None) -> list[Request]:
        return [self._request(example) for example in examples]

    def _request(self, example: Example) -> Converse:
        heat = self.heat(example.meta["category"])
        key = int.from_bytes(hashlib.sha256(f"{self.seed}/{example.id}".encode()).digest()[:7], "big")
        return Converse(
            questions=tuple(turn.text for turn in example.turns),
            key=key,
            temperature=heat,
            top_p=self.top_p,
            samples=self.samples if heat > 0 else 1,
            max_new_tokens=self.max_new_tokens,
        )

    def card(self, folder: Path | None) -> Card:
        """`items` counts questions of every turn, as the rows of evidence do."""
        rows = self.examples(folder)
        return replace(super().card(folder), items=sum(len(row.turns) for row in rows))


def item_id(example: Example, turn: int) -> str:
    """category/question/turn, turns counted from 1: a report takes the category from it."""
    return f"{example.meta['category']}/{example.id}/{turn}"


def references(example: Example) -> tuple[str, ...]:
    """The right answers that somebody wrote, one a question, or none."""
    return tuple(text for name, text in sorted(example.meta.items()) if name.startswith("reference/"))
