"""MBPP: write a Python function from a sentence and its tests, judged by running them (Austin et al. 2021)."""

import json
import re
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from netgain.data.fields import Row
from netgain.data.source import Example
from netgain.measure.sandbox import Program
from netgain.spec.run import HfSource
from netgain.tasks._base import row
from netgain.tasks._programs import Programs, names_defined, need, rows_of

FILE = "code/mbpp.jsonl"
TEST, TRAIN = range(11, 511), range(601, 975)


class Mbpp(Programs):
    """Problems 11 to 510 are measured, 601 to 974 are there to learn from; the split is the authors' own.

    longest   characters of a reference solution; problems that need more are left out, which leaves the easier ones
    """

    kind: Literal["mbpp"] = "mbpp"
    origin: Literal["file", "hub"] = "file"
    longest: PositiveInt | None = None

    def own_rows(self, folder: Path | None) -> list[Example]:
        return self._read("test", TEST, folder)

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        return self._read("train", TRAIN, folder)

    def _read(self, part: str, numbers: range, folder: Path | None) -> list[Example]:
        hub = HfSource(
            kind="hf", path="google-research-datasets/mbpp", config="full", split=part, prompt="text", answer="code"
        )
        found = rows_of(FILE, hub if self.origin == "hub" else None, folder)
        rows = [_example(each) for each in found if int(need(each, "task_id")) in numbers]
        return [each for each in rows if self.longest is None or len(each.answer) <= self.longest]

    def program(self, example: Example, code: str) -> Program:
        tests = tuple(json.loads(example.meta["tests"]))
        return Program(code, tests, entry=tuple(json.loads(example.meta["entry"])))


def _example(found: Row) -> Example:
    """A test carries the problem's setup, since that may stand on classes of the program."""
    code = str(need(found, "code")).replace("\r\n", "\n")
    setup = str(need(found, "test_setup_code")).replace("\r\n", "\n")
    tests = [str(test).replace("\r\n", "\n") for test in need(found, "test_list")]
    used = [name for name in names_defined(code) if any(re.search(rf"\b{name}\b", test) for test in (*tests, setup))]
    prompt = f"{need(found, 'text')}\nYour code should pass these tests:\n" + "\n".join(tests)
    return row(
        f"mbpp-{need(found, 'task_id')}",
        prompt,
        code,
        tests=json.dumps([f"{setup}\n{test}" for test in tests]),
        entry=json.dumps(used),
    )
