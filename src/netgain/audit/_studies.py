"""What a ledger's studies varied, and every arm's score as a vector over items, for rules that look across arms."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netgain.ledger.items import higher_is_better
from netgain.ledger.store import Ledger

if TYPE_CHECKING:
    import duckdb

    from netgain.audit.evidence import Evidence

MOST = 200_000
"""Scores of a task are brought into memory up to this many; a grid of more is audited by its means elsewhere."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of numbers that a study varied: the value of every arm on it."""

    name: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Scored:
    """One metric of one task over the arms of a study, larger is better: arm -> (n,) means over seeds and samples."""

    study: str
    task: str
    metric: str
    arms: Mapping[str, NDArray[np.float64]]
    trained: frozenset[str]

    def apart(self, arm: str, other: str) -> tuple[float, float]:
        """(mean of arm - other, its standard error over items); a lower bound of the noise, since seeds are few."""
        gap = self.arms[arm] - self.arms[other]
        return float(gap.mean()), float(gap.std(ddof=1) / np.sqrt(gap.size))


def studies(evidence: "Evidence") -> dict[str, Mapping[str, Any]]:
    """The studies under audit that were planned by netgain (an import has no plan), by key."""
    root = Path(evidence.path)
    if not (root / "studies").is_dir():
        return {}
    found = Ledger(root).studies()
    wanted = {key: tree for key, tree in found.items() if evidence.study in (None, key)}
    return {key: tree["study"] for key, tree in wanted.items() if isinstance(tree.get("study"), dict)}


def axes(study: Mapping[str, Any], arms: Sequence[str]) -> list[Axis]:
    """The axes with at least three numeric points, and where on them each arm stands.

    An arm is called after its labels, one an axis, joined by blanks; a plain list of values is labelled `name=value`.
    """
    varied: Mapping[str, Any] = study.get("vary") or {}
    points = {axis: _points(axis, values) for axis, values in varied.items()}
    found = []
    for axis, labels in points.items():
        numbers = {label: number for label, number in labels.items() if number is not None}
        if len(set(numbers.values())) >= 3:
            at = {arm: numbers[label] for arm in arms for label in numbers if f" {label} " in f" {arm} "}
            found.append(Axis(axis, at))
    return found


def _points(axis: str, values: Any) -> dict[str, float | None]:
    short = axis.split(",")[0].strip().rsplit(".", 1)[-1]
    pairs = values.items() if isinstance(values, dict) else [(f"{short}={value}", value) for value in values]
    return {str(label): _number(label, value) for label, value in pairs}


def _number(label: Any, value: Any) -> float | None:
    """The number that a point stands for: its own value, or the only number that it sets."""
    inner = list(value.values()) if isinstance(value, dict) else [value]
    numbers = [float(v) for v in inner if isinstance(v, int | float) and not isinstance(v, bool)]
    return numbers[0] if len(numbers) == 1 and len(inner) == 1 else None


def scored(db: "duckdb.DuckDBPyConnection", study: str) -> Iterator[Scored]:
    """Every task's first metric at the final checkpoint, where all arms of the study have the same items."""
    chosen = db.execute(
        """
        SELECT task, coalesce(min(metric) FILTER (WHERE metric = main), min(metric)) FROM (
            SELECT DISTINCT i.task, i.metric, CAST(r.record AS JSON)->'tasks'->i.task->>'metric' main
            FROM items i JOIN runs r USING (run, study, arm) WHERE i.study = ? AND value IS NOT NULL)
        GROUP BY task ORDER BY task
        """,
        [study],
    ).fetchall()
    for task, metric in chosen:
        rows = db.execute(
            """
            SELECT arm, item, avg(value), bool_or(checkpoint = 'final') FROM items
            WHERE study = ? AND task = ? AND metric = ? AND checkpoint IN ('final', 'base') AND value IS NOT NULL
              AND (checkpoint = 'final' OR arm NOT IN (SELECT arm FROM items WHERE study = ? AND checkpoint = 'final'))
            GROUP BY arm, item ORDER BY arm, item LIMIT ?
            """,
            [study, task, metric, study, MOST + 1],
        ).fetchnumpy()
        if not 0 < len(rows["arm"]) <= MOST:
            continue
        if (made := _aligned(study, task, metric, list(rows.values()))) is not None:
            yield made


def _aligned(study: str, task: str, metric: str, columns: list[Any]) -> Scored | None:
    arms, items, values, final = (np.asarray(column) for column in columns)
    names, first, counts = np.unique(arms.astype(str), return_index=True, return_counts=True)
    parts = [slice(start, start + count) for start, count in zip(first, counts, strict=True)]
    if counts.min() < 2 or any(not np.array_equal(items[part], items[parts[0]]) for part in parts):
        return None
    sign = 1.0 if higher_is_better(metric) else -1.0
    table = {str(name): sign * values[part].astype(float) for name, part in zip(names, parts, strict=True)}
    trained = frozenset(str(name) for name, part in zip(names, parts, strict=True) if final[part].any())
    return Scored(study, task, metric, table, trained)
