"""The declared contrasts with their verdicts: a forest plot, and every sentence in full."""

from collections.abc import Iterator

from markupsafe import Markup

from netgain.report.html.basis import counted, direction, of_judged
from netgain.report.html.charts import ForestRow, Range, forest
from netgain.report.html.markup import element
from netgain.report.html.page import Page, key_of
from netgain.report.study import Judged
from netgain.report.words import interval, span, word_of

PLACE = 300
TITLE = "Declared contrasts"


def section(page: Page) -> Iterator[Markup]:
    judged = page.report.judged
    if not judged:
        return
    for each in judged:
        page.bind(key_of(each), _basis(page, each))
    rows = [_row(page, each) for each in judged if each.verdict.n]
    if rows:
        basis = counted("forest plot", f"{len(rows)} contrasts", "the rows of each contrast; point at one")
        yield page.figure("forest", _caption(page), lambda width: forest(rows, width), basis)
    columns = ("contrast", "answer", "difference", "interval", "n", "seeds", "method")
    yield page.table("Differences in the metric's own direction.", columns, [_line(page, e) for e in judged])
    sentences = [element("li", page.number(f"{key_of(e)}/sentence", e.sentence(), _basis(page, e))) for e in judged]
    yield page.details("Every verdict in full", element("ul", sentences))


def _basis(page: Page, each: Judged):
    return of_judged(each, page.rows((each.arm, each.versus), each.task, each.metric, each.checkpoint))


def _row(page: Page, each: Judged) -> ForestRow:
    signed = direction(each)
    return ForestRow(
        identity=key_of(each),
        name=f"{each.arm} against {page.short(each)}",
        about=f"{each.task}/{each.metric}, {each.question}"
        + ("" if each.checkpoint == "final" else f" ({each.checkpoint})"),
        range=Range(signed.estimate, signed.low, signed.high),
        margin=each.margin,
        word=word_of(each),
        tone=page.tone(each),
        unit="points" if each.verdict.answer.scale == "points" else each.metric,
    )


def _line(page: Page, each: Judged) -> Markup:
    margin = "" if each.margin is None else f" margin {each.margin:g}"
    about = (
        f"{each.arm} against {page.short(each)}: {each.task}/{each.metric} ({each.checkpoint}), {each.question}{margin}"
    )
    word = element("span", word_of(each), class_=f"verdict {page.tone(each)}")
    found = each.verdict
    cells = (about, word, *interval(found.answer), found.n, found.tuned_seeds, found.answer.method)
    return page.row(f"{key_of(each)}/row", cells, _basis(page, each), handle=2)


def _caption(page: Page) -> Markup:
    judged = page.report.judged
    ns = sorted({each.verdict.n for each in judged})
    seeds = sorted({each.verdict.tuned_seeds for each in judged})
    levels = "95 % intervals for gained, 90 % (one-sided 5 %) for forgotten; the dashed line is the declared margin"
    words = (
        f"Declared contrasts, {levels}. n = {span(ns)} items, {span(seeds)} seeds. "
        f"Family of {judged[0].family}; each interval is of one contrast."
    )
    basis = counted("contrasts in the figure", f"{len(judged)} contrasts", "the rows of each contrast")
    return page.number("figure/forest/caption", words, basis)
