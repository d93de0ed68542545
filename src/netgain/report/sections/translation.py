"""Adapters translated from another model: the gate, the gap recovered, anchors varied, domains as a heat map."""

from collections.abc import Iterator, Sequence
from functools import partial

from markupsafe import Markup

from netgain.report.html.basis import Basis, counted
from netgain.report.html.charts import Cell, Grid, Panel, Series, heat, lines
from netgain.report.html.page import Page
from netgain.report.translation import Translated
from netgain.report.translation_words import blocks
from netgain.report.words import span

PLACE = 430
TITLE = "Translated adapters"
ROWS = "the final items of base, oracle and translated arm, seeds averaged"


def section(page: Page) -> Iterator[Markup]:
    found = page.report.translation
    if found is None:
        return
    for i, (title, columns, rows, said) in enumerate(blocks(found)):
        made = [page.row(f"translation/{i}/{j}", row, _basis(title, columns, row)) for j, row in enumerate(rows)]
        words = [
            page.paragraph(page.number(f"translation/{i}/says/{j}", text, counted(title, text, ROWS)))
            for j, text in enumerate(said)
        ]
        yield Markup("").join([page.table(title, columns, made), *words])
    if found.varied:
        yield _scaling(page, found)
    if any(each.recovered is not None and each.recovered.defined for each in found.pools):
        yield _transfer(page, found)


def _basis(title: str, columns: Sequence[str], row: Sequence[str]) -> Basis:
    said = "; ".join(f"{name} {cell}" for name, cell in zip(columns[1:], row[1:], strict=True))
    return Basis(
        what=f"{title}: {row[0]}", said=said, interval="in the row", n="of the held-out problem", method="Fieller",
        rows=ROWS,
    )  # fmt: skip


def _scaling(page: Page, found: Translated) -> Markup:
    """Gap recovered over the number of anchors and over k, with Fieller's band; undefined points are left out."""
    panels: list[Panel] = []
    for each in found.varied:
        known = [(value, ratio) for value, ratio in each.points if ratio.estimate is not None]
        points = [(float(value), float(ratio.estimate or 0.0)) for value, ratio in known]
        band = [(float(value), float(ratio.low or 0.0), float(ratio.high or 0.0)) for value, ratio in known]
        if points:
            panels.append(Panel(f"{each.how} by {each.what}", [Series("gap recovered", points, dots=True, band=band)]))
    basis = counted("scaling of translation", f"{len(panels)} curves", ROWS)
    if not panels:
        return page.paragraph("No share of the gap is defined at any number of anchors.")
    n = span(ratio.n for each in found.varied for _, ratio in each.points)
    words = (
        "Share of the oracles' gap that is recovered over all problems that count, with 95 % bands (Fieller); n = "
        f"{n} items."
    )
    grid = Grid("anchors, or k", "gap recovered", panels, zero=True)
    caption = page.number("figure/translation/caption", words, basis)
    return page.figure("translation", caption, partial(lines, grid), basis)


def _transfer(page: Page, found: Translated) -> Markup:
    """Held-out problem by domain of the anchors; the strongest colour is the whole gap."""
    cells: list[Cell] = []
    for each in found.pools:
        ratio = each.recovered
        if ratio is None or ratio.estimate is None:
            continue
        pool = each.how.rpartition(" ")[2]
        basis = counted(f"{each.problem} from {pool} anchors", ratio.sentence(), ROWS)
        identity = page.bind(f"translation/pool/{each.problem}/{pool}", basis)
        share = max(-1.0, min(1.0, ratio.estimate))
        cells.append(
            Cell(identity, each.problem, pool, share, f"{100 * ratio.estimate:.0f} %", f"interval {each.words()}")
        )
    n = span(each.recovered.n for each in found.pools if each.recovered is not None)
    words = (
        "Gap recovered from the anchors of one domain alone; where the gap may be zero there is no cell. n = "
        f"{n} items of each problem."
    )
    basis = counted("transfer between domains", f"{len(cells)} cells", ROWS)
    caption = page.number("figure/transfer/caption", words, basis)
    return page.figure("transfer", caption, partial(heat, cells), basis)
