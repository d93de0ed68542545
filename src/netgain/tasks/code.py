"""Small Python functions (embedded suite `code`, or a JSONL file), judged by running their tests."""

import json
from pathlib import Path
from typing import Literal

from netgain.data.files import jsonl_rows, locate
from netgain.data.source import Example
from netgain.measure.sandbox import Program
from netgain.spec.run import EmbeddedSource, Source
from netgain.tasks._base import row
from netgain.tasks._programs import Programs, need


class Code(Programs):
    """file   a JSONL file with `prompt`, `tests` (a list of code, each raising when wrong), `entry` (a name) and
    `answer` (a right program); without it the embedded suite
    """

    kind: Literal["code"] = "code"
    source: Source | None = EmbeddedSource(kind="embedded", suite="code", n=200)
    file: str | None = None

    def _all(self, folder: Path | None) -> list[Example]:
        return super()._all(folder) if self.file is None else self.check(self._read(self.file, folder))

    def _read(self, file: str, folder: Path | None) -> list[Example]:
        return [
            row(
                f"{Path(file).stem}-{i}",
                str(need(each, "prompt")),
                str(need(each, "answer")),
                tests="\n".join(json.dumps(str(test)) for test in need(each, "tests")),
                entry=str(need(each, "entry")),
            )
            for i, each in enumerate(jsonl_rows(locate(file, folder)))
        ]

    def program(self, example: Example, code: str) -> Program:
        lines = example.meta["tests"].splitlines()
        tests = tuple(json.loads(line) if self.file is not None else line for line in lines)
        return Program(code, tests, entry=(example.meta["entry"],))
