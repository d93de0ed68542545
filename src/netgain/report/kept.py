"""Beneath a retention verdict: which items went from right to wrong, what a judge says by category, part by part.

Everything is read from sealed rows. A judged item is named category/question/turn, which is where categories come from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from netgain.errors import UserError
from netgain.ledger.items import higher_is_better
from netgain.report.frame import Frame, Matrix
from netgain.spec.study import Study, expand, resolve
from netgain.stats.flips import Flips, flips
from netgain.stats.judged import standardised, win_rate
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
    """What a judge's scores say of an arm: raw, in the base's standard deviations, as a win rate, by category."""

    arm: str
    versus: str
    task: str
    metric: str
    shift: float
    win_rate: Estimate
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
    """The flips of one benchmark between two arms; None where one of them is not measured yet."""
    tuned, base = frame.matrix(arm, task, metric, checkpoint), frame.matrix(versus, task, metric, checkpoint)
    if tuned is None or base is None:
        return None
    kept = _both(tuned, base)
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


def judged(frame: Frame, arm: str, versus: str, task: str, metric: str, checkpoint: str = "final") -> Judged | None:
    """A judge's scores of one arm against another; None where one of them is not measured yet."""
    tuned, base = frame.matrix(arm, task, metric, checkpoint), frame.matrix(versus, task, metric, checkpoint)
    if tuned is None or base is None:
        return None
    kept = _both(tuned, base)
    above, _ = standardised(tuned.values[:, kept].mean(axis=0), base.values[:, kept].mean(axis=0))
    paired = base.values if base.values.shape[0] in (1, tuned.values.shape[0]) else base.values.mean(0, keepdims=True)
    return Judged(
        arm, versus, task, metric, float(above.mean()), win_rate(tuned.values, paired, clusters=tuned.clusters),
        tuple(_categories(tuned, base, metric)),
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


def _both(tuned: Matrix, base: Matrix) -> np.ndarray:
    """(n,) which items every seed of both sides has a value of."""
    if tuned.items != base.items:
        raise UserError("the two arms were measured on different items; nothing can be compared.")
    missing = np.isnan(tuned.values).any(axis=0) | np.isnan(base.values).any(axis=0)
    if np.all(missing):
        raise UserError("no item has a value on both sides; nothing can be compared.")
    return np.asarray(~missing)


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


def drift_and_loss(frame: Frame, arms: Sequence[str], versus: str, task: str, metric: str) -> list[tuple[float, float]]:
    """(KL from the base on dev rows, what was lost) of each finished run: does drifting tell of forgetting?

    The loss is base - tuned in the direction that is better, of the final checkpoint.
    """
    base = frame.matrix(versus, task, metric, "final")
    if base is None:
        return []
    sign = 1.0 if higher_is_better(metric) else -1.0
    found: list[tuple[float, float]] = []
    for arm in arms:
        tuned = frame.matrix(arm, task, metric, "final")
        if tuned is None:
            continue
        for s, member in enumerate(frame.members[arm]):
            seen = [row["kl_base"] for row in member.folder.metrics() if row.get("kl_base") is not None]
            if seen:
                lost = float(np.nanmean(base.values)) - float(np.nanmean(tuned.values[s]))
                found.append((float(seen[-1]), sign * lost))
    return found
