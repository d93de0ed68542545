"""From sealed runs to matrices: the values of one metric of one arm, seeds by items, the same items for every seed."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from netgain.errors import UserError
from netgain.ledger.items import higher_is_better
from netgain.ledger.store import Ledger, RunFolder
from netgain.spec.study import Planned, Study, planned
from netgain.stats.linearised import linearised_f1, linearised_mcc

UNTUNED = "base"
"""The checkpoint name of a run that learns nothing: it stands for both best and final."""
SPAN_F1, SPAN_COUNTS = "span_f1", ("span_tp", "span_fp", "span_fn")
"""A metric that no item has: it is made of three counts that every item has."""
OF_PREDICTIONS = ("f1", "mcc")
"""Metrics of all predictions together; an answer that could not be read counts as the wrong one."""


@dataclass(frozen=True)
class Matrix:
    """One metric of one arm: values (S, n) with NaN for missing, and what is known of each of the n items."""

    values: NDArray[np.float64]
    items: tuple[str, ...]
    seeds: tuple[int | None, ...]
    weights: NDArray[np.float64] | None
    clusters: NDArray[np.object_] | None
    unparsed: float | None
    truncated: float | None
    reasons: dict[str, int]


@dataclass(frozen=True)
class Member:
    """One finished run of an arm."""

    seed: int | None
    folder: RunFolder

    @cached_property
    def items(self) -> pa.Table:
        return self.folder.items()

    @cached_property
    def record(self) -> dict[str, Any]:
        return self.folder.record()


class Frame:
    """The finished runs of a study, by arm."""

    def __init__(self, study: Study, ledger: Ledger) -> None:
        self.study = study
        self.ledger = ledger
        self.planned: list[Planned] = planned(study)
        self.states = {each.sig: ledger.run(each.sig).state() for each in self.planned}
        self.members: dict[str, list[Member]] = {}
        for each in self.planned:
            arm = self.members.setdefault(each.arm, [])
            if self.states[each.sig] == "done":
                folder = ledger.run(each.sig)
                folder.verify_evidence()
                arm.append(Member(each.seed, folder))

    def matrix(self, arm: str, task: str, metric: str, checkpoint: str) -> Matrix | None:
        """None when no finished run of the arm measured this. span_f1, f1 and mcc are linearised: their means are the
        metric."""
        if metric in OF_PREDICTIONS:
            return self._of_predictions(arm, task, metric, checkpoint)
        if metric == SPAN_F1:
            counts = self.counts(arm, task, checkpoint)
            if counts is None:
                return None
            return replace(counts[0], values=linearised_f1(*(each.values for each in counts)))
        rows = [(m.seed, _select(m.items, task, metric, checkpoint)) for m in self.members[arm]]
        rows = [(seed, table) for seed, table in rows if table.num_rows]
        if not rows:
            return None
        columns = [_by_item(table) for _, table in rows]
        names = columns[0][0]
        for (seed, _), column in zip(rows, columns, strict=True):
            if column[0] != names:
                raise UserError(f"{arm}, {task}/{metric}: seed {seed} was measured on other items than the first seed.")
        whole = pa.concat_tables([table for _, table in rows])
        weights, clusters = columns[0][2], columns[0][3]
        return Matrix(
            values=np.vstack([column[1] for column in columns]),
            items=names,
            seeds=tuple(seed for seed, _ in rows),
            weights=weights if np.ptp(weights) > 0 else None,
            clusters=clusters if 1 < len(set(clusters)) < len(clusters) else None,
            unparsed=_share(whole["parsed"], False),
            truncated=_share(whole["truncated"], True),
            reasons={str(r): int(n) for r, n in _counts(whole["reason"]) if r is not None},
        )

    def counts(self, arm: str, task: str, checkpoint: str) -> tuple[Matrix, ...] | None:
        """True positives, false positives and false negatives of each item's spans."""
        found = [self.matrix(arm, task, name, checkpoint) for name in SPAN_COUNTS]
        present = tuple(each for each in found if each is not None)
        return present if len(present) == len(found) else None

    def _of_predictions(self, arm: str, task: str, metric: str, checkpoint: str) -> Matrix | None:
        """f1 of the card's `positive` label, or mcc, from what was predicted of each item of two labels."""
        correct, card = self.matrix(arm, task, "accuracy", checkpoint), self.card(arm, task) or {}
        positive, labels = card.get("positive"), card.get("labels", {})
        if correct is None or positive not in labels or len(labels) != 2:
            return None
        rows = _select(self.members[arm][0].items, task, "accuracy", checkpoint)
        gold = dict(zip(rows["item"].to_pylist(), rows["label"].to_pylist(), strict=True))
        truth = np.array([float(gold[item] == positive) for item in correct.items])
        said = np.where(correct.values > 0.5, truth, 1 - truth)
        said = np.where(np.isnan(correct.values), np.nan, said)
        if metric == "mcc":
            return replace(correct, values=linearised_mcc(said, truth))
        counts = said * truth, said * (1 - truth), (1 - said) * truth
        return replace(correct, values=linearised_f1(*counts))

    def card(self, arm: str, task: str) -> dict[str, Any] | None:
        """The task's card as the arm's first finished run recorded it."""
        for member in self.members[arm]:
            return member.record["tasks"].get(task)
        return None


def is_share(metric: str, values: NDArray[np.float64]) -> bool:
    """Whether no value of this metric lies outside 0 and 1, more being better; the linearised F1 is one by its mean."""
    known = values[~np.isnan(values)]
    return higher_is_better(metric) and (metric == SPAN_F1 or bool(((known >= 0) & (known <= 1)).all()))


def _select(table: pa.Table, task: str, metric: str, checkpoint: str) -> pa.Table:
    wanted = pa.array([checkpoint, UNTUNED])
    mask = pc.and_(pc.equal(table["task"], task), pc.equal(table["metric"], metric))  # pyright: ignore[reportAttributeAccessIssue]
    mask = pc.and_(mask, pc.is_in(table["checkpoint"], value_set=wanted))  # pyright: ignore[reportAttributeAccessIssue]
    return table.filter(mask)


def _by_item(table: pa.Table) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.float64], NDArray[np.object_]]:
    """(items, mean value over the item's samples, weight, cluster), items sorted."""
    names = table["item"].to_numpy(zero_copy_only=False)
    values = table["value"].to_numpy(zero_copy_only=False).astype(np.float64)
    items, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    counts = np.bincount(inverse)
    means = np.bincount(inverse, weights=values) / counts
    weights = table["weight"].to_numpy(zero_copy_only=False)[first]
    clusters = table["cluster"].to_numpy(zero_copy_only=False)[first]
    return tuple(items), means, weights, clusters


def _share(column: pa.ChunkedArray, wanted: bool) -> float | None:
    """The share of non-null entries that equal `wanted`; None when all are null."""
    known = column.drop_null()
    if not len(known):
        return None
    return float(np.mean(known.to_numpy(zero_copy_only=False) == wanted))


def _counts(column: pa.ChunkedArray) -> list[tuple[str | None, int]]:
    return [(entry["values"].as_py(), entry["counts"].as_py()) for entry in column.value_counts()]
