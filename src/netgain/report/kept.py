"""Beneath a retention verdict: which items went from right to wrong, what a judge says by category, part by part.

Everything is read from sealed rows. A judged item is named category/question/turn, which is where categories come from.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from netgain.errors import UserError
from netgain.ledger.items import higher_is_better
from netgain.report.frame import Frame, Matrix
from netgain.spec.study import Study, expand, resolve
from netgain.stats.flips import Flips, flips
from netgain.stats.judged import win_rate, yardstick
from netgain.stats.result import Estimate
from netgain.stats.verdict import Verdict, contrast


@dataclass(frozen=True, slots=True)
class Lost:
    """One item that the base had right and the tuned model has wrong, with what both said."""

    item: str
    seed: int | None
    label: str | None
    base: str | None
    tuned: str | None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The flips of one retention benchmark: how many each way, and some that were lost."""

    arm: str
    versus: str
    task: str
    metric: str
    checkpoint: str
    flips: Flips
    lost: tuple[Lost, ...]


@dataclass(frozen=True, slots=True)
class Category:
    """Tuned against base on one category of judged questions; `n` counts answers, turns apart."""

    name: str
    n: int
    base: float
    tuned: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """What a judge's scores say of an arm: in the base's standard deviations, as a win rate, by category.

    `shift` is None where the base's answers all have one score, `win_rate` where the scores are no log-odds.
    """

    arm: str
    versus: str
    task: str
    metric: str
    shift: Estimate | None
    win_rate: Estimate | None
    categories: tuple[Category, ...]


def benchmarks(study: Study, frame: Frame, examples: int = 3) -> Iterator[Benchmark]:
    """The flips of every retention contrast whose metric is right or wrong."""
    arms = expand(study)
    for i, asked in enumerate(study.contrasts):
        if asked.retain is None:
            continue
        for arm, versus in resolve(asked, arms, i):
            card = frame.card(arm.name, asked.task)
            if card is not None and asked.metric in card["binary"]:
                found = flipped(frame, arm.name, versus.name, asked.task, asked.metric, asked.checkpoint, examples)
                if found is not None:
                    yield found


def flipped(
    frame: Frame, arm: str, versus: str, task: str, metric: str, checkpoint: str = "final", examples: int = 3
) -> Benchmark | None:
    """The flips of one benchmark between two arms; None where nothing is measured on both sides."""
    found = both_of(frame, arm, versus, task, metric, checkpoint)
    if found is None:
        return None
    tuned, base, kept = found
    clusters = None if tuned.clusters is None else tuned.clusters[kept]
    left, right = tuned.values[:, kept], base.values[:, kept]
    right = right if right.shape[0] in (1, left.shape[0]) else right.mean(axis=0, keepdims=True)
    counted = flips(left, right, clusters=clusters)
    names = np.array(tuned.items)[kept]
    rows, columns = np.nonzero(left < right)
    theirs = _said(frame, versus, 0, task, metric, checkpoint)
    lost = tuple(
        _lost(str(names[c]), tuned.seeds[r], theirs, _said(frame, arm, int(r), task, metric, checkpoint))
        for r, c in list(zip(rows, columns, strict=True))[:examples]
    )
    return Benchmark(arm, versus, task, metric, checkpoint, counted, lost)


def judged(
    frame: Frame, arm: str, versus: str, task: str, metric: str, checkpoint: str = "final", chances: bool = True
) -> Judged | None:
    """A judge's scores of one arm against another; None where nothing is rated on both sides.

    `chances`: the scores are log-odds, as a reward model's, so that they say how often an answer wins.
    """
    found = both_of(frame, arm, versus, task, metric, checkpoint)
    if found is None:
        return None
    tuned, base, kept = found
    spread = yardstick(base.values[:, kept].mean(axis=0))
    shift = None if spread is None else _shift(tuned, base, spread)
    paired = base.values if base.values.shape[0] in (1, tuned.values.shape[0]) else base.values.mean(0, keepdims=True)
    wins = win_rate(tuned.values, paired, clusters=tuned.clusters) if chances else None
    return Judged(arm, versus, task, metric, shift, wins, tuple(_categories(tuned, base, metric)))


def _shift(tuned: Matrix, base: Matrix, spread: float) -> Estimate:
    """(tuned - base) / sd of the base's own answers, which is the yardstick and taken as known."""
    found = contrast(
        tuned.values, base.values, clusters=tuned.clusters, binary=False, paired_seeds=tuned.seeds == base.seeds
    ).answer
    return Estimate(
        "above the base", found.estimate / spread, found.low / spread, found.high / spread, found.level, found.method,
        found.n, "change", found.clusters, found.seeds,
    )  # fmt: skip


def _categories(tuned: Matrix, base: Matrix, metric: str) -> Iterator[Category]:
    names = np.array([item.partition("/")[0] for item in tuned.items])
    for name in sorted(set(names)):
        inside = names == name
        left, right = tuned.values[:, inside], base.values[:, inside]
        clusters = None if tuned.clusters is None else tuned.clusters[inside]
        found = contrast(
            left, right, clusters=clusters, higher_is_better=higher_is_better(metric),
            paired_seeds=tuned.seeds == base.seeds,
        )  # fmt: skip
        if found.n:
            means = (float(np.nanmean(each)) for each in (right, left))
            yield Category(str(name), found.n, *means, verdict=found)


def both_of(
    frame: Frame, arm: str, versus: str, task: str, metric: str, checkpoint: str
) -> tuple[Matrix, Matrix, np.ndarray] | None:
    """(tuned, base, (n,) which items every seed of both has a value of); None where nothing is on both sides."""
    tuned, base = frame.matrix(arm, task, metric, checkpoint), frame.matrix(versus, task, metric, checkpoint)
    if tuned is None or base is None:
        return None
    if tuned.items != base.items:
        raise UserError(f"{arm} and {versus} were measured on different items of {task}; nothing can be compared.")
    kept = np.logical_not(np.isnan(tuned.values).any(axis=0) | np.isnan(base.values).any(axis=0))
    return (tuned, base, kept) if kept.any() else None


def _said(
    frame: Frame, arm: str, member: int, task: str, metric: str, checkpoint: str
) -> dict[str, tuple[str | None, str | None]]:
    """item -> (label, output or prediction) of one run of an arm, its first sample."""
    items = frame.members[arm][member].items
    wanted = pc.and_(pc.equal(items["task"], task), pc.equal(items["metric"], metric))  # pyright: ignore[reportAttributeAccessIssue]
    found: dict[str, tuple[str | None, str | None]] = {}
    for row in items.filter(wanted).select(["item", "checkpoint", "label", "prediction", "output"]).to_pylist():
        if row["checkpoint"] in (checkpoint, "base"):
            found.setdefault(row["item"], (row["label"], row["output"] or row["prediction"]))
    return found


def _lost(
    item: str,
    seed: int | None,
    theirs: dict[str, tuple[str | None, str | None]],
    ours: dict[str, tuple[str | None, str | None]],
) -> Lost:
    label, said = ours[item]
    return Lost(item, seed, label, theirs[item][1], said)
