"""Quality against diversity over temperatures, pass@k, what each term did, and the decisions declared beforehand."""

from collections.abc import Iterator
from functools import partial

from markupsafe import Markup

from netgain.report.diversity import Diversity, Read
from netgain.report.diversity_words import Block, blocks, details
from netgain.report.html.basis import Basis, counted, of_estimate
from netgain.report.html.charts import Grid, Panel, Series, lines
from netgain.report.html.page import Page
from netgain.report.words import span

PLACE = 420
TITLE = "Diversity at equal quality"
PANELS = 12
BANDS = 3
"""Arms whose bands can still be told apart in one frontier; of more, only the baseline has its band."""


def section(page: Page) -> Iterator[Markup]:
    found = page.report.diversity
    if found is None:
        return
    for read in found.frontiers:
        yield _frontier(page, read)
    if found.tries:
        yield _tries(page, found)
    an_hour, currency = (None, "") if page.price is None else (page.price.an_hour, page.price.currency)
    for i, block in enumerate(blocks(found, an_hour, currency)):
        yield Markup("").join(_table(page, f"diversity/{i}", block))
    for i, block in enumerate(details(found)):
        yield page.details(block[0], *_table(page, f"diversity/more/{i}", block))


def _table(page: Page, identity: str, block: Block) -> list[Markup]:
    title, columns, rows, said = block
    made = [page.row(f"{identity}/{j}", row, _basis(title, row)) for j, row in enumerate(rows)]
    words = [
        page.paragraph(page.number(f"{identity}/says/{j}", text, _basis(title, [text]))) for j, text in enumerate(said)
    ]
    return [page.table(title, columns, made), *words]


def _frontier(page: Page, read: Read) -> Markup:
    """A line an arm through its temperatures; up and right is better."""
    series, arms = [], list(dict.fromkeys(place.arm for place in read.places))
    banded = arms if len(arms) <= BANDS else [read.versus]
    for i, arm in enumerate(arms):
        own = sorted((p for p in read.places if p.arm == arm), key=lambda p: p.quality.estimate)
        rows = page.rows((arm,), read.name, read.diversity, "final")
        identities = [
            page.bind(
                f"diversity/{read.name}/{arm}/{p.temperature:g}",
                of_estimate(
                    p.diversity, rows, f"{arm} at T = {p.temperature:g}, {read.quality} {p.quality.estimate:.3g}"
                ),
            )
            for p in own
        ]
        series.append(
            Series(
                arm,
                [(p.quality.estimate, p.diversity.estimate) for p in own],
                shade=i,
                dash=i,
                dots=True,
                band=[(p.quality.estimate, p.diversity.low, p.diversity.high) for p in own if arm in banded],
                identities=identities,
            )
        )
    grid = Grid(f"quality: {read.quality}", f"diversity: {read.diversity}", [Panel(read.name, series)])
    n = read.places[0].quality.n
    whose = "bands are" if len(banded) == len(arms) else f"the band of {read.versus} is"
    words = f"Each arm through its temperatures; {whose} 95 % intervals over n = {n} prompts. Right and up is better."
    basis = counted(f"frontier of {read.name}", f"{len(read.places)} places", "the rows of each place; point at one")
    caption = page.number(f"figure/diversity-{read.name}/caption", words, basis)
    return page.figure(f"diversity-{read.name}", caption, partial(lines, grid), basis)


def _tries(page: Page, found: Diversity) -> Markup:
    """pass@k over k, a panel an arm, a line a temperature."""
    panels = []
    for name, arm in list(dict.fromkeys((t.name, t.arm) for t in found.tries))[:PANELS]:
        own = [t for t in found.tries if (t.name, t.arm) == (name, arm)]
        series = [
            Series(
                f"T = {t.temperature:g}",
                [(float(each.k), each.estimate) for each in t.curve],
                shade=i,
                dash=i,
                band=[(float(each.k), each.low, each.high) for each in t.curve],
            )
            for i, t in enumerate(own)
        ]
        panels.append(Panel(f"{name}: {arm}", series))
    grid = Grid("k tries", "pass@k, %", panels, percent=True)
    n = span(t.curve[0].n for t in found.tries)
    words = f"Unbiased pass@k with 95 % bands over n = {n} problems; each problem's value is its mean over seeds."
    basis = counted("pass@k curves", f"{len(found.tries)} curves", "the samples of every problem")
    return page.figure("tries", page.number("figure/tries/caption", words, basis), partial(lines, grid), basis)


def _basis(title: str, row: list[str]) -> Basis:
    return Basis(
        what=f"{title}: {row[0]}",
        said="; ".join(row[1:]) or row[0],
        interval="in the row",
        n="with the table",
        method="bootstrap over prompts and seeds, percentile, for differences; t over prompts for means",
        rows="the final items of the arm at every temperature",
    )
