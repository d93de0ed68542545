"""Tasks whose answers are programs: what was written is run against its tests, confined, and passes all or not."""

import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt

from netgain.data.fields import Row
from netgain.data.files import hf_rows, jsonl_rows, locate
from netgain.data.source import Example
from netgain.errors import UserError
from netgain.measure.sandbox import Limits, Program, Ruling, find
from netgain.spec.run import HfSource
from netgain.tasks._base import Generated, Outcome, Request, Score
from netgain.tasks._sampled import Sampled

FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[ \t]*\n(.*?)(?:^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL)


class Programs(Sampled):
    """seconds   for loading a program and again for each of its tests
    memory    MiB of each process

    `passed` is 1 when every test passed; the prediction says what became of the first that did not.
    """

    seconds: float = Field(default=10.0, gt=0)
    memory: PositiveInt = 512

    @abstractmethod
    def program(self, example: Example, code: str) -> Program:
        """What was written, with the example's tests."""

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("passed",)

    @property
    def binary(self) -> tuple[str, ...]:
        return ("passed",)

    def requests(self, examples: Sequence[Example], folder: Path | None) -> list[Request]:
        """Refused where programs could not be run afterwards."""
        find()
        return super().requests(examples, folder)

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        return self.score_all([example], [[outcome]])[0][0]

    def score_all(self, examples: Sequence[Example], outcomes: Sequence[Sequence[Outcome]]) -> list[list[list[Score]]]:
        """Every program is run, several at once."""
        codes = [[_code(outcome) for outcome in samples] for samples in outcomes]
        programs = [
            self.program(example, code)
            for example, samples in zip(examples, codes, strict=True)
            for code in samples
            if code is not None
        ]
        rulings = iter(find().run_all(programs, Limits(self.seconds, self.memory << 20)))
        return [[[_score(None if code is None else next(rulings))] for code in samples] for samples in codes]


def _code(outcome: Outcome) -> str | None:
    assert isinstance(outcome, Generated)
    return code_in(outcome.text)


def _score(rulings: list[Ruling] | None) -> Score:
    if rulings is None:
        return Score("passed", 0.0, parsed=False)
    wrong = next((each for each in rulings if each.verdict != "passed"), None)
    told = "passed" if wrong is None else f"{wrong.verdict}: {wrong.why}"
    return Score("passed", float(wrong is None), prediction=told, parsed=True)


def code_in(output: str) -> str | None:
    """The code of an answer: its fenced blocks that are Python's, together, else all of it; None when it is empty."""
    _, closed, rest = output.rpartition("</think>")
    if not closed and "<think>" in output:
        return None
    blocks = [code for language, code in FENCE.findall(rest) if language.lower() in ("", "python", "py", "python3")]
    code = "\n".join(blocks) if blocks else rest.strip("\n")
    return code if code.strip() else None


def completed(prompt: str, entry: str, code: str) -> str:
    """A whole program from a prompt that ends inside a function: the code continues it, or is the function itself.

    What stands before the function in the prompt (imports, helpers) belongs to both. Behind a continuation, what starts
    a new statement at the margin is text, another attempt or a call, and is cut.
    """
    if re.search(rf"^(?:async\s+)?def\s+{re.escape(entry)}\b", code, re.MULTILINE):
        before = re.split(rf"^(?:async\s+)?def\s+{re.escape(entry)}\b", prompt, maxsplit=1, flags=re.MULTILINE)[0]
        return f"{before}\n{code}\n"
    lines = code.split("\n")
    if lines[0][:1] not in (" ", "\t", ""):
        lines[0] = "    " + lines[0]
    end = next((i for i, line in enumerate(lines) if line[:1] not in ("", " ", "\t", "#")), len(lines))
    return prompt.rstrip(" ") + "\n".join(lines[:end]) + "\n"


def rows_of(file: str, hub: HfSource | None, folder: Path | None) -> Iterable[Row]:
    """Rows of a JSONL file under $NETGAIN_DATA, or of a data set of the hub."""
    return jsonl_rows(locate(file, folder)) if hub is None else hf_rows(hub, folder)[1]


def need(row: Row, name: str) -> Any:
    """A field that every row must have."""
    if name not in row.fields:
        raise UserError(f'{row.where}: no field "{name}"; it has {", ".join(map(str, row.fields))}.')
    return row.fields[name]


def tests_in(example: Example) -> tuple[str, ...]:
    """The tests that a row carries, a JSON list."""
    return tuple(json.loads(example.meta["tests"]))


def names_defined(code: str) -> list[str]:
    """The functions and classes at the margin of a program."""
    return re.findall(r"^(?:def|class|async\s+def)\s+(\w+)", code, re.MULTILINE)
