"""Means, counts and failure rates of a run's rows. Computed from items and from nothing else; needs no torch."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from netgain.ledger.items import Item
from netgain.measure.spans import micro_f1

Key = tuple[str, str, str]
"""(task, metric, checkpoint)"""

SPAN_COUNTS = ("span_tp", "span_fp", "span_fn")


@dataclass(frozen=True, slots=True)
class Summary:
    """mean = sum w v / sum w over the n rows that have a value; None when no row has one.

    parse_failures   the share of rows whose output held no answer, among those that had to be parsed
    truncated        the share of rows whose generation ended at its budget, among those that were generated
    """

    mean: float | None
    n: int
    missing: int
    parse_failures: float | None
    truncated: float | None
    retried: int


def summary(items: Iterable[Item]) -> dict[Key, Summary]:
    """One Summary for each (task, metric, checkpoint); span_f1 is the micro F1 of the summed counts."""
    groups: dict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.task, item.metric, item.checkpoint].append(item)
    found = {key: _summary(rows) for key, rows in groups.items()}
    for task, metric, checkpoint in list(found):
        if metric == SPAN_COUNTS[0]:
            keys = [(task, name, checkpoint) for name in SPAN_COUNTS]
            sums = [sum(row.value for row in groups[key] if row.value is not None) for key in keys]
            rest = found[keys[0]]
            found[task, "span_f1", checkpoint] = Summary(
                micro_f1(*sums), rest.n, rest.missing, rest.parse_failures, rest.truncated, rest.retried
            )
    return found


def _summary(rows: list[Item]) -> Summary:
    present = [row for row in rows if row.value is not None]
    values = np.array([row.value for row in present], dtype=float)
    weights = np.array([row.weight for row in present], dtype=float)
    return Summary(
        mean=float(values @ weights / weights.sum()) if present else None,
        n=len(present),
        missing=len(rows) - len(present),
        parse_failures=_share([not row.parsed for row in rows if row.parsed is not None]),
        truncated=_share([row.truncated for row in rows if row.truncated is not None]),
        retried=sum(row.retried for row in rows),
    )


def _share(flags: list[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None
