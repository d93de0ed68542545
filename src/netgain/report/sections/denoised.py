"""Methods on a masked-diffusion model: the tables, cost against accuracy, and how one answer is written."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from markupsafe import Markup

from netgain.report.denoised import Denoised, Method
from netgain.report.denoised_words import blocks, front
from netgain.report.html.basis import Basis, counted, of_estimate
from netgain.report.html.charts import Range
from netgain.report.html.page import Page
from netgain.report.html.scatter import Point, Scatter, scatter
from netgain.report.words import span
from netgain.stats.result import Estimate

PLACE = 700
TITLE = "Methods on a masked-diffusion model"
SHADES = {"method": 0, "composed": 2, "single task": 3, "untuned": 7, "control": 1}
FOLDED = ("Every run", "Diagnostics", "What is held equal")


def section(page: Page) -> Iterator[Markup]:
    found = page.report.denoised
    if found is None:
        return
    for i, (title, columns, rows, said) in enumerate(blocks(found)):
        made = [page.row(f"denoised/{i}/{j}", row, _basis(title, columns, row)) for j, row in enumerate(rows)]
        words = [
            page.paragraph(page.number(f"denoised/{i}/says/{j}", text, counted(title, text, "the rows of the table")))
            for j, text in enumerate(said)
        ]
        table = page.table(title, columns, made)
        yield page.details(title, table, *words) if title.startswith(FOLDED) else Markup("").join([table, *words])
        if title.startswith("What each method costs"):
            yield from _figures(page, found)


def _basis(title: str, columns: Sequence[str], row: list[str]) -> Basis:
    said = "; ".join(f"{name} {cell}" for name, cell in zip(columns[1:], row[1:], strict=True) if cell != "-")
    return Basis(
        what=f"{title}: {row[0]}",
        said=said or "nothing",
        interval="in the row, where there is one",
        n="with the table",
        method="crossed seeds x items, each task weighing the same",
        rows="the final items of the arm's finished runs, all tasks",
    )


def _figures(page: Page, found: Denoised) -> Iterator[Markup]:
    """Learned numbers, and time, against macro accuracy."""
    best = set(front(found.methods))
    yield _scatter(
        page, found, "learned", "numbers that learn (log scale)", lambda m: float(m.trainable), best, log=True
    )
    if all(each.slower is not None for each in found.methods):
        yield _scatter(
            page, found, "latency", "time of a forward pass over the base's", lambda m: m.slower or 1.0, None, log=False
        )


def _scatter(
    page: Page,
    found: Denoised,
    name: str,
    title: str,
    at: Callable[[Method], float],
    best: set[str] | None,
    *,
    log: bool,
) -> Markup:
    shown = [each for each in found.methods if each.trainable > 0 or not log]
    points = [
        Point(_bind(page, each, name), each.arm, at(each), _range(each.macro), SHADES.get(each.role, 0))
        for each in shown
    ]
    line = sorted((at(each), each.macro.estimate) for each in shown if best is not None and each.arm in best)
    chart = Scatter(title, "macro accuracy, %", points, line, ("commonest label", found.majority), log)
    words = (
        f"Macro accuracy over {len(found.groups)} tasks against {title}, with 95 % intervals over n = "
        f"{span(each.macro.n for each in shown)} items. Up and left is better; "
        "circles are joint methods, squares see no input, triangles are composed, diamonds learned one task alone."
    )
    basis = counted(f"{title} against accuracy", f"{len(points)} arms", "the final items of each arm; point at one")
    caption = page.number(f"figure/{name}/caption", words, basis)
    return page.figure(f"denoised-{name}", caption, partial(scatter, chart), basis)


def _bind(page: Page, each: Method, name: str) -> str:
    rows = "the final items of the arm's finished runs, all tasks"
    return page.bind(f"denoised/{name}/{each.arm}", of_estimate(each.macro, rows, f"{each.arm}, macro accuracy"))


def _range(found: Estimate) -> Range:
    return Range(found.estimate, found.low, found.high)
