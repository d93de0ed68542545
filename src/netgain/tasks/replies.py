"""Open replies to a message: how close to what people wrote, and how different from each other."""

from collections.abc import Sequence
from functools import cache
from typing import Literal

from pydantic import PositiveInt, model_validator

from netgain.data.source import Example
from netgain.measure import diversity, text
from netgain.measure.embedder import Embedder, embedder
from netgain.spec.run import EmbeddedSource, Source, SpecError
from netgain.tasks._base import Generated, Outcome, Score
from netgain.tasks._sampled import Sampled

TOKEN_METRICS = ("distinct1", "distinct2", "self_bleu")
EMBEDDED_METRICS = ("semantic_distance", "vendi")


class Replies(Sampled):
    """The embedded suite or any source of messages and replies.

    reference_f1   per sample: the best F1 of words over the references
    distinct1, distinct2, self_bleu, answer_clusters and <embedder>_semantic_distance, <embedder>_vendi: per message,
    over its samples; missing where there is one only

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
        embedded = tuple(f"{self.embedder}_{name}" for name in EMBEDDED_METRICS)
        return ("reference_f1", *TOKEN_METRICS, *cut, "answer_clusters", *embedded)

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        assert isinstance(outcome, Generated)
        answer = text.answer_part(outcome.text)
        if answer is None:
            return [Score("reference_f1", 0.0, parsed=False)]
        given = (example.answer, *example.meta.get("references", "").splitlines())
        return [Score("reference_f1", max(text.token_f1(answer, gold) for gold in given), parsed=True)]

    def score_set(self, example: Example, outcomes: Sequence[Outcome]) -> list[Score]:
        """Empty replies are texts too: they are alike."""
        written = [text.answer_part(outcome.text) or "" for outcome in outcomes if isinstance(outcome, Generated)]
        texts = diversity.text_set(written, _embedder(self.embedder))
        found = diversity.measured(texts, [*TOKEN_METRICS, "answer_clusters", *EMBEDDED_METRICS], length=self.length)
        named = {
            f"{self.embedder}_{name}" if name in EMBEDDED_METRICS else name: value for name, value in found.items()
        }
        return [
            Score(name, None, reason=value.reason) if isinstance(value, diversity.Missing) else Score(name, value)
            for name, value in named.items()
        ]


@cache
def _embedder(name: str) -> Embedder:
    """One embedder a process: loading a model takes seconds."""
    return embedder(name)
