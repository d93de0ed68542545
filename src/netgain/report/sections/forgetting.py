"""What was kept and what was forgotten: verdicts, seeds, judges, drift over steps, weights as executed, shares."""

from collections.abc import Iterator, Sequence
from functools import partial

from markupsafe import Markup

from netgain.report.forgetting import Forgetting, Line, Turned
from netgain.report.forgetting_words import Block, answers, evidence
from netgain.report.html.basis import Basis, counted, of_estimate
from netgain.report.html.charts import Grid, Panel, Series, lines
from netgain.report.html.page import Page
from netgain.report.words import span

PLACE = 410
TITLE = "Kept and forgotten"
PANELS = 12
POINTS = 60


def section(page: Page) -> Iterator[Markup]:
    found = page.report.forgetting
    if found is None:
        return
    for block in answers(page.report):
        yield from _block(page, block)
    if found.turned:
        yield _shares(page, found.turned)
    if found.drift:
        yield _drift(page, found)
    yield from _weights(page, found.executed)
    for block in evidence(page.report):
        yield page.details(block[0], *_block(page, block))


def _block(page: Page, block: Block) -> Iterator[Markup]:
    """A table and the sentences beneath it."""
    title, columns, rows, said = block
    made = [page.row(f"forgetting/{title}/{i}", row, _basis(title, columns, row)) for i, row in enumerate(rows)]
    if made:
        yield page.table(title, columns, made)
    for i, text in enumerate(said):
        yield page.paragraph(page.number(f"forgetting/{title}/says/{i}", text, _basis(title, ("",), [text])))


def _basis(title: str, columns: Sequence[str], row: Sequence[str]) -> Basis:
    said = "; ".join(f"{name} {cell}" for name, cell in zip(columns[1:], row[1:], strict=True)) or row[0]
    return Basis(
        what=f"{title}: {row[0]}",
        said=said,
        interval="in the row",
        n="with the table",
        method="non-inferiority by t or score intervals; intersection-union for all benchmarks together",
        rows="the items of the arm and of its baseline, metrics.jsonl and data.json of its runs",
    )


def _shares(page: Page, turned: Sequence[Turned]) -> Markup:
    """A panel a question, a line an arm: the difference from the base over the share of the adapter."""
    panels: list[Panel] = []
    for task, metric, margin in dict.fromkeys((each.task, each.metric, each.margin) for each in turned):
        own = [each for each in turned if (each.task, each.metric, each.margin) == (task, metric, margin)]
        series = [_share_line(page, i, arm, own) for i, arm in enumerate(dict.fromkeys(each.arm for each in own))]
        percent = own[0].answer.scale == "points"
        what = "gained" if margin is None else "kept"
        panels.append(Panel(f"{what}: {task}/{metric}{', points' if percent else ''}", series, percent=percent))
    grid = Grid("share of the adapter", "difference from the base, + is better", panels[:PANELS], zero=True, alone=True)
    words = (
        "The final adapter turned down, with 95 % intervals over n = "
        f"{span(each.answer.n for each in turned)} items; at 0 it is the base. Not declared beforehand, and not "
        "corrected for looking at every share."
    )
    basis = counted("shares of the adapter", f"{len(turned)} differences", "checkpoints final and final@share")
    return page.figure("shares", page.number("figure/shares/caption", words, basis), partial(lines, grid), basis)


def _share_line(page: Page, shade: int, arm: str, own: Sequence[Turned]) -> Series:
    mine = [each for each in own if each.arm == arm]
    identities = [
        page.bind(
            f"shares/{arm}/{each.task}/{each.metric}/{each.margin}/{each.share:g}",
            of_estimate(
                each.answer,
                page.rows((arm, each.versus), each.task, each.metric, f"final@{each.share:g}"),
                f"{arm} at {each.share:g} of its adapter against {each.versus}, {each.task}/{each.metric}",
            ),
        )
        for each in mine
    ]
    return Series(
        arm,
        [(each.share, each.answer.estimate) for each in mine],
        shade=shade,
        dash=shade,
        dots=True,
        band=[(each.share, each.answer.low, each.answer.high) for each in mine],
        identities=identities,
    )


def _drift(page: Page, found: Forgetting) -> Markup:
    panel = Panel("KL(base || tuned) on dev rows, nats a token", [_line(i, each) for i, each in enumerate(found.drift)])
    grid = Grid("optimiser step", "drift from the base", [panel], zero=True)
    basis = counted("drift", f"{len(found.drift)} arms", "kl_base of the dev rows in metrics.jsonl")
    words = (
        "Drift from the base over the steps: means over seeds, bands from the smallest to the largest seed; n = "
        f"{_runs(page, found.drift)} runs."
    )
    return page.figure("drift", page.number("figure/drift/caption", words, basis), partial(lines, grid), basis)


def _weights(page: Page, executed: Sequence[Line]) -> Iterator[Markup]:
    if not executed:
        return
    terms = list(dict.fromkeys(each.what for each in executed))
    panels = [
        Panel(f"weight of {term}", [_line(i, each) for i, each in enumerate(e for e in executed if e.what == term)])
        for term in terms[:PANELS]
    ]
    grid = Grid("optimiser step", "weight as executed", panels, zero=True, alone=True)
    basis = counted("weights as executed", f"{len(executed)} lines", "terms.NAME.weight in metrics.jsonl")
    words = (
        "The weight of each term as it was used at each step: means over seeds, bands over seeds; n = "
        f"{_runs(page, executed)} runs."
    )
    caption = page.number("figure/weights/caption", words, basis)
    yield page.figure("weights", caption, partial(lines, grid), basis)


def _runs(page: Page, drawn: Sequence[Line]) -> int:
    """The finished runs behind lines."""
    return sum(len(page.frame.members[arm]) for arm in {each.arm for each in drawn})


def _line(shade: int, line: Line) -> Series:
    step = -(-len(line.points) // POINTS)
    points = [*line.points[:-1:step], line.points[-1]]
    return Series(
        line.arm,
        [(x, mean) for x, mean, _, _ in points],
        shade=shade,
        dash=shade,
        dots=len(points) <= 12,
        band=[(x, low, high) for x, _, low, high in points],
    )
