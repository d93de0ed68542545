"""Gain against forgetting: every arm as a cross of two intervals, a panel for each pair of declared questions."""

import itertools
from collections.abc import Iterator, Sequence
from functools import partial

from markupsafe import Markup

from netgain.report.html.basis import Basis, direction, of_judged
from netgain.report.html.charts import Frontier, FrontierPoint, Range, frontier
from netgain.report.html.page import Page
from netgain.report.study import Judged

PLACE = 400
TITLE = "Gain against forgetting"
MOST = 6
"""Panels drawn; more pairs of questions than this are named in the last caption."""

Question = tuple[str, str, str, float | None]


def section(page: Page) -> Iterator[Markup]:
    asked: dict[Question, list[Judged]] = {}
    for each in page.report.judged:
        if each.verdict.n:
            asked.setdefault((each.task, each.metric, each.checkpoint, each.margin), []).append(each)
    gains = {question: found for question, found in asked.items() if question[3] is None}
    kept = {question: found for question, found in asked.items() if question[3] is not None}
    pairs = [(a, b) for a, b in itertools.product(gains, kept) if _both(gains[a], kept[b])]
    for i, (gain, keep) in enumerate(pairs[:MOST]):
        yield _panel(page, i, _both(gains[gain], kept[keep]), gain, keep)
    if len(pairs) > MOST:
        yield page.paragraph("More pairs of questions were declared; their numbers stand in the contrasts above.")


def _both(gains: Sequence[Judged], kept: Sequence[Judged]) -> list[tuple[Judged, Judged]]:
    """The arms that have both answers against the same baseline."""
    against = {(each.arm, each.versus): each for each in kept}
    return [(each, against[each.arm, each.versus]) for each in gains if (each.arm, each.versus) in against]


def _panel(page: Page, i: int, both: list[tuple[Judged, Judged]], gain: Question, keep: Question) -> Markup:
    points = [_point(page, i, left, right) for left, right in both]
    first, second = both[0]
    panel = Frontier(
        x_title=f"kept on {keep[0]}/{keep[1]}{_unit(second)}; right is better",
        y_title=f"gained on {gain[0]}/{gain[1]}{_unit(first)}; up is better",
        x_points=second.verdict.answer.scale == "points",
        y_points=first.verdict.answer.scale == "points",
        margin=keep[3] or 0.0,
        points=points,
    )
    basis = _basis(page, first, second)
    caption = page.number(
        f"figure/frontier-{i}/caption",
        f"Each arm with its 95 % interval of gain (n = {first.verdict.n}) and its 90 % interval of retention "
        f"(n = {second.verdict.n}); {first.verdict.tuned_seeds} seeds. Left of the dashed margin of {keep[3]:g} "
        "counts as forgotten.",
        basis,
    )
    return page.figure(f"frontier-{i}", caption, partial(frontier, panel), basis)


def _unit(each: Judged) -> str:
    return " (points)" if each.verdict.answer.scale == "points" else ""


def _basis(page: Page, gain: Judged, kept: Judged) -> Basis:
    """Both intervals in one basis."""
    left = of_judged(gain, page.rows((gain.arm, gain.versus), gain.task, gain.metric, gain.checkpoint))
    right = of_judged(kept, page.rows((kept.arm, kept.versus), kept.task, kept.metric, kept.checkpoint))
    return Basis(
        what=f"{gain.arm} against {gain.versus}",
        said=f"{gain.task}/{gain.metric} {left.said}; {kept.task}/{kept.metric} {right.said}",
        interval=f"{left.interval}; {right.interval}",
        n=f"{left.n}; {right.n}",
        method=left.method if left.method == right.method else f"{left.method}; {right.method}",
        rows=f"{left.rows}; {right.rows}",
    )


def _point(page: Page, i: int, gain: Judged, kept: Judged) -> FrontierPoint:
    x, y = direction(kept), direction(gain)
    identity = page.bind(f"frontier/{i}/{gain.arm}/{gain.versus}", _basis(page, gain, kept))
    return FrontierPoint(
        identity,
        gain.arm,
        Range(x.estimate, x.low, x.high),
        Range(y.estimate, y.low, y.high),
        page.tone(kept),
    )
