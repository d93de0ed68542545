"""Parts of speech, answered as word/TAG with the tags of Universal Dependencies."""

from pathlib import Path
from typing import Literal

from netgain.data.files import locate
from netgain.data.source import Example
from netgain.data.split import split
from netgain.tasks._files import conll
from netgain.tasks._hub import sentences, ud_language
from netgain.tasks._tag import WordTagging, tagged_rows

HELD_OUT, SPLIT_SEED = 0.5, 0


class Pos(WordTagging):
    """udpos (XTREME): its labelled dev file; English has a train file, other languages learn from half of the dev file.
    ewt (Silveira et al. 2014): its test file, and its dev file to learn from.

    hub    udpos from the Hugging Face hub instead: its test split, and its train split to learn from
    """

    kind: Literal["pos"] = "pos"
    corpus: Literal["udpos", "ewt"] = "udpos"
    language: str = "en"
    hub: bool = False

    def own_rows(self, folder: Path | None) -> list[Example]:
        if self.hub:
            return self._hub("test", folder)
        if self.corpus == "ewt":
            return self._ewt("test", folder)
        dev = self._udpos("dev", folder)
        return dev if self.language == "en" else split(dev, HELD_OUT, SPLIT_SEED)[1]

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        if self.hub:
            return self._hub("train", folder)
        if self.corpus == "ewt":
            return self._ewt("dev", folder)
        if self.language == "en":
            return self._udpos("train", folder)
        return split(self._udpos("dev", folder), HELD_OUT, SPLIT_SEED)[0]

    def _hub(self, part: str, folder: Path | None) -> list[Example]:
        found = sentences(f"udpos.{ud_language(self.language)}", part, "pos_tags", folder)
        return tagged_rows(f"udpos-{self.language}-{part}", found, "Tags")

    def _udpos(self, part: str, folder: Path | None) -> list[Example]:
        path = locate(f"xtreme/udpos/{part}-{self.language}.tsv", folder)
        return tagged_rows(f"udpos-{self.language}-{part}", conll(path, 0, 1), "Tags")

    def _ewt(self, part: str, folder: Path | None) -> list[Example]:
        path = locate(f"ud_en_ewt/en_ewt-ud-{part}.conllu", folder)
        return tagged_rows(f"ewt-{part}", conll(path, 1, 3), "Tags")
