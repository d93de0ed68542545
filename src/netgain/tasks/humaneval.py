"""HumanEval: complete a Python function, judged by running its tests (Chen et al. 2021)."""

import json
from pathlib import Path
from typing import Literal

from netgain.data.source import Example
from netgain.measure.sandbox import Program
from netgain.spec.run import HfSource
from netgain.tasks._base import row
from netgain.tasks._programs import Programs, completed, need, rows_of

FILE = "code/HumanEval.jsonl.gz"
HUB = HfSource(kind="hf", path="openai/openai_humaneval", split="test", prompt="prompt", answer="canonical_solution")


class Humaneval(Programs):
    """code/HumanEval.jsonl.gz under $NETGAIN_DATA, or the data set on the hub.

    form   what is asked: the bare function head to continue, or an instruction to write the function
    """

    kind: Literal["humaneval"] = "humaneval"
    origin: Literal["file", "hub"] = "file"
    form: Literal["continue", "instruct"] = "instruct"

    def own_rows(self, folder: Path | None) -> list[Example]:
        rows = []
        for each in rows_of(FILE, HUB if self.origin == "hub" else None, folder):
            head, entry = str(need(each, "prompt")), str(need(each, "entry_point"))
            prompt = head if self.form == "continue" else f"Complete this Python function.\n\n{head}"
            tests = json.dumps([f"{need(each, 'test')}\ncheck({entry})\n"])
            answer = str(need(each, "canonical_solution"))
            rows.append(row(str(need(each, "task_id")), prompt, answer, head=head, entry=entry, tests=tests))
        return rows

    def program(self, example: Example, code: str) -> Program:
        """The tests stand on the prompt's own helpers, never on those of the program."""
        head, entry = example.meta["head"], example.meta["entry"]
        tests = tuple(json.loads(example.meta["tests"]))
        return Program(completed(head, entry, code), tests, setup=head, entry=(entry,))
