"""What there is and what is missing, before any score."""

from collections.abc import Iterator

from markupsafe import Markup

from netgain.report.html.basis import counted
from netgain.report.html.page import Page

PLACE = 100
TITLE = "What there is"


def section(page: Page) -> Iterator[Markup]:
    rows = []
    for each in page.report.completeness:
        missing = each.planned - each.done - each.failed
        values = sum(score.missing for score in page.report.scores if score.arm == each.arm)
        said = f"{each.done} of {each.planned} runs done"
        basis = counted(f"{each.arm}: runs", said, "the states of the planned runs' folders; values of their items")
        cells = (each.arm, each.planned, each.done, each.failed, missing, values, "; ".join(each.reasons) or None)
        rows.append(page.row(f"completeness/{each.arm}", cells, basis, handle=2))
    columns = ("arm", "planned", "done", "failed", "missing", "items without a value", "why failed")
    yield page.table("Runs of each arm; an arm that learns nothing runs once.", columns, rows)
