"""Sums, differences and products (embedded suite `arithmetic`), scored by the number written."""

from typing import Literal

from netgain.data.source import Example
from netgain.errors import UserError
from netgain.measure import text
from netgain.spec.run import EmbeddedSource, Source
from netgain.tasks._base import Generated, Outcome, Score
from netgain.tasks._sampled import Sampled


class Arithmetic(Sampled):
    """The last number of the first line must equal the gold number exactly."""

    kind: Literal["arithmetic"] = "arithmetic"
    source: Source | None = EmbeddedSource(kind="embedded", suite="arithmetic", n=500)

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("accuracy",)

    @property
    def binary(self) -> tuple[str, ...]:
        return ("accuracy",)

    def check(self, rows: list[Example]) -> list[Example]:
        for row in rows:
            if text.number(row.answer) is None:
                raise UserError(f'task {self.kind}: the answer of row "{row.id}" holds no number: {row.answer[:40]}.')
        return rows

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        assert isinstance(outcome, Generated)
        found = text.number(text.first_line(outcome.text) or "")
        right = found is not None and found == text.number(example.answer)
        told = None if found is None else str(found)
        return [Score("accuracy", float(right), prediction=told, parsed=found is not None)]
