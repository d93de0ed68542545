"""SST-2: the sentiment of a phrase of a film review (Socher et al. 2013; GLUE's split, measured on its dev set)."""

from typing import ClassVar, Literal

from netgain.tasks._sentence import GlueSentence


class Sst2(GlueSentence):
    """glue/SST-2/{train,dev}.tsv, or any source of sentences and their labels.

    hub    GLUE from the Hugging Face hub instead
    """

    files: ClassVar[str] = "SST-2"
    asks: ClassVar[str] = "Review: {}\nSentiment:"
    answers: ClassVar[dict[str, str]] = {"0": "negative", "1": "positive"}

    kind: Literal["sst2"] = "sst2"
    positive: str | None = "positive"

    def _word(self, label: str) -> str:
        return self.answers.get(label, label)
