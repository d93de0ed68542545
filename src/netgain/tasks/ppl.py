"""The retention meter: how surprised the model is by general text, in nats a token and in nats a byte."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt, model_validator

from netgain.data.files import locate
from netgain.data.source import Example, read
from netgain.measure.text import whole_words
from netgain.spec.run import EmbeddedSource, SpecError
from netgain.tasks._base import Nll, Outcome, Request, Score, Surprise, Task, group_of
from netgain.tasks._files import documents

TEXT = EmbeddedSource(kind="embedded", suite="text", n=200)


class Ppl(Task):
    """nll = -log p / tokens of a document, weighted by its tokens, so that the weighted mean is that of the whole text
    and its exponential the perplexity. byte_nll is the same per byte of UTF-8: comparable between tokenizers.

    Without `path` or `source`, the embedded suite `text`.

    path         a .txt or .jsonl file of documents, as text/tinystories_sample.txt under $NETGAIN_DATA
    characters   documents are cut behind the last word that fits; the same text is measured whatever the tokenizer
    """

    kind: Literal["ppl"] = "ppl"
    path: str | None = None
    characters: PositiveInt = 2000

    asked = "nll"

    @model_validator(mode="after")
    def _one_place(self) -> "Ppl":
        if self.path is not None and self.source is not None:
            raise SpecError("give either path or source", "path")
        return self

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("nll", "byte_nll")

    def own_rows(self, folder: Path | None) -> list[Example]:
        if self.path is None:
            return read(TEXT, folder)
        found = documents(locate(self.path, folder))
        return [Example(f"{Path(self.path).stem}-{i}", group_of(text), (), text) for i, text in enumerate(found)]

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        if self.path is None:
            return read(TEXT.model_copy(update={"seed": TEXT.seed ^ 1}), folder)
        return super().own_train_rows(folder)

    def requests(self, examples: Sequence[Example], folder: Path | None) -> list[Request]:
        return [Nll(self.cut(example.answer)) for example in examples]

    def cut(self, text: str) -> str:
        """What is measured of a document."""
        return whole_words(text, self.characters)

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        """Both losses; undefined where the model's numbers are none, as after a divergence."""
        assert isinstance(outcome, Surprise)
        if not math.isfinite(outcome.total):
            return [Score(metric, None, reason="undefined") for metric in self.metrics]
        size = len(self.cut(example.answer).encode())
        return [
            Score("nll", outcome.total / outcome.tokens, weight=outcome.tokens),
            Score("byte_nll", outcome.total / size, weight=size),
        ]
