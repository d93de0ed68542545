"""SST-2: the sentiment of a phrase of a film review (Socher et al. 2013; GLUE's split, measured on its dev set)."""

from pathlib import Path
from typing import Literal

from netgain.data.files import csv_rows, locate
from netgain.data.source import Example
from netgain.tasks._base import row
from netgain.tasks._classify import Classification
from netgain.tasks._hub import GLUE, named_rows

WORDS = {"0": "negative", "1": "positive"}


class Sst2(Classification):
    """glue/SST-2/{train,dev}.tsv, or any source of sentences and their labels.

    hub    GLUE from the Hugging Face hub instead
    """

    kind: Literal["sst2"] = "sst2"
    hub: bool = False
    positive: str | None = "positive"

    def own_rows(self, folder: Path | None) -> list[Example]:
        return self._read("dev", folder)

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        return self._read("train", folder)

    def _read(self, part: str, folder: Path | None) -> list[Example]:
        if self.hub:
            found = named_rows(GLUE, "sst2", "validation" if part == "dev" else part, folder)
        else:
            found = csv_rows(locate(f"glue/SST-2/{part}.tsv", folder), None, None)
        return [
            row(f"sst2-{part}-{i}", f"Review: {each['sentence'].strip()}\nSentiment:", _word(each["label"]))
            for i, each in enumerate(found.fields for found in found)
        ]


def _word(label: str) -> str:
    return WORDS.get(label, label)
