"""What every reader returns: item rows in the ledger's schema, aggregate scores, parameters, and their source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from netgain.errors import UserError
from netgain.ledger.items import SCHEMA

IDENTITY = pa.schema(
    [
        pa.field("arm", pa.string(), nullable=False),
        pa.field("seed", pa.int64()),
        pa.field("document", pa.string()),
        pa.field("prompt", pa.string()),
    ]
)
ROWS = pa.schema([*SCHEMA, *IDENTITY])
"""The ledger's item columns, who was measured, and two fingerprints: of the item and of the prompt sent."""

SCORES = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),
        pa.field("arm", pa.string(), nullable=False),
        pa.field("seed", pa.int64()),
        pa.field("task", pa.string()),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("step", pa.int64()),
        pa.field("value", pa.float64()),
        pa.field("reason", pa.string()),
        pa.field("n", pa.int64()),
    ]
)
"""Aggregates that a tool printed, without the items behind them; `step` for curves."""

DEFAULTS: dict[str, Any] = {"checkpoint": "final", "sample": 0, "weight": 1.0, "retried": False}
KEY = ("run", "task", "metric", "item", "checkpoint", "sample")

COUNTABLE = 1 << 25
"""Codes below this are counted in one pass; larger ones are sorted."""

Column = pa.Array | pa.ChunkedArray | list[Any]


@dataclass(frozen=True, slots=True)
class Source:
    """Where evidence came from: the file's hash, the tool that wrote it, and which column played which role."""

    path: Path
    sha256: str
    tool: str
    version: str | None = None
    roles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Samples:
    """The evidence of one file or folder. `rows` may be empty when a tool kept aggregates only."""

    source: Source
    rows: pa.Table = field(default_factory=ROWS.empty_table)
    scores: pa.Table = field(default_factory=SCORES.empty_table)
    params: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Run -> parameter -> value, as text."""
    notes: tuple[str, ...] = ()
    """What was left out or assumed, in sentences."""

    @property
    def items(self) -> pa.Table:
        """The rows in the ledger's schema, `items.SCHEMA`."""
        return self.rows.select(SCHEMA.names).cast(SCHEMA)

    @property
    def arms(self) -> tuple[str, ...]:
        """Every arm that has rows or scores."""
        names = [*self.rows["arm"].unique().to_pylist(), *self.scores["arm"].unique().to_pylist()]
        return tuple(dict.fromkeys(names))


def run_name(arm: str, seed: int | None) -> str:
    """The name of one run of an arm."""
    return arm if seed is None else f"{arm}-s{seed}"


def row_table(count: int, columns: Mapping[str, Column]) -> pa.Table:
    """`count` rows in ROWS; a column that is not given takes its default, or is null."""
    made = []
    for wanted in ROWS:
        given = columns.get(wanted.name)
        if given is None:
            default = DEFAULTS.get(wanted.name)
            empty = (
                pa.nulls(count, wanted.type) if default is None else pa.repeat(pa.scalar(default, wanted.type), count)
            )
            made.append(empty)
        elif isinstance(given, list):
            made.append(pa.array(given, wanted.type))
        else:
            made.append(given.cast(wanted.type))
    return pa.Table.from_arrays(made, schema=ROWS)


def score_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Aggregate scores in SCORES."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=SCORES)


def codes(table: pa.Table, names: Sequence[str]) -> NDArray[np.int64]:
    """One integer a row: equal exactly when the rows agree in all the named columns (null equals null)."""
    out, total = np.zeros(table.num_rows, dtype=np.int64), 1
    for name in names:
        column, size = column_codes(table[name])
        if total * size > 1 << 62:
            out = np.unique(out, return_inverse=True)[1]
            total = int(out.max()) + 1
        out, total = out * size + column, total * size
    return out


def column_codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], int]:
    """(code of each entry in order of first appearance, number of codes); nulls share one code."""
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    found = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return found, max(len(encoded.dictionary), 1)


def require_unique(rows: pa.Table, source: Path) -> None:
    """One value per (run, task, metric, item, checkpoint, sample), or a sentence with the first repeated key."""
    key = codes(rows, KEY)
    if not key.size or (int(key.max()) < COUNTABLE and int(np.bincount(key).max()) == 1):
        return
    seen = np.unique(key, return_index=True)[1]
    if seen.size == rows.num_rows:
        return
    again = np.ones(rows.num_rows, dtype=bool)
    again[seen] = False
    first = rows.slice(int(np.flatnonzero(again)[0]), 1).to_pylist()[0]
    place = ", ".join(f"{name} {first[name]}" for name in KEY if name != "checkpoint")
    raise UserError(
        f"{source}: {rows.num_rows - seen.size} rows repeat an earlier one, the first for {place}; "
        "say which column tells them apart (seed, sample, arm) or remove the repeats."
    )
