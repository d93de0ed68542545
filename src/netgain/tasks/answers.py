"""Held-out answers as the model expects them: what instruction tuning gains, before anything is generated or judged."""

import math
from typing import Literal

from pydantic import model_validator

from netgain.data.source import Example
from netgain.errors import UserError
from netgain.spec.run import SpecError
from netgain.tasks._base import Likelihood, Outcome, Prompted, Request, Score, Scored


class Answers(Prompted):
    """byte_nll = -log p(answer | prompt) per byte of the answer, weighted by its bytes.

    The weighted mean is that of all answers together, and comparable between tokenizers and templates.
    """

    kind: Literal["answers"] = "answers"

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
        return Likelihood(example.turns, shown, (example.answer,))

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        assert isinstance(outcome, Scored)
        (logp,) = outcome.logprobs
        size = len(example.answer.encode())
        if not math.isfinite(logp):
            return [Score("byte_nll", None, reason="undefined")]
        return [Score("byte_nll", -logp / size, weight=size)]
