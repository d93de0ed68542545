"""Named entities in real text, answered as word/TAG with BIO tags."""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from netgain.data.files import locate
from netgain.data.source import Example
from netgain.data.split import split
from netgain.spec.run import SpecError
from netgain.tasks._files import conll
from netgain.tasks._hub import sentences
from netgain.tasks._tag import SpanTagging, tagged_rows

HELD_OUT, SPLIT_SEED = 0.5, 0


class Ner(SpanTagging):
    """wnut17 (Derczynski et al. 2017): its test file, and its train file to learn from.
    uner (Mayhew et al. 2024, English EWT): its test file and its dev file to learn from.
    wikigold (Balasuriya et al. 2009): one file, half measured and half to learn from.
    wikiann (Pan et al. 2017, XTREME's PAN-X): test and train split of the Hugging Face hub's copy, in any language.
    """

    kind: Literal["ner"] = "ner"
    corpus: Literal["wnut17", "uner", "wikigold", "wikiann"] = "wnut17"
    language: str = "en"

    @model_validator(mode="after")
    def _language_is_there(self) -> "Ner":
        if self.corpus != "wikiann" and self.language != "en":
            raise SpecError(f"{self.corpus} is English; wikiann has other languages", "language")
        return self

    def own_rows(self, folder: Path | None) -> list[Example]:
        if self.corpus == "wikigold":
            return split(self._read("", folder), HELD_OUT, SPLIT_SEED)[1]
        return self._read("test", folder)

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        if self.corpus == "wikigold":
            return split(self._read("", folder), HELD_OUT, SPLIT_SEED)[0]
        if self.corpus == "wikiann":
            return self._read("train", folder)
        return self._read("train" if self.corpus == "wnut17" else "dev", folder)

    def _read(self, part: str, folder: Path | None) -> list[Example]:
        if self.corpus == "wikiann":
            found = sentences(f"PAN-X.{self.language}", part, "ner_tags", folder)
            return tagged_rows(f"wikiann-{self.language}-{part}", found, "Entities")
        file, word, tag, blank = {
            "wnut17": (f"ner/wnut17-{part}.conll", 0, 1, False),
            "uner": (f"ner/uner_en_ewt-{part}.iob2", 1, 2, False),
            "wikigold": ("ner/wikigold.conll", 0, 1, True),
        }[self.corpus]
        path = locate(file, folder)
        read = conll(path, word, tag, separator=" " if blank else "\t")
        return tagged_rows(f"{self.corpus}-{part}".rstrip("-"), read, "Entities")
