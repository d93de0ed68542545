"""Named entities in generated sentences (embedded suite `entities`), answered as word/TAG with BIO tags."""

from typing import Literal

from netgain.spec.run import EmbeddedSource, Source
from netgain.tasks._tag import SpanTagging


class Entities(SpanTagging):
    """Rows of the embedded suite, or of any source of word/TAG answers."""

    kind: Literal["entities"] = "entities"
    source: Source | None = EmbeddedSource(kind="embedded", suite="entities", n=500)
