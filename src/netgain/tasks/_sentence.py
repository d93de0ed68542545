"""GLUE's tasks on one sentence, from its files or from the hub."""

from pathlib import Path
from typing import ClassVar

from netgain.data.files import csv_rows, locate
from netgain.data.source import Example
from netgain.tasks._base import row
from netgain.tasks._classify import Classification
from netgain.tasks._hub import GLUE, named_rows


class GlueSentence(Classification):
    """glue/<files>/{train,dev}.tsv, or the set of the task's own kind on the hub."""

    files: ClassVar[str]
    columns: ClassVar[tuple[str, ...] | None] = None
    asks: ClassVar[str]
    answers: ClassVar[dict[str, str]]
    hub: bool = False

    def own_rows(self, folder: Path | None) -> list[Example]:
        return self._read("dev", folder)

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        return self._read("train", folder)

    def _read(self, part: str, folder: Path | None) -> list[Example]:
        if self.hub:
            found = named_rows(GLUE, self.kind, "validation" if part == "dev" else part, folder)
        else:
            found = csv_rows(locate(f"glue/{self.files}/{part}.tsv", folder), None, self.columns)
        return [
            row(f"{self.kind}-{part}-{i}", self.asks.format(each["sentence"].strip()), self._word(each["label"]))
            for i, each in enumerate(found.fields for found in found)
        ]

    def _word(self, label: str) -> str:
        return self.answers[label]
