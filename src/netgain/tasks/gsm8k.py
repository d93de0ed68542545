"""GSM8K: word problems of primary school, judged by the number that ends the answer (Cobbe et al. 2021)."""

import re
from pathlib import Path
from typing import Literal

from netgain.data.source import Example
from netgain.errors import UserError
from netgain.measure import text
from netgain.spec.run import HfSource
from netgain.tasks._base import Generated, Outcome, Score, row
from netgain.tasks._programs import need, rows_of
from netgain.tasks._sampled import Sampled

CALCULATOR = re.compile(r"<<[^<>]*>>")


class Gsm8k(Sampled):
    """gsm8k/{test,train}.jsonl under $NETGAIN_DATA, or the data set on the hub.

    The number behind the last marker (####, \\boxed, "answer is") or the last number must be the gold one, exactly.
    Answers to learn from keep their reasoning, without the calculator's notes.
    """

    kind: Literal["gsm8k"] = "gsm8k"
    origin: Literal["file", "hub"] = "file"

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("accuracy",)

    @property
    def binary(self) -> tuple[str, ...]:
        return ("accuracy",)

    def own_rows(self, folder: Path | None) -> list[Example]:
        return self._read("test", folder)

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        return self._read("train", folder)

    def _read(self, part: str, folder: Path | None) -> list[Example]:
        hub = HfSource(kind="hf", path="openai/gsm8k", config="main", split=part, prompt="question", answer="answer")
        rows = rows_of(f"gsm8k/{part}.jsonl", hub if self.origin == "hub" else None, folder)
        return [
            row(f"gsm8k-{part}-{i}", str(need(each, "question")), CALCULATOR.sub("", str(need(each, "answer"))))
            for i, each in enumerate(rows)
        ]

    def check(self, rows: list[Example]) -> list[Example]:
        for each in rows:
            if text.number(each.answer) is None:
                raise UserError(f'task {self.kind}: the answer of row "{each.id}" holds no number: {each.answer[:40]}.')
        return rows

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        assert isinstance(outcome, Generated)
        found = text.number(outcome.text)
        told = None if found is None else str(found)
        right = found is not None and found == text.number(example.answer)
        return [Score("accuracy", float(right), prediction=told, parsed=found is not None)]
