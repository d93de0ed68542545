"""Paraphrase: do two sentences mean the same?"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from netgain.data.files import csv_rows, locate
from netgain.data.source import Example
from netgain.data.split import split
from netgain.tasks._base import group_of, row
from netgain.tasks._classify import Classification
from netgain.tasks._hub import GLUE, XTREME, named_rows

WORDS = {"0": "no", "1": "yes", "not_equivalent": "no", "equivalent": "yes"}
HUB_FIELDS = ("sentence1", "sentence2", "label")
HELD_OUT, SPLIT_SEED = 0.5, 0
SAME, APART = 4.0, 1.0


class Paraphrase(Classification):
    """mrpc (Dolan and Brockett 2005, GLUE's split): its dev file, and its train file to learn from.
    stsb (Cer et al. 2017, GLUE's split): likewise, but the clear cases alone: pairs that people found alike (SAME or
    more out of 5) or about different things (APART or less).
    pawsx (Yang et al. 2019): the labelled dev file, half measured and half to learn from.

    Pairs that share a sentence are of one group, directly or through other pairs.

    hub    from the Hugging Face hub instead: pawsx's test and train splits, or GLUE's mrpc or stsb
    """

    kind: Literal["paraphrase"] = "paraphrase"
    corpus: Literal["mrpc", "stsb", "pawsx"] = "mrpc"
    language: str = "en"
    hub: bool = False
    positive: str | None = "yes"

    def own_rows(self, folder: Path | None) -> list[Example]:
        return self._parts(folder)[1]

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        return self._parts(folder)[0]

    def _parts(self, folder: Path | None) -> tuple[list[Example], list[Example]]:
        """(to learn from, to measure)"""
        if self.corpus == "mrpc":
            return self._glue(folder) if self.hub else self._mrpc(folder)
        if self.corpus == "stsb":
            return self._stsb(folder)
        return self._hub(folder) if self.hub else split(self._pawsx(folder), HELD_OUT, SPLIT_SEED)

    def _glue(self, folder: Path | None) -> tuple[list[Example], list[Example]]:
        """mrpc's (train, validation), grouped over both splits."""
        train, dev = (
            [
                Pair(f"mrpc-{split}-{i}", *(str(each.fields[name]) for name in HUB_FIELDS))
                for i, each in enumerate(named_rows(GLUE, "mrpc", split, folder))
            ]
            for split in ("train", "validation")
        )
        rows = _rows([*train, *dev])
        return rows[: len(train)], rows[len(train) :]

    def _hub(self, folder: Path | None) -> tuple[list[Example], list[Example]]:
        """(train, test), grouped over both splits."""
        train, test = (
            [
                Pair(
                    f"pawsx-{self.language}-{split}-{i}",
                    *(str(each.fields[name]) for name in HUB_FIELDS),
                )
                for i, each in enumerate(named_rows(XTREME, f"PAWS-X.{self.language}", split, folder))
            ]
            for split in ("train", "test")
        )
        rows = _rows([*train, *test])
        return rows[: len(train)], rows[len(train) :]

    def _mrpc(self, folder: Path | None) -> tuple[list[Example], list[Example]]:
        """(train, dev), grouped over both files."""
        train, dev = (
            [
                Pair(f"mrpc-{part}-{i}", each.fields["#1 String"], each.fields["#2 String"], each.fields["Quality"])
                for i, each in enumerate(csv_rows(locate(f"glue/MRPC/{part}.tsv", folder), None, None))
            ]
            for part in ("train", "dev")
        )
        rows = _rows([*train, *dev])
        return rows[: len(train)], rows[len(train) :]

    def _stsb(self, folder: Path | None) -> tuple[list[Example], list[Example]]:
        """(train, dev), grouped over both."""
        train, dev = (list(self._clear(part, folder)) for part in ("train", "dev"))
        rows = _rows([*train, *dev])
        return rows[: len(train)], rows[len(train) :]

    def _clear(self, part: str, folder: Path | None) -> Iterator["Pair"]:
        if self.hub:
            found = named_rows(GLUE, "stsb", "validation" if part == "dev" else part, folder)
        else:
            found = csv_rows(locate(f"glue/STS-B/{part}.tsv", folder), None, None)
        for i, each in enumerate(line.fields for line in found):
            score = float(each["label" if self.hub else "score"])
            if score >= SAME or score <= APART:
                yield Pair(f"stsb-{part}-{i}", each["sentence1"], each["sentence2"], str(int(score >= SAME)))

    def _pawsx(self, folder: Path | None) -> list[Example]:
        path = locate(f"xtreme/pawsx/dev-{self.language}.tsv", folder)
        found = csv_rows(path, None, Pair._fields[1:])
        return _rows([Pair(f"pawsx-{self.language}-{i}", **each.fields) for i, each in enumerate(found)])


class Pair(NamedTuple):
    """Two sentences, and whether they mean the same ("1") or not ("0")."""

    name: str
    first: str
    second: str
    label: str


def _rows(pairs: list[Pair]) -> list[Example]:
    groups = components([(group_of(pair.first.casefold()), group_of(pair.second.casefold())) for pair in pairs])
    return [
        row(
            pair.name,
            f"Sentence 1: {pair.first}\nSentence 2: {pair.second}\nSame meaning:",
            WORDS[pair.label],
            group,
        )
        for pair, group in zip(pairs, groups, strict=True)
    ]


def components(edges: list[tuple[str, str]]) -> list[str]:
    """The smallest node of each edge's connected component."""
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for first, second in edges:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return [root(first) for first, _ in edges]
