"""Held-out answers as the model expects them: what instruction tuning gains, before anything is generated or judged."""

import math
from typing import Literal

from pydantic import PositiveInt, model_validator

from netgain.data.source import Example
from netgain.errors import UserError
from netgain.measure.text import whole_words
from netgain.spec.run import SpecError
from netgain.tasks._base import Likelihood, Outcome, Prompted, Request, Score, Scored


class Answers(Prompted):
    """byte_nll = -log p(answer | prompt) per byte of the answer, weighted by its bytes.

    The weighted mean is that of all answers together, and comparable between tokenizers and templates.

    characters   measure an answer up to the last word that fits; the same text is measured whatever the tokenizer
    """

    kind: Literal["answers"] = "answers"
    characters: PositiveInt | None = None

    asked = "likelihood"

    @model_validator(mode="after")
    def _has_source(self) -> "Answers":
        if self.source is None:
            raise SpecError("needs a source of rows", "source")
        return self

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("byte_nll",)

    def check(self, rows: list[Example]) -> list[Example]:
        for row in rows:
            if not row.answer.strip():
                raise UserError(f'task {self.kind}: the answer of row "{row.id}" is empty.')
        return rows

    def ask(self, example: Example, shown: tuple[Example, ...]) -> Request:
        return Likelihood(example.turns, shown, (self.cut(example.answer),))

    def cut(self, answer: str) -> str:
        """What is measured of an answer."""
        return answer if self.characters is None else whole_words(answer, self.characters)

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        assert isinstance(outcome, Scored)
        (logp,) = outcome.logprobs
        size = len(self.cut(example.answer).encode())
        if not math.isfinite(logp):
            return [Score("byte_nll", None, reason="undefined")]
        return [Score("byte_nll", -logp / size, weight=size)]
