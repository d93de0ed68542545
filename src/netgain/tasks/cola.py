"""CoLA: is a sentence acceptable English? (Warstadt et al. 2019, GLUE's split, whose metric is mcc)"""

from typing import ClassVar, Literal

from netgain.tasks._sentence import GlueSentence


class Cola(GlueSentence):
    """glue/CoLA/{train,dev}.tsv.

    hub    GLUE from the Hugging Face hub instead
    """

    files: ClassVar[str] = "CoLA"
    columns: ClassVar[tuple[str, ...] | None] = ("source", "label", "star", "sentence")
    asks: ClassVar[str] = "Sentence: {}\nAcceptable:"
    answers: ClassVar[dict[str, str]] = {"0": "no", "1": "yes", "unacceptable": "no", "acceptable": "yes"}

    kind: Literal["cola"] = "cola"
    positive: str | None = "yes"
