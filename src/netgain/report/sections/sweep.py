"""The sweep over one ordered axis: curves with simultaneous bands, the set of winners, the level dev rows chose."""

import math
import re
from collections.abc import Iterator, Sequence
from functools import partial

from markupsafe import Markup

from netgain.report.html.basis import Basis, counted, of_estimate
from netgain.report.html.charts import Grid, Panel, Series, lines
from netgain.report.html.page import Page
from netgain.report.sweep import Curve, Point
from netgain.report.sweep_words import tables
from netgain.report.words import span
from netgain.stats.result import Estimate

PLACE = 440
TITLE = "Along the swept axis"
PANELS = 12


def section(page: Page) -> Iterator[Markup]:
    sweep = page.report.sweep
    if sweep is None:
        return
    shown = sweep.curves[:PANELS]
    longest = max(shown, key=lambda curve: len(curve.points))
    names = [point.name for point in longest.points]
    panels = [_panel(page, curve, names) for curve in shown]
    labels = [re.sub(r"^.*=", "", name) for name in names]
    grid = Grid(
        f"{sweep.axis} (evenly spaced)", "gain over the reference level, + is better", panels, labels=labels, alone=True
    )
    ns, seeds = sorted({curve.n for curve in shown}), sorted({curve.seeds for curve in shown})
    words = (
        f"Gain of each level over {longest.reference}, with the 95 % band that holds for all levels at once. "
        f"Shaded: the levels that no other is surely better than. Diamond: the level that the dev rows chose. "
        f"n = {span(ns)} items, {span(seeds)} seeds."
    )
    basis = counted("curves of the sweep", f"{len(shown)} curves", "the rows of each level; point at one")
    caption = page.number("figure/sweep/caption", words, basis)
    yield page.figure("sweep", caption, partial(lines, grid), basis)
    for i, (title, (columns, rows), sentences) in enumerate(tables(sweep)):
        yield _block(page, i, title, columns, rows, sentences)


def _panel(page: Page, curve: Curve, names: Sequence[str]) -> Panel:
    place = {name: float(i) for i, name in enumerate(names)}
    found = [(place[point.name], point, _gain(curve, point)) for point in curve.points if point.name in place]
    rate = curve.points[0].score.scale == "percent"
    points = [(x, gain.estimate if gain is not None else 0.0) for x, _, gain in found]
    band = [(x, *_ends(gain)) for x, _, gain in found]
    chosen = [
        (x, y, "chosen") for (x, y), (_, point, _) in zip(points, found, strict=True) if point.name == curve.chosen
    ]
    identities = [_bind(page, curve, point, gain) for _, point, gain in found]
    series = Series("gain", points, dots=True, band=band, named=chosen, identities=identities)
    zero = Series("no difference", [(x, 0.0) for x, _ in points], shade=7, dash=1, faint=True)
    marked = [x for x, point, _ in found if point.winner]
    return Panel(f"{curve.name}{', points' if rate else ''}", [zero, series], marked=marked, percent=rate)


def _gain(curve: Curve, point: Point) -> Estimate | None:
    """With the interval that holds for all levels at once; None for the reference."""
    return curve.selection.simultaneous.arms.get(point.name, point.gain)


def _ends(gain: Estimate | None) -> tuple[float, float]:
    """The band; nothing is known beyond a level whose interval has no ends."""
    if gain is None:
        return 0.0, 0.0
    known = math.isfinite(gain.low) and math.isfinite(gain.high)
    return (gain.low, gain.high) if known else (gain.estimate, gain.estimate)


def _bind(page: Page, curve: Curve, point: Point, gain: Estimate | None) -> str:
    rows = page.rows((point.arm, curve.points[0].arm), curve.task, curve.metric, "final")
    what = f"{curve.name}: {point.name} against {curve.reference}, {curve.metric}; {point.verdict}"
    basis = of_estimate(point.score if gain is None else gain, rows, what)
    return page.bind(f"sweep/{curve.name}/{curve.task}/{point.name}", basis)


def _block(
    page: Page, i: int, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], sentences: Sequence[str]
) -> Markup:
    """One table of the sweep with its sentences; the summary stands open, the curves unfold."""
    made = [page.row(f"sweep/{i}/{j}", row, _of_row(title, columns, row)) for j, row in enumerate(rows)]
    said = [element_of(page, f"sweep/{i}/says/{j}", words, title) for j, words in enumerate(sentences)]
    table = page.table(title, columns, made)
    return Markup("").join([table, *said]) if i == 0 else page.details(title, table, said)


def element_of(page: Page, identity: str, words: str, title: str) -> Markup:
    """A sentence of the sweep; it says its own interval, method and n."""
    basis = counted(title, words, "the rows of every level of this curve")
    return page.paragraph(page.number(identity, words, basis))


def _of_row(title: str, columns: Sequence[str], row: Sequence[str]) -> Basis:
    said = "; ".join(f"{name} {cell}" for name, cell in zip(columns[1:], row[1:], strict=True) if cell not in ("", "-"))
    return Basis(
        what=f"{title}: {row[0]}",
        said=said or "nothing",
        interval="in the row",
        n="with the curve",
        method="simultaneous over all levels of the curve (max-T); a control's is of its own",
        rows="the final items of every level of the curve",
    )
