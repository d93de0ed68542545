"""Natural language inference: does the hypothesis follow from the premise?"""

from pathlib import Path
from typing import Literal

from netgain.data.fields import Row
from netgain.data.files import csv_rows, locate
from netgain.data.source import Example
from netgain.data.split import split
from netgain.tasks._base import group_of, row
from netgain.tasks._classify import Classification

HELD_OUT, SPLIT_SEED = 0.5, 0


class Nli(Classification):
    """xnli (Conneau et al. 2018): the labelled dev file, half measured and half to learn from, divided by premise.
    rte (GLUE): its dev file, and its train file to learn from.
    """

    kind: Literal["nli"] = "nli"
    corpus: Literal["xnli", "rte"] = "xnli"
    language: str = "en"

    def own_rows(self, folder: Path | None) -> list[Example]:
        if self.corpus == "rte":
            return self._rte("dev", folder)
        return split(self._xnli(folder), HELD_OUT, SPLIT_SEED)[1]

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        if self.corpus == "rte":
            return self._rte("train", folder)
        return split(self._xnli(folder), HELD_OUT, SPLIT_SEED)[0]

    def _xnli(self, folder: Path | None) -> list[Example]:
        path = locate(f"xtreme/xnli/dev-{self.language}.tsv", folder)
        rows = csv_rows(path, None, ("sentence1", "sentence2", "label"))
        return [_row(f"xnli-{self.language}-{i}", each) for i, each in enumerate(rows)]

    def _rte(self, part: str, folder: Path | None) -> list[Example]:
        rows = csv_rows(locate(f"glue/RTE/{part}.tsv", folder), None, None)
        return [_row(f"rte-{part}-{i}", each) for i, each in enumerate(rows)]


def _row(name: str, found: Row) -> Example:
    premise, hypothesis = found.fields["sentence1"], found.fields["sentence2"]
    prompt = f"Premise: {premise}\nHypothesis: {hypothesis}\nLabel:"
    return row(name, prompt, found.fields["label"], group_of(premise))
