"""Arms by measures: every declared difference at once, when there are enough of them to want a map."""

import itertools
from collections.abc import Iterator
from functools import partial

from markupsafe import Markup

from netgain.report.html.basis import counted, direction, of_judged
from netgain.report.html.charts import Cell, heat
from netgain.report.html.page import Page, key_of
from netgain.report.study import Judged
from netgain.report.words import span
from netgain.stats.result import say, say_range

PLACE = 420
TITLE = "All differences at a glance"
MOST_COLUMNS = 10


def section(page: Page) -> Iterator[Markup]:
    judged = [each for each in page.report.judged if each.verdict.n and each.checkpoint == "final"]
    arms = {(each.arm, each.versus) for each in judged}
    columns = list(dict.fromkeys((each.task, each.metric) for each in judged))[:MOST_COLUMNS]
    if len(arms) < 3 or len(columns) < 2:
        return
    shown = [each for each in judged if (each.task, each.metric) in columns]
    largest = {
        key: max((abs(direction(each).estimate) for each in group), default=0.0) or 1.0
        for key, group in itertools.groupby(sorted(shown, key=_column), key=_column)
    }
    cells = [_cell(page, each, largest[_column(each)]) for each in shown]
    words = (
        f"{len(shown)} declared differences, signed so that + and blue are better; the strongest colour of a column is "
        f"its largest difference. n = {span(each.verdict.n for each in shown)} items, "
        f"{span(each.verdict.tuned_seeds for each in shown)} seeds. Point at a cell for its interval; the "
        "verdicts stand above."
    )
    basis = counted("heat map", f"{len(shown)} contrasts", "the rows of each contrast; point at one")
    yield page.figure("matrix", page.number("figure/matrix/caption", words, basis), partial(heat, cells), basis)


def _column(each: Judged) -> tuple[str, str]:
    return each.task, each.metric


def _cell(page: Page, each: Judged, largest: float) -> Cell:
    rows = page.rows((each.arm, each.versus), each.task, each.metric, each.checkpoint)
    signed, scale = direction(each), each.verdict.answer.scale
    return Cell(
        identity=page.bind(f"matrix/{key_of(each)}", of_judged(each, rows)),
        row=each.arm,
        column=f"{each.task}/{each.metric}",
        share=signed.estimate / largest,
        words=say(signed.estimate, scale).removesuffix(" points"),
        interval=f"interval {say_range(signed.low, signed.high, scale)}",
    )
