"""Any prompt with any answer: a source of rows, and how an output is compared with the gold answer."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import model_validator

from netgain.data.source import Example
from netgain.errors import UserError
from netgain.measure import text
from netgain.spec.run import SpecError
from netgain.tasks._base import Generated, Outcome, Prompted, Score, share_of_most_common, with_labels


class Jsonl(Prompted):
    """Generation, then one comparison:

    exact      the same text without case, blanks and outer punctuation
    contains   the gold words stand in the output
    numeric    the same number, exactly; of the output its marked (####, \\boxed, "answer is") or last one
    label      the one label that the first line names; the label set is the source's, or that of its answers

    An output that holds no answer of that sort is wrong, and counted as unparsed. Long reasoning before a short answer
    needs `max_new_tokens`.
    """

    kind: Literal["jsonl"] = "jsonl"
    match: Literal["exact", "contains", "numeric", "label"] = "exact"

    @model_validator(mode="after")
    def _has_source(self) -> "Jsonl":
        if self.source is None:
            raise SpecError("needs a source of rows", "source")
        return self

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("accuracy",)

    @property
    def binary(self) -> tuple[str, ...]:
        return ("accuracy",)

    def check(self, rows: list[Example]) -> list[Example]:
        for row in rows:
            if not row.answer.strip():
                raise UserError(f'task {self.kind}: the answer of row "{row.id}" is empty.')
            if self.match == "numeric" and text.number(row.answer) is None:
                raise UserError(f'task {self.kind}: the answer of row "{row.id}" holds no number: {row.answer[:40]}.')
        if self.match == "label" and not all(row.labels for row in rows):
            return with_labels(rows, sorted({row.answer for row in rows}))
        return rows

    def chance(self, examples: Sequence[Example]) -> float | None:
        """1 / labels; free answers have no chance level."""
        return 1 / len(examples[0].labels) if self.match == "label" else None

    def majority(self, examples: Sequence[Example]) -> float | None:
        return share_of_most_common(self.label_counts(examples))

    def label_counts(self, examples: Sequence[Example]) -> Mapping[str, int]:
        if self.match != "label":
            return {}
        return {label: sum(row.answer == label for row in examples) for label in examples[0].labels}

    def golds(self, example: Example) -> tuple[str, ...]:
        return example.labels if self.match == "label" else super().golds(example)

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        assert isinstance(outcome, Generated)
        found, right = self._compare(outcome.text, example)
        return [Score("accuracy", float(right), prediction=found, parsed=found is not None)]

    def _compare(self, output: str, example: Example) -> tuple[str | None, bool]:
        """(what was understood, whether it is right)."""
        gold = example.answer
        if self.match == "label":
            found = text.label(output, example.labels)
            return found, found == gold
        if self.match == "numeric":
            value = text.number(output)
            return (None if value is None else str(value)), value is not None and value == text.number(gold)
        read = text.answer_part(output) if self.match == "contains" or "\n" in gold.strip() else text.first_line(output)
        compare = text.contains if self.match == "contains" else text.exact
        return read, compare(output, gold)
