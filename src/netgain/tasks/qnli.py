"""QNLI: does a sentence answer a question about its paragraph? (Rajpurkar et al. 2016, as GLUE asks it)"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from netgain.data.files import csv_rows, locate
from netgain.data.source import Example
from netgain.data.split import split
from netgain.tasks._base import group_of, row
from netgain.tasks._classify import Classification
from netgain.tasks._hub import GLUE, named_rows

WORDS = {"entailment": "yes", "not_entailment": "no"}
HELD_OUT, SPLIT_SEED = 0.5, 0


class Qnli(Classification):
    """glue/QNLI/dev.tsv, half measured and half to learn from, divided by question.

    hub    GLUE from the Hugging Face hub instead: its validation split, and its train split to learn from
    """

    kind: Literal["qnli"] = "qnli"
    hub: bool = False
    positive: str | None = "yes"

    def own_rows(self, folder: Path | None) -> list[Example]:
        return self._hub("validation", folder) if self.hub else split(self._dev(folder), HELD_OUT, SPLIT_SEED)[1]

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        return self._hub("train", folder) if self.hub else split(self._dev(folder), HELD_OUT, SPLIT_SEED)[0]

    def _hub(self, part: str, folder: Path | None) -> list[Example]:
        return [_row(f"qnli-{part}-{i}", r.fields) for i, r in enumerate(named_rows(GLUE, "qnli", part, folder))]

    def _dev(self, folder: Path | None) -> list[Example]:
        found = csv_rows(locate("glue/QNLI/dev.tsv", folder), None, None)
        return [_row(f"qnli-dev-{i}", each.fields) for i, each in enumerate(found)]


def _row(name: str, fields: Mapping[str, Any]) -> Example:
    question, sentence = fields["question"].strip(), fields["sentence"].strip()
    prompt = f"Question: {question}\nSentence: {sentence}\nAnswered:"
    return row(name, prompt, WORDS[fields["label"]], group_of(question.casefold()))
