"""A sweep over one ordered axis: the summary, each task's sensitivity, and which level may be called best.

An axis is ordered when three or more of its points are numbers, `0.1` or a label that ends in one (`lambda=0.1`); its
other points are controls. The smallest number is the reference. Every set of arms that differ in this axis alone, and
every task that they measure, makes a curve.

The best level is never read off the test items: `chosen` has the smallest dev loss, and only its gain is a plain
paired difference. What the test items show beside it is simultaneous over all levels.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from netgain.ledger.items import higher_is_better
from netgain.report.frame import Frame, Matrix, is_share
from netgain.spec.identity import stream
from netgain.spec.study import Arm, Study, expand
from netgain.stats.crossed import checkpoint, recipe
from netgain.stats.multiplicity import Adjusted, holm
from netgain.stats.power import Mde, mde_after
from netgain.stats.result import Floats, Pivot
from netgain.stats.retention import benefit
from netgain.stats.selection import Selection, line_up, select_best
from netgain.stats.trend import Levels, Sensitivity, Trend, Winners, macro, sensitivity, symlog, trend, winners

NUMBER = re.compile(r"(?:.*=)?\s*(-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)")
FEWEST = 3


@dataclass(frozen=True)
class Point:
    """One level, or one control (`value` None), of a curve."""

    name: str
    arm: str
    value: float | None
    score: Pivot
    """Its own mean, in the metric's own direction."""
    gain: Pivot | None
    """Against the reference, + is better; interval of this pair alone. None for the reference itself."""
    verdict: str
    """From the interval that holds for all levels at once: gain, loss, cannot tell; a control's is of its own."""
    dev_loss: float | None
    winner: bool = False


@dataclass(frozen=True)
class Curve:
    """One task over the axis."""

    name: str
    task: str
    metric: str
    kind: str
    points: tuple[Point, ...]
    controls: tuple[Point, ...]
    reference: str
    chosen: str | None
    selection: Selection
    winners: Winners
    trend: Trend
    sensitivity: Sensitivity
    mde: Mde
    n: int
    seeds: int
    chance: float | None
    majority: float | None

    @property
    def choice(self) -> Point | None:
        """The level that the dev rows chose."""
        return next((each for each in self.points if each.name == self.chosen), None)

    def sentences(self) -> Iterator[str]:
        """What the curve allows to say, each with what it rests on."""
        chosen = self.choice
        if chosen is None:
            yield "No dev loss was measured, so no level was chosen by anything but the test items."
        elif chosen.gain is None:
            yield f"The dev rows chose {chosen.name}, the reference itself: nothing is gained by the axis."
        else:
            word = "gain" if chosen.gain.low > 0 else "loss" if chosen.gain.high < 0 else "cannot tell"
            yield f"The dev rows chose {chosen.name}: {word}, {chosen.gain.sentence()}"
        yield self.selection.sentence()
        yield self.winners.sentence()
        yield self.trend.sentence()
        yield self.sensitivity.sentence()
        yield self.mde.sentence()


@dataclass(frozen=True)
class Average:
    """One level's mean over all tasks, and its gain over the reference."""

    name: str
    value: float
    score: Pivot
    gain: Pivot | None


