"""Whether a generated one-sentence review negates its judgement (embedded suite `negation`)."""

from typing import Literal

from netgain.spec.run import EmbeddedSource, Source
from netgain.tasks._classify import Classification


class Negation(Classification):
    """Rows of the embedded suite, or of any source of sentences and labels."""

    kind: Literal["negation"] = "negation"
    source: Source | None = EmbeddedSource(kind="embedded", suite="negation", n=500)
    positive: str | None = "yes"
