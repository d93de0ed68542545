"""Curves along swept axes whose values are numbers, where `sweep` reads no curve: scores with their intervals."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from markupsafe import Markup

from netgain.report.html.basis import counted, of_estimate
from netgain.report.html.charts import Grid, Panel, Series, lines
from netgain.report.html.page import Page
from netgain.report.study import Score
from netgain.report.words import span
from netgain.spec.study import Arm, expand

PLACE = 450
TITLE = "Along other axes"
FEWEST = 3
FAR = 20.0
"""Values that reach over more than this ratio, or down to 0 with it, stand evenly spaced and are named."""


def section(page: Page) -> Iterator[Markup]:
    arms = expand(page.report.study)
    for axis in page.report.study.vary:
        values = numeric({arm.coords[axis] for arm in arms})
        read = page.report.sweep is not None and page.report.sweep.axis == axis
        if len(values) >= FEWEST and not read:
            yield from _figure(page, axis, values, arms)


def numeric(labels: set[str]) -> dict[str, float]:
    """label -> its number, in rising order: `lambda=0.1`, `0.1` and `r16` are numbers, `base` is none."""
    found = {label: re.fullmatch(r"(?:[^\d=]*=|[A-Za-z_ ]*)([-+]?\d*\.?\d+(?:e[-+]?\d+)?)", label) for label in labels}
    known = {label: float(match.group(1)) for label, match in found.items() if match is not None}
    return dict(sorted(known.items(), key=lambda entry: entry[1]))


def _figure(page: Page, axis: str, values: Mapping[str, float], arms: Sequence[Arm]) -> Iterator[Markup]:
    scores = {(s.arm, s.task, s.metric): s for s in page.report.scores if s.checkpoint == "final"}
    positive = [value for value in values.values() if value > 0]
    even = len(positive) < len(values) or max(positive) / min(positive) > FAR
    place = {label: float(i) if even else value for i, (label, value) in enumerate(values.items())}
    panels: list[Panel] = []
    for task, metric in dict.fromkeys((s.task, s.metric) for s in scores.values()):
        mine = {arm.name: (arm, scores[arm.name, task, metric]) for arm in arms if (arm.name, task, metric) in scores}
        series = list(_series(page, axis, place, mine))
        if series:
            percent = next(iter(mine.values()))[1].estimate.scale == "percent"
            panels.append(Panel(f"{task}/{metric}{', %' if percent else ''}", series, percent=percent))
    if not panels:
        return
    short = axis.split(",")[0].rsplit(".", 1)[-1]
    labels = [f"{value:g}" for value in values.values()] if even else []
    grid = Grid(
        short + (" (evenly spaced)" if even else ""), "score at the final checkpoint", panels, labels=labels, alone=True
    )
    shown = [s for s in scores.values() if any(s.arm == arm.name and arm.coords[axis] in values for arm in arms)]
    words = (
        f"Scores along {short} with the 95 % interval of each point alone (no correction for looking at all); "
        f"n = {span(s.estimate.n for s in shown)} items, {span(s.seeds for s in shown)} seeds."
    )
    basis = counted(f"curves along {short}", f"{len(shown)} scores", "the rows of each score; point at one")
    name = f"axis-{re.sub('[^a-z0-9]+', '-', short.lower())}"
    yield page.figure(name, page.number(f"figure/{name}/caption", words, basis), partial(lines, grid), basis)


def _series(
    page: Page, axis: str, place: Mapping[str, float], mine: Mapping[str, tuple[Arm, Score]]
) -> Iterator[Series]:
    """One line for each combination of the other axes."""
    groups: dict[str, list[tuple[float, Score]]] = {}
    for arm, score in mine.values():
        if arm.coords[axis] in place:
            rest = " ".join(label for name, label in arm.coords.items() if name != axis) or "all arms"
            groups.setdefault(rest, []).append((place[arm.coords[axis]], score))
    for i, (rest, found) in enumerate(groups.items()):
        found.sort(key=lambda each: each[0])
        identities = [_bind(page, axis, score) for _, score in found]
        yield Series(
            rest,
            [(x, score.estimate.estimate) for x, score in found],
            shade=i,
            dash=i,
            dots=True,
            band=[(x, score.estimate.low, score.estimate.high) for x, score in found],
            identities=identities,
        )


def _bind(page: Page, axis: str, score: Score) -> str:
    rows = page.rows((score.arm,), score.task, score.metric, score.checkpoint)
    basis = of_estimate(score.estimate, rows, f"{score.arm}, {score.task}/{score.metric}")
    return page.bind(f"axis/{axis}/{score.arm}/{score.task}/{score.metric}", basis)