@dataclass(frozen=True)
class Sweep:
    """All curves of a study's ordered axis."""

    axis: str
    curves: tuple[Curve, ...]
    average: tuple[Average, ...]
    average_claims: Adjusted | None
    missing: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All numbers, and every sentence that they allow."""
        curves = [{**asdict(each), "sentences": list(each.sentences())} for each in self.curves]
        return {**asdict(self), "curves": curves}


def number_of(label: str) -> float | None:
    """0.1 of "lambda=0.1" and of "0.1"; None for a word."""
    found = NUMBER.fullmatch(label)
    return None if found is None else float(found[1])


def ordered_axis(study: Study) -> str | None:
    """The one axis with at least three numbers, if there is one."""
    arms = expand(study)
    found = []
    for axis in study.vary:
        values = {number_of(arm.coords[axis]) for arm in arms} - {None}
        if len(values) >= FEWEST:
            found.append(axis)
    return found[0] if len(found) == 1 else None


def read_sweep(study: Study, frame: Frame) -> Sweep | None:
    """None when the study has no ordered axis, or not one curve of it has enough finished levels."""
    axis = ordered_axis(study)
    if axis is None:
        return None
    curves: list[Curve] = []
    missing: list[str] = []
    for rest, arms in _families(expand(study), axis).items():
        for task in arms[0].run.tasks:
            name = " ".join(part for part in (*rest, task if len(arms[0].run.tasks) > 1 or not rest else "") if part)
            found = _curve(name, task, axis, arms, frame)
            if found is None:
                missing.append(name)
            else:
                curves.append(found)
    if not curves:
        return None
    average, claims = _average(curves)
    return Sweep(axis, tuple(curves), average, claims, tuple(missing))


def _families(arms: Sequence[Arm], axis: str) -> Mapping[tuple[str, ...], list[Arm]]:
    """Arms that differ in `axis` alone, by their labels on the other axes."""
    found: dict[tuple[str, ...], list[Arm]] = {}
    for arm in arms:
        rest = tuple(label for name, label in arm.coords.items() if name != axis)
        found.setdefault(rest, []).append(arm)
    return found


@dataclass(frozen=True)
class Measured:
    """One arm of a curve with its matrix."""

    label: str
    arm: Arm
    value: float | None
    matrix: Matrix


def _curve(name: str, task: str, axis: str, arms: Sequence[Arm], frame: Frame) -> Curve | None:
    cards = [card for arm in arms if (card := frame.card(arm.name, task)) is not None]
    if not cards:
        return None
    metric = str(cards[0]["metric"])
    measured: list[Measured] = []
    for arm in arms:
        matrix = frame.matrix(arm.name, task, metric, "final")
        label = arm.coords[axis]
        if matrix is not None:
            measured.append(Measured(label, arm, number_of(label), matrix))
    levels = sorted((each for each in measured if each.value is not None), key=lambda each: each.value or 0.0)
    if len(levels) < FEWEST or any(each.matrix.items != levels[0].matrix.items for each in measured):
        return None
    return _read(name, task, metric, cards[0], levels, [e for e in measured if e.value is None], frame)


def _read(
    name: str,
    task: str,
    metric: str,
    card: Mapping[str, Any],
    levels: Sequence[Measured],
    controls: Sequence[Measured],
    frame: Frame,
) -> Curve:
    grid, all_values = _grid(levels, controls, higher_is_better(metric))
    rng = stream(0, f"report/sweep/{name}/{task}/{metric}")
    first, *others = levels
    weights, clusters = grid.weights, grid.clusters
    field = line_up(
        {each.label: grid.values[i + 1] for i, each in enumerate(others)},
        grid.values[0],
        weights=weights,
        clusters=clusters,
    )
    selection, best = select_best(field, rng=rng), winners(grid, rng=rng)
    points: list[Point] = []
    for each, values in zip([*levels, *controls], all_values, strict=True):
        gain = None if each is first else _difference(values, grid.values[0], weights, clusters)
        together = selection.simultaneous.arms.get(each.label, gain)
        word = "reference" if together is None else _word(together.low, together.high)
        score = _score(values, weights, clusters, metric)
        points.append(
            Point(
                each.label, each.arm.name, each.value, score, gain, word,
                _dev_loss(each, frame), each.label in best.names,
            )
        )  # fmt: skip
    scored, extra = points[: len(levels)], points[len(levels) :]
    known = [each for each in scored if each.dev_loss is not None]
    chosen = min(known, key=lambda each: each.dev_loss or 0.0).name if len(known) == len(scored) else None
    widest = max((p.gain for p in scored if p.gain is not None), key=lambda gain: gain.se)
    return Curve(
        name=name,
        task=task,
        metric=metric,
        kind=str(card["kind"]),
        points=tuple(scored),
        controls=tuple(extra),
        reference=first.label,
        chosen=chosen,
        selection=selection,
        winners=best,
        trend=trend(grid),
        sensitivity=sensitivity(grid, rng=rng),
        mde=mde_after(widest),
        n=grid.values.shape[2],
        seeds=grid.values.shape[1],
        chance=card["chance"],
        majority=card["majority"],
    )


def _grid(levels: Sequence[Measured], controls: Sequence[Measured], higher: bool) -> tuple[Levels, list[Floats]]:
    """(levels, values of levels and controls): on the seeds and items that all of them have, + being better."""
    everyone = [*levels, *controls]
    sign = 1 if higher else -1
    shared = [seed for seed in levels[0].matrix.seeds if all(seed in each.matrix.seeds for each in everyone)]
    rows = [[each.matrix.seeds.index(seed) for seed in shared] or [0] for each in everyone]
    values = [sign * each.matrix.values[at] for each, at in zip(everyone, rows, strict=True)]
    kept = ~np.isnan(np.concatenate(values)).any(axis=0)
    values = [each[:, kept] for each in values]
    weights, clusters = levels[0].matrix.weights, levels[0].matrix.clusters
    grid = Levels(
        names=tuple(each.label for each in levels),
        x=np.array([symlog(each.value or 0.0) for each in levels]),
        values=np.stack(values[: len(levels)]),
        weights=None if weights is None else weights[kept],
        clusters=None if clusters is None else clusters[kept],
    )
    return grid, values


def _difference(values: Floats, base: Floats, weights: Floats | None, clusters: np.ndarray | None) -> Pivot:
    """The recipe's answer where there are seeds for one, else that of these checkpoints."""
    return recipe(values, base, weights=weights, clusters=clusters) or checkpoint(
        values, base, weights=weights, clusters=clusters
    )


