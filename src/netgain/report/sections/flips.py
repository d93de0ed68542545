"""Which answers changed: right to wrong and wrong to right, since a net of zero can hide both."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from markupsafe import Markup

from netgain.report.html.basis import Basis, counted
from netgain.report.html.charts import FlipRow, Range, flips
from netgain.report.html.page import Page, key_of
from netgain.report.study import Judged
from netgain.stats.flips import Flips
from netgain.stats.result import say, say_range

PLACE = 550
TITLE = "Flips"


def section(page: Page) -> Iterator[Markup]:
    changed = [(each, each.verdict.flips) for each in page.report.judged if each.verdict.flips is not None]
    found = list({(e.arm, e.versus, e.task, e.metric, e.checkpoint): (e, f) for e, f in changed}.values())
    if not found:
        return
    rows = [_row(page, each, counts) for each, counts in found]
    basis = counted("flips", f"{len(rows)} contrasts", "the rows of each contrast; point at one")
    seeds = sorted({each.verdict.tuned_seeds for each, _ in found})
    words = (
        f"Share of items whose answer changed, with 95 % intervals; n = {min(c.n for _, c in found)} or more items, "
        f"means over {' or '.join(map(str, seeds))} seeds."
    )
    caption = page.number("figure/flips/caption", words, basis)
    yield page.figure("flips", caption, partial(flips, rows), basis)
    columns = ("contrast", "right, stays right", "right to wrong", "wrong to right", "wrong, stays wrong", "churn")
    yield page.table("The flip matrix: items, as a mean over seeds.", columns, [_matrix(page, e, c) for e, c in found])


def _basis(page: Page, each: Judged, counts: Flips) -> Basis:
    up, down = counts.gained, counts.lost
    return Basis(
        what=f"{each.arm} against {each.versus}, {each.task}/{each.metric}",
        said=f"wrong to right {say(up.estimate, 'percent')}, right to wrong {say(down.estimate, 'percent')}",
        interval=f"95 %: {say_range(up.low, up.high, 'percent')} and {say_range(down.low, down.high, 'percent')}",
        n=f"n = {counts.n}, {counts.seeds} seed{'s' if counts.seeds > 1 else ''}",
        method=up.method,
        rows=page.rows((each.arm, each.versus), each.task, each.metric, each.checkpoint),
        value=counts.net,
    )


def _row(page: Page, each: Judged, counts: Flips) -> FlipRow:
    identity = page.bind(f"flips/{key_of(each)}", _basis(page, each, counts))
    up, down = counts.gained, counts.lost
    return FlipRow(
        identity,
        f"{each.arm} against {page.short(each)}",
        f"{each.task}/{each.metric}",
        Range(up.estimate, up.low, up.high),
        Range(down.estimate, down.low, down.high),
    )


def _matrix(page: Page, each: Judged, counts: Flips) -> Markup:
    tuned = page.frame.matrix(each.arm, each.task, each.metric, each.checkpoint)
    base = page.frame.matrix(each.versus, each.task, each.metric, each.checkpoint)
    if tuned is None or base is None:
        raise ValueError(f"{key_of(each)} was judged on rows that are gone")
    kept = ~(np.isnan(tuned.values).any(axis=0) | np.isnan(base.values).any(axis=0))
    new, old = np.broadcast_arrays(tuned.values[:, kept] > 0.5, base.values[:, kept] > 0.5)
    cells = [(new & old), (~new & old), (new & ~old), (~new & ~old)]
    shares = [f"{cell.sum(axis=1).mean():.4g}" for cell in cells]
    about = f"{each.arm} against {page.short(each)}: {each.task}/{each.metric}"
    row = (about, *shares, say(counts.churn, "percent"))
    return page.row(f"flips/{key_of(each)}/matrix", row, _basis(page, each, counts), handle=2)
