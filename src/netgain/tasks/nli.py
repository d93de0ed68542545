"""Natural language inference: does the hypothesis follow from the premise?"""

from pathlib import Path
from typing import Literal

from netgain.data.fields import Row
from netgain.data.files import csv_rows, locate
from netgain.data.source import Example
from netgain.data.split import split
from netgain.tasks._base import group_of, row
from netgain.tasks._classify import Classification
from netgain.tasks._hub import GLUE, XNLI, named_rows

HELD_OUT, SPLIT_SEED = 0.5, 0
HUB_FIELDS = ("premise", "hypothesis")


class Nli(Classification):
    """xnli (Conneau et al. 2018): the labelled dev file, half measured and half to learn from, divided by premise.
    rte (GLUE): its dev file, and its train file to learn from.

    hub    xnli from the Hugging Face hub instead: its test split, and its train split to learn from; rte: GLUE's
    """

    kind: Literal["nli"] = "nli"
    corpus: Literal["xnli", "rte"] = "xnli"
    language: str = "en"
    hub: bool = False

    def own_rows(self, folder: Path | None) -> list[Example]:
        if self.corpus == "rte":
            return self._rte("dev", folder)
        if self.hub:
            return self._hub("test", folder)
        return split(self._xnli(folder), HELD_OUT, SPLIT_SEED)[1]

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        if self.corpus == "rte":
            return self._rte("train", folder)
        if self.hub:
            return self._hub("train", folder)
        return split(self._xnli(folder), HELD_OUT, SPLIT_SEED)[0]

    def _xnli(self, folder: Path | None) -> list[Example]:
        path = locate(f"xtreme/xnli/dev-{self.language}.tsv", folder)
        rows = csv_rows(path, None, ("sentence1", "sentence2", "label"))
        return [_row(f"xnli-{self.language}-{i}", each) for i, each in enumerate(rows)]

    def _hub(self, split: str, folder: Path | None) -> list[Example]:
        rows = named_rows(XNLI, self.language, split, folder)
        return [_row(f"xnli-{self.language}-{split}-{i}", each, *HUB_FIELDS) for i, each in enumerate(rows)]

    def _rte(self, part: str, folder: Path | None) -> list[Example]:
        if self.hub:
            rows = named_rows(GLUE, "rte", "validation" if part == "dev" else part, folder)
        else:
            rows = csv_rows(locate(f"glue/RTE/{part}.tsv", folder), None, None)
        return [_row(f"rte-{part}-{i}", each) for i, each in enumerate(rows)]


def _row(name: str, found: Row, first: str = "sentence1", second: str = "sentence2") -> Example:
    premise, hypothesis = found.fields[first], found.fields[second]
    prompt = f"Premise: {premise}\nHypothesis: {hypothesis}\nLabel:"
    return row(name, prompt, found.fields["label"], group_of(premise))