def _score(values: Floats, weights: Floats | None, clusters: np.ndarray | None, metric: str) -> Pivot:
    """The level's own mean in the metric's own direction; a rate where it is one."""
    found = benefit(_difference(values, np.zeros((1, values.shape[1])), weights, clusters), higher_is_better(metric))
    return replace(found, what="score", scale="percent" if is_share(metric, values) else "raw").at(found.level)


def _word(low: float, high: float) -> str:
    return "gain" if low > 0 else "loss" if high < 0 else "cannot tell"


def _dev_loss(each: Measured, frame: Frame) -> float | None:
    """The last dev loss, averaged over the arm's seeds; None where any of them has none."""
    last = [
        [float(row["loss"]) for row in member.folder.metrics() if row.get("event") == "dev"]
        for member in frame.members[each.arm.name]
    ]
    return float(np.mean([losses[-1] for losses in last])) if last and all(last) else None


def _average(curves: Sequence[Curve]) -> tuple[tuple[Average, ...], Adjusted | None]:
    """Over tasks of different kinds that share their levels and whose metric is better when larger."""
    kept = [curve for curve in curves if higher_is_better(curve.metric)]
    names = [tuple(point.name for point in curve.points) for curve in kept]
    if len(kept) < 2 or len({(curve.kind, curve.task) for curve in kept}) < len(kept) or len(set(names)) > 1:
        return (), None
    apart = len({point.arm for curve in kept for point in curve.points}) == sum(len(curve.points) for curve in kept)
    found: list[Average] = []
    for at in zip(*(curve.points for curve in kept), strict=True):
        gains = [point.gain for point in at if point.gain is not None]
        found.append(
            Average(
                at[0].name,
                at[0].value if at[0].value is not None else math.nan,
                macro([point.score for point in at], apart=apart, what="score"),
                macro(gains, apart=apart, what="difference") if gains else None,
            )
        )
    return tuple(found), holm({each.name: each.gain.p() for each in found if each.gain is not None})
