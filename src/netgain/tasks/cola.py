"""CoLA: is a sentence acceptable English? (Warstadt et al. 2019, GLUE's split, whose metric is mcc)"""

from pathlib import Path
from typing import Literal

from netgain.data.files import csv_rows, locate
from netgain.data.source import Example
from netgain.tasks._base import row
from netgain.tasks._classify import Classification
from netgain.tasks._hub import GLUE, named_rows

WORDS = {"0": "no", "1": "yes", "unacceptable": "no", "acceptable": "yes"}
COLUMNS = ("source", "label", "star", "sentence")


class Cola(Classification):
    """glue/CoLA/{train,dev}.tsv.

    hub    GLUE from the Hugging Face hub instead
    """

    kind: Literal["cola"] = "cola"
    hub: bool = False
    positive: str | None = "yes"

    def own_rows(self, folder: Path | None) -> list[Example]:
        return self._read("dev", folder)

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        return self._read("train", folder)

    def _read(self, part: str, folder: Path | None) -> list[Example]:
        if self.hub:
            found = named_rows(GLUE, "cola", "validation" if part == "dev" else part, folder)
        else:
            found = csv_rows(locate(f"glue/CoLA/{part}.tsv", folder), None, COLUMNS)
        return [
            row(f"cola-{part}-{i}", f"Sentence: {each['sentence'].strip()}\nAcceptable:", WORDS[each["label"]])
            for i, each in enumerate(found.fields for found in found)
        ]
