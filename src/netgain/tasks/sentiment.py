"""The sentiment of a generated one-sentence review (embedded suite `sentiment`)."""

from typing import Literal

from netgain.spec.run import EmbeddedSource, Source
from netgain.tasks._classify import Classification


class Sentiment(Classification):
    """Rows of the embedded suite, or of any source of sentences and labels."""

    kind: Literal["sentiment"] = "sentiment"
    source: Source | None = EmbeddedSource(kind="embedded", suite="sentiment", n=500)
    positive: str | None = "positive"
