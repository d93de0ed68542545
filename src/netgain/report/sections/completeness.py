"""What there is and what is missing, before any score."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from netgain.report.html.basis import counted
from netgain.report.html.page import Page
from netgain.report.study import Completeness

PLACE = 100
TITLE = "What there is"
MANY = 12
"""Arms beyond which those that lack nothing are said in one line and unfold."""
CAPTION = "Runs of each arm; an arm that learns nothing runs once."


def section(page: Page) -> Iterator[Markup]:
    arms = page.report.completeness
    lacking: Counter[str] = Counter()
    for score in page.report.scores:
        lacking[score.arm] += score.missing
    whole = [each for each in arms if each.done == each.planned and not lacking[each.arm]]
    if len(whole) <= MANY:
        yield _table(page, arms, lacking)
        return
    short = [each for each in arms if each.done < each.planned or lacking[each.arm]]
    runs = sum(each.done for each in whole)
    said = f"{len(whole)} of {len(arms)} arms are complete: {runs} runs done, and no item without a value."
    basis = counted("complete arms", said, "the states of the planned runs' folders; values of their items")
    yield page.paragraph(page.number("completeness", said, basis))
    if short:
        yield _table(page, short, lacking)
    yield page.details(f"The {len(whole)} complete arms", _table(page, whole, lacking))


def _table(page: Page, arms: Sequence[Completeness], lacking: Mapping[str, int]) -> Markup:
    """An arm a row; `lacking` counts the items of each that have no value."""
    rows = []
    for each in arms:
        missing = each.planned - each.done - each.failed
        said = f"{each.done} of {each.planned} runs done"
        basis = counted(f"{each.arm}: runs", said, "the states of the planned runs' folders; values of their items")
        reasons = "; ".join(each.reasons) or None
        cells = (each.arm, each.planned, each.done, each.failed, missing, lacking.get(each.arm, 0), reasons)
        rows.append(page.row(f"completeness/{each.arm}", cells, basis, handle=2))
    columns = ("arm", "planned", "done", "failed", "missing", "items without a value", "why failed")
    return page.table(CAPTION, columns, rows)
