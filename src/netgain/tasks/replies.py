"""Open replies to a message: how close to what people wrote, and how different from each other."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import PositiveInt, model_validator

from netgain.data.files import locate
from netgain.data.source import Example
from netgain.measure import diversity, text
from netgain.measure.embedder import Embedder, embedder
from netgain.spec.run import EmbeddedSource, Source, SpecError
from netgain.tasks._base import Generated, Outcome, Score, row
from netgain.tasks._sampled import Sampled

TOKEN_METRICS = ("distinct1", "distinct2", "self_bleu")
EMBEDDED_METRICS = ("semantic_distance", "vendi")
NOISE = re.compile(r"@user\b|https?://\S+|\s+")
WORDS = range(12, 31)
"""Words of a post that is asked for: shorter ones have no halves."""


class Replies(Sampled):
    """The embedded suite, any source of messages and replies, or with `source: null` posts to be finished.

    Posts are tweeteval/sentiment/{test,val}_text.txt under $NETGAIN_DATA: the first half of one is the message, and
    what its author went on with the reference; those of val are there to learn from.

    reference_f1   per sample: the best F1 of words over the references
    distinct1, distinct2, self_bleu, answer_clusters and <embedder>_semantic_distance, <embedder>_vendi: per message,
    over its samples; missing where there is one only
    <embedder>_likeness   per message: mean over its samples of the largest cosine to a reference, an empty one being 0

    embedder   minilm (meaning; needs its wheel) or hashed (wording)
    length     also count words in so many tokens of every reply: `distinct2_at_8`
    """

    kind: Literal["replies"] = "replies"
    source: Source | None = EmbeddedSource(kind="embedded", suite="replies", n=200)
    samples: PositiveInt = 4
    temperature: float = 1.0
    embedder: Literal["minilm", "hashed"] = "hashed"
    length: PositiveInt | None = None

    @model_validator(mode="after")
    def _samples_to_compare(self) -> "Replies":
        if self.samples < 2:
            raise SpecError("diversity compares two samples or more", "samples")
        return self

    @property
    def metrics(self) -> tuple[str, ...]:
        cut = () if self.length is None else tuple(f"{name}_at_{self.length}" for name in TOKEN_METRICS)
        embedded = tuple(f"{self.embedder}_{name}" for name in (*EMBEDDED_METRICS, "likeness"))
        return ("reference_f1", *TOKEN_METRICS, *cut, "answer_clusters", *embedded)

    def own_rows(self, folder: Path | None) -> list[Example]:
        return _posts("test", folder)

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        return _posts("val", folder)

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        assert isinstance(outcome, Generated)
        answer = text.answer_part(outcome.text)
        if answer is None:
            return [Score("reference_f1", 0.0, parsed=False)]
        return [Score("reference_f1", max(text.token_f1(answer, gold) for gold in _given(example)), parsed=True)]

    def score_set(self, example: Example, outcomes: Sequence[Outcome]) -> list[Score]:
        """Empty replies are texts too: they are alike."""
        written = [text.answer_part(outcome.text) or "" for outcome in outcomes if isinstance(outcome, Generated)]
        texts = diversity.text_set(written, _embedder(self.embedder))
        found = diversity.measured(texts, [*TOKEN_METRICS, "answer_clusters", *EMBEDDED_METRICS], length=self.length)
        named = {
            f"{self.embedder}_{name}" if name in EMBEDDED_METRICS else name: value for name, value in found.items()
        }
        scores = [
            Score(name, None, reason=value.reason) if isinstance(value, diversity.Missing) else Score(name, value)
            for name, value in named.items()
        ]
        return [*scores, Score(f"{self.embedder}_likeness", _likeness(written, _given(example), self.embedder))]


def _given(example: Example) -> tuple[str, ...]:
    """Every reference."""
    return (example.answer, *example.meta.get("references", "").splitlines())


def _likeness(written: Sequence[str], given: Sequence[str], name: str) -> float:
    """Mean over answers of their largest cosine to a reference; what is not written is like none."""
    rows = _embedder(name)([*written, *given])
    alike = (rows[: len(written)] @ rows[len(written) :].T).max(axis=1)
    return float(np.where([bool(each) for each in written], alike, 0.0).mean())


def _posts(part: str, folder: Path | None) -> list[Example]:
    """Posts in halves, without the names and links that stand for what was taken out."""
    lines = locate(f"tweeteval/sentiment/{part}_text.txt", folder).read_text(encoding="utf-8").split("\n")
    posts = ((i, NOISE.sub(" ", line).split()) for i, line in enumerate(lines))
    return [
        row(
            f"post-{part}-{i}",
            f"Finish this post.\n\n{' '.join(words[: len(words) // 2])}",
            " ".join(words[len(words) // 2 :]),
        )
        for i, words in posts
        if len(words) in WORDS
    ]


@cache
def _embedder(name: str) -> Embedder:
    """One embedder a process: loading a model takes seconds."""
    return embedder(name)
