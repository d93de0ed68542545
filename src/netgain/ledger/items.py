"""One row per (run, task, metric, item, checkpoint, sample): the only source of every number that anyone reads."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import pyarrow as pa

SCHEMA = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("checkpoint", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("reason", pa.string()),
        pa.field("weight", pa.float64(), nullable=False),
        pa.field("cluster", pa.string()),
        pa.field("label", pa.string()),
        pa.field("prediction", pa.string()),
        pa.field("output", pa.string()),
        pa.field("parsed", pa.bool_()),
        pa.field("truncated", pa.bool_()),
        pa.field("tokens", pa.int32()),
        pa.field("retried", pa.bool_(), nullable=False),
    ]
)

LOWER_IS_BETTER = ("nll", "loss", "ppl", "perplexity", "kl", "error", "wer", "self_bleu")


@dataclass(frozen=True, slots=True)
class Item:
    """One measured value, or the typed reason why there is none. Missing is never 0."""

    task: str
    metric: str
    item: str
    checkpoint: str
    value: float | None
    reason: str | None = None
    sample: int = 0
    weight: float = 1.0
    cluster: str | None = None
    label: str | None = None
    prediction: str | None = None
    output: str | None = None
    parsed: bool | None = None
    truncated: bool | None = None
    tokens: int | None = None
    retried: bool = False
    run: str = ""

    def __post_init__(self) -> None:
        missing = self.value is None or self.value != self.value
        if missing == (self.reason is None):
            raise ValueError(f"item {self.item} of {self.task}/{self.metric} needs a value or a reason, never both")


def table(items: Iterable[Item], run: str) -> pa.Table:
    """The Arrow table of `items`, all stamped with the run's sig."""
    rows = list(items)
    columns = {name: [getattr(item, name) for item in rows] for name in SCHEMA.names}
    return pa.Table.from_pydict({**columns, "run": [run] * len(rows)}, schema=SCHEMA)


def read(table: pa.Table) -> Iterator[Item]:
    """The items of an Arrow table that has the schema."""
    names = [field.name for field in fields(Item)]
    for row in table.select(names).to_pylist():
        yield Item(**row)


def higher_is_better(metric: str) -> bool:
    """True unless the metric's name, but for a length as in self_bleu_at_20, ends in a known loss (nll, kl, ...)."""
    return not re.sub(r"_at_\d+$", "", metric.lower()).endswith(LOWER_IS_BETTER)
